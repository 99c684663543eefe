"""`tapewatch labels` on a small lake: added, listed, exported and imported again; bad labels leave nothing."""

import json
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner, Result

from orchestration.cli.app import app
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.live import AUDIT, LABELS
from tapewatch.market.tables.tape import QUOTES, TRADES
from tapewatch.settings import Settings
from tapewatch.store.database.database import Database
from tapewatch.store.lake.lake import Lake
from tests.support.burst_tape import tape
from tests.support.price_bars import START

MONDAY = Partition(START.date(), Market.STOCKS)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """25 minutes of AAPL from 15:00 UTC, with heavy trading from 15:10 to 15:13; ann and ben may label."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TAPEWATCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TAPEWATCH_LABEL_AUTHORS", "ann, ben")
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.delenv("TAPEWATCH_DATABASE_URL", raising=False)
    settings = Settings(_env_file=None)
    trades, quotes = tape()
    lake = Lake(settings.lake_root)
    fixed = {"symbol": "AAPL", "conditions": "", "correction": 0, "trade_id": "", "exchange": 1}
    fixed |= {"bid_size": 100.0, "ask_size": 100.0, "bid_exchange": 1, "ask_exchange": 1}
    for table, frame in ((TRADES, trades), (QUOTES, quotes)):
        rest = {name: pl.lit(value) for name, value in fixed.items() if name in table.by_name}
        lake.write(table, MONDAY, table.conform(frame.with_columns(sequence_number=pl.int_range(pl.len()), **rest)))
    return settings


def call(*arguments: str, status: int = 0) -> Result:
    done = CliRunner().invoke(app, ["labels", *arguments])
    assert done.exit_code == status, done.output
    return done


def add(kind: str = "volume_spike", start: str = "15:09", end: str = "15:13:30", *more: str, status: int = 0) -> Result:
    at = [f"--{name}={START.date()}T{time}" for name, time in (("from", start), ("to", end))]
    return call("add", "AAPL", kind, *at, "--author", "ann", *more, status=status)


def refusal(result: Result) -> str:
    return next(line for line in result.stderr.splitlines() if line.startswith("Error: "))


def stored(settings: Settings) -> list[dict[str, object]]:
    with Database(settings.database) as database:
        return database.read(LABELS).to_dicts()


@pytest.mark.long
def test_a_label_is_added_shown_with_its_edges_and_removed(home: Settings) -> None:
    added = add("volume_spike", "15:09", "15:13:30", "--confidence", "0.8", "--note", "seen by eye")
    assert "AAPL 2024-03-05 15:09:00 to 15:13:30 (volume_spike by ann): added as" in added.stderr
    assert "15:10:00 ± " in added.stdout
    assert "15:13:00 ± " in added.stdout
    (row,) = stored(home)
    assert (row["confidence"], row["note"], row["is_anomaly"], str(row["date"])) == (
        0.8,
        "seen by eye",
        True,
        "2024-03-05",
    )
    assert (
        "there already"
        in add("volume_spike", "15:09", "15:13:30", "--confidence", "0.8", "--note", "seen by eye").stderr
    )
    listed = json.loads(call("list", "--format", "json").stdout)
    assert [entry["start"] for entry in listed] == ["2024-03-05T15:09:00Z"]
    assert "there is no label xyz" in refusal(call("remove", str(row["label_id"]), "xyz", status=1))
    assert stored(home)
    assert "removed: AAPL" in call("remove", str(row["label_id"])).stderr
    assert stored(home) == []
    with Database(home.database) as database:
        assert database.read(AUDIT)["action"].to_list() == ["label", "unlabel"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("volume_surge",), "'volume_surge' is no kind of anomaly: write one of volume_spike, price_jump"),
        (("normal", "15:09", "15:10", "--author", "eve"), "'eve' is no known author; known: ann, ben"),
        (("normal", "15:09", "15:10", "--confidence", "2"), "a confidence of 2 is none"),
        (("normal", "15:10", "15:10"), "it ends before it starts"),
        (("normal", "14:50", "15:10"), "the tape of that day runs from 2024-03-05T15:00:00Z to 2024-03-05T15:25:00Z"),
        (("normal", "15:20", "15:26"), "the tape of that day runs from"),
        (("normal", "15:20", "23:59", "--market", "crypto"), "AAPL"),
    ],
)
def test_what_is_not_allowed_is_refused(home: Settings, arguments: tuple[str, ...], message: str) -> None:
    assert message in refusal(add(*arguments, status=1))
    assert stored(home) == []


def test_other_days_and_symbols_are_outside_the_tape(home: Settings) -> None:
    def error(symbol: str, first: str, last: str) -> str:
        span = ("--from", first, "--to", last, "--author", "ann")
        return refusal(call("add", symbol, "normal", *span, status=1))

    assert "the lake has no tape of stocks on 2024-03-06; load it first" in error(
        "AAPL", "2024-03-06T15:00", "2024-03-06T15:01"
    )
    assert "holds no MSFT" in error("MSFT", "2024-03-05T15:01", "2024-03-05T15:02")
    assert "is on no trading day of stocks" in error("AAPL", "2024-03-03T15:01", "2024-03-03T15:02")
    assert "write one label for each day" in error("AAPL", "2024-03-05T15:01", "2024-03-06T15:02")


def test_labels_of_one_author_do_not_overlap(home: Settings) -> None:
    add("normal", "15:05", "15:10")
    assert "overlaps AAPL 2024-03-05 15:05:00 to 15:10:00" in refusal(add("unusual", "15:09", "15:11", status=1))
    assert "overlaps" in refusal(add("unusual", "15:05", "15:10", status=1)), "another verdict on the same stretch"
    add("unusual", "15:10", "15:11")
    add("unusual", "15:09", "15:11", "--author", "ben")
    assert len(stored(home)) == 3


@pytest.mark.parametrize("name", ["labels.csv", "labels.json"])
def test_an_export_is_imported_again(home: Settings, name: str) -> None:
    add("normal", "15:05", "15:10", "--note", 'a "quote", and more')
    add("unusual", "15:10", "15:11", "--author", "ben")
    before = stored(home)
    assert "2 labels" in call("export", name).stderr
    assert "0 label(s) added" in call("import", name).stderr
    call("remove", *(str(row["label_id"]) for row in before))
    assert "2 label(s) added" in call("import", name).stderr
    assert stored(home) == before


def test_a_file_with_faults_adds_nothing(home: Settings, tmp_path: Path) -> None:
    file = tmp_path / "bad.csv"
    good = "AAPL,2024-03-05T15:01:00Z,2024-03-05T15:02:00Z,normal,ann"
    file.write_text(f"symbol,start,end,kind,author\n{good}\nAAPL,soon,2024-03-05T15:04:00Z,normal,ann\nAAPL,,x,y,z,\n")
    said = refusal(call("import", str(file), status=1))
    assert "bad.csv has 2 fault(s), nothing was added: line 3: 'soon' is no time" in said
    assert "line 4: it lacks start" in said
    file.write_text(
        f"symbol,start,end,kind,author\n{good}\nAAPL,2024-03-05T15:01:30Z,2024-03-05T15:04:00Z,normal,ann\n"
    )
    assert "bad.csv has 1 fault(s), nothing was added: AAPL 2024-03-05 15:01:30" in refusal(
        call("import", str(file), status=1)
    )
    file.write_text(f"symbol,start,end,kind,author\n{good}\nAAPL,2024-03-05T15:03:30Z,2024-03-05T15:04:00Z,odd,eve\n")
    assert "'odd' is no kind" in refusal(call("import", str(file), status=1))
    assert "neither CSV nor JSON" in refusal(call("import", "labels.txt", status=1))
    assert "cannot be read" in refusal(call("import", "none.csv", status=1))
    (tmp_path / "bad.json").write_text('{"symbol": "AAPL"}')
    assert "is no list of objects" in refusal(call("import", "bad.json", status=1))
    assert stored(home) == []


@pytest.mark.long
def test_agreement_of_two_authors(home: Settings) -> None:
    assert "no symbol's day was labelled by two authors" in refusal(call("agreement", status=1))
    add("unusual", "15:05", "15:10")
    assert "no symbol's day was labelled by two authors" in refusal(call("agreement", status=1))
    add("unusual", "15:05", "15:10", "--author", "ben")
    assert "1.000" in call("agreement").stdout
    add("normal", "15:10", "15:11", "--author", "ben")
    add("unusual", "15:11", "15:16", "--author", "ben")
    # Of 960 minutes 5 are unusual for ann and 10 for ben: kappa (955/960 - pe) / (1 - pe) with pe = (5·10 + 955·950) / 960².
    said = call("agreement").stdout
    assert "960" in said
    assert "0.664" in said
