"""The alert book on real databases: commits at once, keeps alerts during an outage, resumes after a restart."""

import csv
import datetime as dt
import io
import json
import logging
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import polars as pl
import pytest
from typer.testing import CliRunner

from orchestration.cli.app import app
from tapewatch.market.instruments import NS_PER_MINUTE, Market
from tapewatch.market.tables.live import ALERTS
from tapewatch.store.database.database import Database, DatabaseError
from tapewatch.streaming.alerts.board import Notice
from tapewatch.streaming.alerts.book import AlertBook
from tapewatch.streaming.detection.rules.settings import DetectionConfig
from tapewatch.streaming.detection.watch import AlertChange, Watch
from tests.support.postgres import PostgresServer, postgres_server
from tests.support.watching import batches, closings, openings, session, steady_tape

START = dt.datetime(2024, 3, 5, 15, 10, 1, 250_000, tzinfo=dt.UTC)


def change(number: int = 0, *, peak: float = 900.0, end: dt.datetime | None = None, symbol: str = "AAA") -> AlertChange:
    row: dict[str, Any] = {
        "alert_id": f"stocks:volume_spike:{symbol}:{number}",
        "symbol": symbol,
        "rule": "volume_spike",
        "severity": "warning",
        "start_time": START + dt.timedelta(minutes=number),
        "end_time": end,
        "detected_time": START,
        "value": 800.0,
        "baseline": 100.0,
        "multiple": 8.0,
        "peak": peak,
        "observations": 3,
        "message": f"{symbol}: 800 traded",
    }
    return AlertChange(row, is_opening=end is None and peak == 900.0, is_closing=end is not None)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as found:
        yield found


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    url = f"sqlite:///{tmp_path / 'alerts.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("server").database()
    with Database(url) as found:
        yield found


