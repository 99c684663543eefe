"""`tapewatch lookahead`: a day of the lake, its verdicts and its exit code."""

import csv
import io
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner, Result

from orchestration.cli.app import app
from orchestration.runs.detectors import lookahead as runs
from tapewatch.bars.time_bars import minute_bars, reconcile
from tapewatch.lookahead.computation import Computation, Tape
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.tape import BARS, DELIVERED_BARS, QUOTES, TRADES
from tapewatch.store.lake.lake import Lake
from tests.support.tapes import DAY, random_tape

PARTITION = Partition(DAY, Market.STOCKS)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lake with one small day."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TAPEWATCH_HOME", str(tmp_path / "home"))
    trades, quotes = random_tape(5)
    trades = trades.with_columns(id=pl.col("sequence_number").cast(pl.String))
    lake = Lake(str(tmp_path / "home" / "lake"))
    bars = reconcile(minute_bars(trades, PARTITION.session), DELIVERED_BARS.empty())
    for table, rows in ((TRADES, trades), (QUOTES, quotes), (BARS, bars)):
        lake.write(table, PARTITION, rows)
    return tmp_path / "home"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["lookahead", *arguments])


@pytest.mark.long
def test_a_day_of_the_lake_is_clean(home: Path) -> None:
    result = run("--from", str(DAY), "--moments", "3", "--format", "csv")
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert {row["verdict"] for row in rows} == {"clean"}
    assert {"features/bins_5s", "tape/information_bars", "labels/training_set (split by days)"} <= {
        row["computation"] for row in rows
    }


@pytest.mark.long
def test_a_leak_is_named_and_fails_the_command(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clean = next(each for each in runs.CATALOGUE if each.name == "tape/bars")

    def ahead(tape: Tape) -> pl.DataFrame:
        return clean.rows(tape).with_columns(pl.col("close").shift(-1).over("symbol"))

    leaking = Computation("close of the next bar", clean.inputs, ahead, clean.key)
    monkeypatch.setattr(runs, "CATALOGUE", (leaking,))
    result = run("--from", str(DAY), "--symbols", "AAA", "--format", "csv")
    assert result.exit_code == 1
    assert "leaks (cut)" in result.stdout
    assert "up to 60 s (1 row)" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("--from", "2024-03-06"), 1, "holds no trades of stocks from 2024-03-06"),
        (("--to", "2024-03-06"), 2, "--to needs --from"),
        (("--from", "2024-03-06", "--to", "2024-03-05"), 2, "ends before it begins"),
        (("--from", "2024-03-05", "--symbols", "X:BTC-USD"), 2, "ticker of crypto"),
    ],
)
def test_what_cannot_be_judged_is_refused(home: Path, arguments: tuple[str, ...], code: int, text: str) -> None:
    result = run(*arguments)
    assert result.exit_code == code
    assert text in " ".join(result.stderr.split()).replace(" │ │ ", " ")
