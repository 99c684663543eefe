"""`tapewatch gaps`, `coverage` and `heal` over a real database and spool."""

import csv
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from orchestration.cli.app import app
from tapewatch.bars.coverage import coverage
from tapewatch.bars.time_bars import minute_bars
from tapewatch.emulator.process import running_emulator
from tapewatch.market.instruments import NS_PER_MINUTE, Market, Partition
from tapewatch.market.tables.live import GAPS
from tapewatch.market.tables.stream import STREAM_TRADES
from tapewatch.market.tables.tape import COVERAGE
from tapewatch.settings import Settings
from tapewatch.store.database.database import Database
from tapewatch.store.spool.files import waiting
from tapewatch.store.spool.spool import SpoolWriter
from tapewatch.streaming.gaps.book import GapBook
from tests.support.streams import as_streamed
from tests.support.tapes import DAY, stock_session, tape_of

STOCKS = Partition(DAY, Market.STOCKS)
SESSION = stock_session()
_REASON = (
    "1 gap not filled; 10 minutes without a row from 20:50 UTC on: no other kept day and no other tape shows that the symbol was "
    "silent"
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TAPEWATCH_HOME", str(tmp_path))
    monkeypatch.setenv("TAPEWATCH_SYMBOLS_STOCKS", "AAPL")
    monkeypatch.setenv("TAPEWATCH_PORT_EMULATOR", "1")
    for name in ("POLYGON_API_KEY", "TAPEWATCH_FLAT_FILES", "TAPEWATCH_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    return Settings(_env_file=None)


def call(*arguments: str, columns: int = 200) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": str(columns)})


def open_gap(settings: Settings, minute: int = 5, cause: str = "disconnect") -> str:
    with Database(settings.database) as database:
        book = GapBook(database, settings.home / "gaps.jsonl", Market.STOCKS)
        start = SESSION.regular_start + minute * NS_PER_MINUTE
        return book.open(cause, start_ns=start, end_ns=start + 2 * NS_PER_MINUTE, now_ns=start, reason="reset by peer")


def test_gaps_in_every_format(home: Settings) -> None:
    assert "0 gaps" in call("gaps").output
    gap_id = open_gap(home)
    (row,) = csv.DictReader(io.StringIO(call("gaps", "--format", "csv").stdout))
    assert (row["gap_id"], row["status"], row["start"]) == (gap_id, "open", "2024-03-05T14:35:00Z")
    (found,) = json.loads(call("gaps", "--market", "stocks", "--date", str(DAY), "--format", "json").stdout)
    assert (found["cause"], found["symbol"], found["rows"]) == ("disconnect", None, None)
    assert "reset by peer" in " ".join(call("gaps", columns=80).output.split())
    assert json.loads(call("gaps", "--status", "healed", "--format", "json").stdout) == []
    assert json.loads(call("gaps", "--since", "2024-03-05T14:36", "--format", "json").stdout) == []
    assert len(json.loads(call("gaps", "--since", "2024-03-05T14:35", "--format", "json").stdout)) == 1
    assert call("gaps", "--since", str(DAY), "--date", str(DAY)).exit_code == 2
    assert call("gaps", "--status", "lost").exit_code == 2


def test_coverage_in_every_format(home: Settings) -> None:
    open_gap(home)
    with Database(home.database) as database:
        gaps = database.read(GAPS).select(GAPS.schema.names())
        for symbol in ("BBB", "AAA"):
            bars = minute_bars(tape_of([(60 * m, 1, 1) for m in range(380)], symbol=symbol)[0], SESSION)
            database.upsert(COVERAGE, STOCKS, coverage(bars, bars, bars, SESSION, gaps=gaps))
    rows = list(csv.reader(io.StringIO(call("coverage", "--format", "csv").stdout)))
    assert rows == [
        ["symbol", "date", "expected", "received", "healed", "silent", "missing", "gaps", "complete", "reason"],
        ["AAA", "2024-03-05", "390", "378", "0", "0", "12", "1", "False", _REASON],
        ["BBB", "2024-03-05", "390", "378", "0", "0", "12", "1", "False", _REASON],
    ]
    found = json.loads(call("coverage", "--market", "stocks", "--date", str(DAY), "--format", "json").stdout)
    assert found[0] == {
        **{"symbol": "AAA", "date": "2024-03-05", "expected": 390},
        **{"received": 378, "healed": 0, "silent": 0, "missing": 12, "gaps": 1, "complete": False, "reason": _REASON},
    }
    shown = call("coverage").output
    assert "0 complete" in shown
    assert f"AAA 2024-03-05: {_REASON}" in shown
    assert len(json.loads(call("coverage", "--since", "2024-03-05", "--format", "json").stdout)) == 2
    assert "once its rows are in the lake" in call("coverage", "--since", "2024-03-06").stderr
    assert json.loads(call("coverage", "--date", "2024-03-06", "--format", "json").stdout) == []
    assert json.loads(call("coverage", "--market", "crypto", "--format", "json").stdout) == []


def test_heal_without_a_gap_is_no_error_even_without_a_source(home: Settings) -> None:
    result = call("heal")
    assert result.exit_code == 0, result.output
    assert "No gap waits to be healed" in result.output


@pytest.mark.slow
def test_a_healer_stops_at_once_amid_a_call(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    open_gap(home)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(240)
        monkeypatch.setenv("POLYGON_API_KEY", "a-key")
        monkeypatch.setenv("POLYGON_BASE_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setenv("POLYGON_TIER_STOCKS", "advanced")
        process = subprocess.Popen(
            [sys.executable, "-m", "orchestration.processes.healer"],
            cwd=Path(__file__).parents[3],
            env=os.environ.copy(),
        )
        try:
            # The call has begun, and will never be answered.
            connection = silent.accept()[0]
            process.send_signal(signal.SIGTERM)
            assert process.wait(180) == 0
            connection.close()
        finally:
            process.kill()
            process.wait()


def test_ingest_without_batches_is_no_error(home: Settings) -> None:
    result = call("ingest")
    assert result.exit_code == 0, result.output
    assert "nothing to merge" in result.output


@pytest.mark.slow
def test_ingest_merges_what_was_streamed(home: Settings) -> None:
    with SpoolWriter(home.spool_root, Market.STOCKS, "collector") as writer:
        writer.add_rows(STREAM_TRADES, as_streamed(tape_of([(60 * m + 1, 1, 1) for m in range(390)], symbol="AAPL")[0]))
    assert f"Streamed rows of {STOCKS} wait in the spool: `tapewatch ingest`" in call("coverage").output
    result = call("ingest")
    assert result.exit_code == 0, result.output
    assert f"1 market day(s) merged: {STOCKS}" in result.output
    assert not waiting(home.spool_root)
    (row,) = json.loads(call("coverage", "--format", "json").stdout)
    assert (row["symbol"], row["received"]) == ("AAPL", 390)
    assert "wait in the spool" not in call("coverage").output


def test_heal_without_a_source_names_the_setting(home: Settings) -> None:
    open_gap(home)
    result = call("heal")
    assert result.exit_code == 1
    assert "POLYGON_API_KEY" in result.output


@pytest.mark.slow
def test_heal_fills_gaps_once_and_the_healer_process_until_it_is_stopped(
    home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_gap(home)
    with running_emulator() as emulator:
        monkeypatch.setenv("POLYGON_API_KEY", "a-key")
        monkeypatch.setenv("POLYGON_BASE_URL", emulator.base_url)
        monkeypatch.setenv("POLYGON_TIER_STOCKS", "advanced")
        result = call("heal", "--market", "stocks")
        assert result.exit_code == 0, result.output
        assert "1 gap(s) healed" in result.output
        files = waiting(home.spool_root)[STOCKS]
        assert {file.table for file in files} == {"stream_trades", "stream_quotes"}
        open_gap(home, minute=20, cause="dropped")
        process = subprocess.Popen(
            [sys.executable, "-m", "orchestration.processes.healer"],
            cwd=Path(__file__).parents[3],
            env=os.environ.copy(),
        )
        try:
            deadline = time.monotonic() + 240
            with Database(home.database) as database:
                while set(database.read(GAPS)["status"]) != {"healed"}:
                    assert time.monotonic() < deadline
                    assert process.poll() is None
                    time.sleep(0.05)
            process.send_signal(signal.SIGTERM)
            assert process.wait(120) == 0
        finally:
            process.kill()
            process.wait()