def test_an_alert_is_one_row_committed_at_once(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    end = START + dt.timedelta(minutes=3)
    with AlertBook(database, wait_s=60) as book, caplog.at_level(logging.INFO, logger="tapewatch"):
        assert book.record(Market.STOCKS, [change()])
        (row,) = database.read(ALERTS, market="stocks").to_dicts()
        assert (row["end_time"], row["peak"], row["start_time"]) == (None, 900, START)
        assert book.record(Market.STOCKS, [change(peak=1200.0)])
        assert book.record(Market.STOCKS, [change(peak=1500.0, end=end)])
        (row,) = database.read(ALERTS, market="stocks").to_dicts()
        assert (row["end_time"], row["peak"]) == (end, 1500)
    lines = [r.getMessage() for r in caplog.records if r.name.endswith("alerts.book")]
    assert lines[0] == "ALERT warning stocks volume_spike at 2024-03-05 15:10:01.250Z: AAA: 800 traded"
    assert lines[1].startswith("ended stocks volume_spike AAA at 2024-03-05 15:13:01.250Z after 180 s")
    assert len(lines) == 2


def test_open_alerts_are_read_back(database: Database) -> None:
    with AlertBook(database, wait_s=60) as book:
        book.record(Market.STOCKS, [change(1), change(2), change(3, symbol="BBB")])
        book.record(Market.STOCKS, [change(2, end=START + dt.timedelta(hours=1))])
        book.record(Market.CRYPTO, [change(9)])
    with AlertBook(database, wait_s=60) as book:
        found = book.open_alerts(Market.STOCKS)
    assert [row["alert_id"] for row in found] == ["stocks:volume_spike:AAA:1", "stocks:volume_spike:BBB:3"]
    assert set(found[0]) == set(ALERTS.schema)


@pytest.mark.slow
def test_alerts_wait_for_an_unavailable_database(server: PostgresServer, caplog: pytest.LogCaptureFixture) -> None:
    with Database(server.database()) as database, AlertBook(database, wait_s=60) as book:
        book.record(Market.STOCKS, [change(0)])
        server.stop()
        try:
            start = time.monotonic()
            assert not book.record(Market.STOCKS, [change(1)])
            assert not book.record(Market.STOCKS, [change(2)])
            assert time.monotonic() - start < 60
            assert book.waiting == 2
        finally:
            server.start()
        assert _until(lambda: book.waiting == 0)
        assert database.read(ALERTS).height == 3
    assert "alerts wait for the database" in caplog.text
    assert book.dropped == book.refused == 0


def test_the_oldest_alerts_are_dropped_when_too_many_wait(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    is_tried, may_fail = threading.Event(), threading.Event()

    def fail_once(*given: Any) -> int:
        if not may_fail.is_set():
            is_tried.set()
            assert may_fail.wait(120)
            raise DatabaseError("away", is_transient=True)
        return upsert(*given)

    with Database(f"sqlite:///{tmp_path / 'alerts.db'}") as database:
        upsert = database.upsert
        with patch.object(database, "upsert", fail_once), AlertBook(database, most_waiting=3, wait_s=0) as book:
            assert not book.record(Market.STOCKS, [change(0)])
            # Rows of an attempt in progress would be written even if they were dropped.
            assert is_tried.wait(120)
            for number in range(1, 5):
                assert not book.record(Market.STOCKS, [change(number)])
            assert (book.waiting, book.dropped) == (3, 2)
            may_fail.set()
            assert _until(lambda: book.waiting == 0)
        kept = database.read(ALERTS)["alert_id"].to_list()
    assert kept == [f"stocks:volume_spike:AAA:{number}" for number in (2, 3, 4)]
    assert caplog.text.count("is dropped") == 2


def test_a_refused_alert_does_not_block_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Database(f"sqlite:///{tmp_path / 'alerts.db'}") as database, AlertBook(database, wait_s=60) as book:
        with patch.object(database, "upsert", side_effect=TypeError("an unexpected error")):
            assert book.record(Market.STOCKS, [change(0)])
        assert book.record(Market.STOCKS, [change(1)])
        assert database.read(ALERTS)["alert_id"].to_list() == ["stocks:volume_spike:AAA:1"]
    assert book.refused == 1
    assert "an unexpected error: stocks:volume_spike:AAA:0" in caplog.text


def test_lost_alerts_are_logged_by_id(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "alerts.db"
    with Database(f"sqlite:///{path}", patience_s=0.05) as database:
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        book = AlertBook(database, wait_s=0.1)
        book.record(Market.STOCKS, [change(0)])
        assert book.close(0.5) == 1
        holder.close()
    assert "alert stocks:volume_spike:AAA:0 is lost" in caplog.text


class RecordingChannel:
    """A channel that records its notices."""

    name = "recording"

    def __init__(self) -> None:
        self.notices: list[Notice] = []
        self.threads: set[int] = set()

    def send(self, notice: Notice) -> None:
        self.notices.append(notice)
        self.threads.add(threading.get_ident())

    def send_summary(self, text: str) -> None:
        raise AssertionError(text)


class HangingChannel(RecordingChannel):
    """A channel whose receiver does not answer."""

    def __init__(self, may_end: threading.Event) -> None:
        super().__init__()
        self.send = self.send_summary = lambda _: may_end.wait(120)


def test_closing_waits_for_database_and_channels_within_one_timeout(tmp_path: Path) -> None:
    may_end, waited, join = threading.Event(), [], threading.Thread.join

    def joined(thread: threading.Thread, timeout: float | None = None) -> None:
        waited.append(timeout)
        join(thread, timeout)

    with (
        Database(f"sqlite:///{tmp_path / 'alerts.db'}") as database,
        patch.object(database, "upsert", side_effect=lambda *_: may_end.wait(120)),
    ):
        book = AlertBook(database, [HangingChannel(may_end), HangingChannel(may_end)], wait_s=0)
        book.record(Market.STOCKS, [change()])
        with patch.object(threading.Thread, "join", joined):
            book.close(0.2)
        may_end.set()
        book._thread.join(120)
    assert len(waited) == 3
    assert sum(waited) == pytest.approx(0.2, abs=1e-3)


def test_openings_and_ends_are_sent_from_another_thread(tmp_path: Path) -> None:
    channel = RecordingChannel()
    with Database(f"sqlite:///{tmp_path / 'alerts.db'}") as database, AlertBook(database, [channel]) as book:
        book.record(Market.STOCKS, [change()])
        book.record(Market.STOCKS, [change(peak=1200.0)])
        book.record(Market.STOCKS, [change(peak=1500.0, end=START + dt.timedelta(minutes=3))])
        assert _until(lambda: book.tallies["recording"].sent == 2)
    assert [notice.is_closing for notice in channel.notices] == [False, True]
    assert threading.get_ident() not in channel.threads


def test_a_restart_does_not_open_an_alert_again(tmp_path: Path) -> None:
    tape = steady_tape(minutes=70)
    minute = (pl.col("time").cast(pl.Int64) - session().regular_start) // NS_PER_MINUTE
    config = DetectionConfig.load()
    with Database(f"sqlite:///{tmp_path / 'alerts.db'}") as database:
        with AlertBook(database, wait_s=60) as book:
            first = Watch(Market.STOCKS, config)
            for batch in batches(tape.filter(minute < 30)):
                assert first.observe(batch) == []
            changes = first.tick(first.tape_ns + 10 * NS_PER_MINUTE)
            assert [c.row["rule"] for c in openings(changes)] == ["stale_symbol"]
            book.record(Market.STOCKS, changes)
        with AlertBook(database, wait_s=60) as book:
            second = Watch(Market.STOCKS, config)
            second.resume(book.open_alerts(Market.STOCKS))
            later = second.tick(first.tape_ns + 5 * NS_PER_MINUTE)
            for batch in batches(tape.filter(minute >= 45)):
                later += second.observe(batch)
            book.record(Market.STOCKS, later)
        (row,) = database.read(ALERTS).to_dicts()
    assert openings(later) == []
    assert len(closings(later)) == 1
    assert row["end_time"] is not None


def _until(is_true: Any, patience_s: float = 120.0) -> bool:
    deadline = time.monotonic() + patience_s
    while not is_true() and time.monotonic() < deadline:
        time.sleep(0.02)
    return bool(is_true())


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("POLYGON_API_KEY", "TAPEWATCH_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TAPEWATCH_HOME", str(tmp_path / "home"))
    with (
        Database(f"sqlite:///{tmp_path / 'home' / 'tapewatch.db'}") as database,
        AlertBook(database, wait_s=60) as book,
    ):
        book.record(Market.STOCKS, [change(1), change(2, end=START + dt.timedelta(minutes=9)), change(3, symbol="BBB")])
        book.record(Market.CRYPTO, [change(4, symbol="X:BTC-USD")])
    return tmp_path / "home"


def listed(*arguments: str) -> list[dict[str, str]]:
    result = CliRunner().invoke(app, ["alerts", "--format", "csv", *arguments])
    assert result.exit_code == 0, result.output
    return list(csv.DictReader(io.StringIO(result.stdout)))


def test_the_command_lists_alerts_by_time_market_symbol_and_state(home: Path) -> None:
    rows = listed()
    assert [(row["market"], row["symbol"]) for row in rows] == [
        ("stocks", "AAA"), ("stocks", "AAA"), ("stocks", "BBB"), ("crypto", "X:BTC-USD"),
    ]  # fmt: skip
    assert rows[0]["start"] == "2024-03-05T15:11:01Z"
    assert rows[0]["end"] == ""
    assert len(listed("--market", "crypto")) == 1
    assert len(listed("--symbol", "AAA")) == 2
    assert len(listed("--open")) == 3
    assert len(listed("--since", "2024-03-05T15:13")) == 2


def test_the_command_writes_json_and_a_table(home: Path) -> None:
    found = json.loads(CliRunner().invoke(app, ["alerts", "--format", "json"]).stdout)
    assert found[1]["end"] == "2024-03-05T15:19:01Z"
    assert found[0]["end"] is None
    assert found[0]["multiple"] == 8
    table = CliRunner().invoke(app, ["alerts"]).stdout
    assert "4 alerts" in table
    assert "lasts" in table
