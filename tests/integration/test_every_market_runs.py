"""`tapewatch run` of every market through to its report: on the built-in market, and on recorded files where they are."""

import datetime as dt
import gzip
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from models.naming import UNUSUAL
from orchestration.cli.app import app
from tapewatch.emulator.synthetic.anomalies import KINDS
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.tape import ANOMALIES, BARS, EVALUATION, MICROSTRUCTURE, TRADES, TRUTH_LABELS
from tapewatch.store.lake.lake import Lake
from tests.support.flat_days import put, row
from tests.support.recorded import day_file

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

#: Runs the command and returns the lake, what was printed, and the report.
Run = Callable[..., tuple[Lake, str, str]]
SYMBOL = {
    Market.STOCKS: "VOO",
    Market.CRYPTO: "X:BTC-USD",
    Market.FOREX: "C:EUR-USD",
    Market.INDICES: "I:SPX",
    Market.OPTIONS: "O:AAPL291221C00190000",
    Market.FUTURES: "ESZ9",
}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`tapewatch run` as from an empty home, without any other setting."""
    for name in ("POLYGON_API_KEY", "POLYGON_BASE_URL", "TAPEWATCH_FLAT_FILES", "TAPEWATCH_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TAPEWATCH_HOME", str(tmp_path / "home"))

    def run_days(markets: Sequence[Market], first: str, last: str, *more: str) -> tuple[Lake, str, str]:
        done = CliRunner().invoke(app, ["run", "--market", ",".join(markets), "--from", first, "--to", last, *more])
        assert done.exit_code == 0, (done.output, done.exception)
        (report,) = (tmp_path / "home" / "reports").glob(f"tapewatch-{'-and-'.join(markets)}-*.html")
        return Lake(tmp_path / "home" / "lake"), done.output, report.read_text()

    return run_days


def assert_is_whole(lake: Lake, report: str, days: list[Partition], *, may_be_quiet: bool = False) -> None:
    """Every day has features and was scored, the detector was judged, and the report shows all of it.

    At one alert in a session a single symbol may have none in less than two; then there are no reasons to show either.
    """
    for day in days:
        assert lake.rows(MICROSTRUCTURE, day) > 100, day
        assert lake.rows(BARS, day) > 100, day
        assert lake.exists(ANOMALIES, day), day
    found = pl.concat(lake.read(ANOMALIES, day) for day in days)
    is_quiet = may_be_quiet and found.is_empty()
    assert is_quiet or found.height > 0
    assert set(found["kind"].cast(pl.String)) <= {*KINDS, UNUSUAL}
    assert lake.read(EVALUATION).filter(pl.col("kind") == "all")["events"].item() > 0
    for part in (
        "Found on days that the detectors had not seen",
        "Model card",
        *(() if is_quiet else ('class="card chart"', 'class="reasons"')),
    ):
        assert part in report, part


#: Markets with trades and quotes are run together: one detector is trained on all of them. Of indices no tick is known.
@pytest.mark.parametrize(
    "markets",
    [[market for market in Market if market is not Market.INDICES], [Market.INDICES]],
    ids=["ticks", "values"],
)
def test_the_built_in_markets(run: Run, monkeypatch: pytest.MonkeyPatch, markets: list[Market]) -> None:
    for market in markets:
        monkeypatch.setenv(f"TAPEWATCH_SYMBOLS_{market.upper()}", SYMBOL[market])
    lake, printed, report = run(markets, "2024-06-04", "2024-06-05")
    is_scanned = "no scan was fitted: it judges trades and quotes" not in re.sub(r"\s+", " ", printed)
    assert is_scanned == (Market.INDICES not in markets)
    validated = json.loads((lake.root / "models" / "isolation_forest.json").read_text())["validation"]
    for market in markets:
        days = [Partition(dt.date(2024, 6, day), market) for day in (4, 5)]
        assert_is_whole(lake, report, days)
        assert lake.symbols(MICROSTRUCTURE, days[0]).keys() == {SYMBOL[market]}
        assert str(days[1]) in validated, "each market is judged"
        # Of indices, as of recorded files, anomalies are put into a copy.
        assert (lake.rows(TRUTH_LABELS, days[1]) > 0) == (market is not Market.INDICES)


@pytest.mark.real_tape
@pytest.mark.parametrize(
    ("market", "days"),
    [
        (Market.CRYPTO, ("2016-10-07", "2016-10-08")),
        (Market.INDICES, ("2023-06-30", "2023-07-03")),
        (Market.FOREX, ("2014-05-06", "2014-05-07")),
    ],
)
def test_recorded_files(run: Run, market_data: Path, market: Market, days: tuple[str, str]) -> None:
    lake, _, report = run([market], *days, "--flat-files", str(market_data))
    assert_is_whole(lake, report, [Partition(dt.date.fromisoformat(day), market) for day in days])


@pytest.mark.real_tape
def test_recorded_stocks_of_which_the_last_day_is_cut(run: Run, market_data: Path, tmp_path: Path) -> None:
    """After the end of the tape nothing is alerted and nothing judged."""
    end = dt.datetime(2013, 10, 8, 15, 19, tzinfo=dt.UTC)
    for layout, clock in (("trades_v1", "sip_timestamp"), ("quotes_v1", "sip_timestamp")):
        for date in (dt.date(2013, 10, 7), dt.date(2013, 10, 8)):
            rows = pl.read_csv(day_file(market_data, f"us_stocks_sip/{layout}", date), infer_schema=False)
            is_before = pl.col(clock).cast(pl.Int64) < int(end.timestamp()) * 10**9
            target = day_file(tmp_path / "files", f"us_stocks_sip/{layout}", date)
            target.parent.mkdir(parents=True, exist_ok=True)
            kept = rows.filter((pl.col("ticker") == "IBM") & is_before)
            target.write_bytes(gzip.compress(kept.write_csv().encode(), 1))
    lake, _, report = run([Market.STOCKS], "2013-10-07", "2013-10-08", "--flat-files", str(tmp_path / "files"))
    days = [Partition(dt.date(2013, 10, day), Market.STOCKS) for day in (7, 8)]
    assert_is_whole(lake, report, days, may_be_quiet=True)
    assert lake.read(MICROSTRUCTURE, days[1])["known_time"].max() == end
    found = lake.read(ANOMALIES, days[1])
    assert found.height < 30
    assert found.is_empty() or found["end_time"].max() <= end


def test_a_tape_too_thin_to_be_judged_of_which_a_day_is_absent(run: Run, tmp_path: Path) -> None:
    """The run says both, and makes everything all the same."""
    for date in (dt.date(2024, 3, 5), dt.date(2024, 3, 7)):
        day = Partition(date, Market.FOREX)
        rows = [
            row(day, "quotes", at, ticker="C:EUR-USD", bid_price=1.08, ask_price=1.0801 + at / 1e7)
            for at in range(0, 1200, 5)
        ]
        put(tmp_path / "files", day, "quotes", rows)
    lake, printed, report = run([Market.FOREX], "2024-03-05", "2024-03-07", "--flat-files", str(tmp_path / "files"))
    text = re.sub(r"\s+", " ", printed)
    assert "No tape, skipped: 2024-03-06 (forex)" in text
    assert "The detector was not judged" in text
    assert "beats_trivial_rule" in text, "the check warns"
    assert "no tape of 2024-03-06 (forex)" in report
    assert "The detector was not judged" in report
    absent = Partition(dt.date(2024, 3, 6), Market.FOREX)
    assert not any(lake.exists(table, absent) for table in (TRADES, BARS, MICROSTRUCTURE))
    assert lake.read(EVALUATION).is_empty()
