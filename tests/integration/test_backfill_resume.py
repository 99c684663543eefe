"""A backfill that is stopped by Ctrl-C, or killed, and run again gives the result of an undisturbed one and fetches no finished day twice."""

import datetime as dt
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tapewatch.emulator.tape.market_tape import SyntheticTape
from tapewatch.market.instruments import Market, Partition, trading_days
from tapewatch.market.tables.tape import BARS, QUOTES, TRADES, quarantine_of
from tapewatch.store.lake.lake import Lake
from tests.support.emulator import Clock, serving
from tests.support.held_tape import HeldTape

pytestmark = pytest.mark.slow

FIRST, LAST = dt.date(2024, 6, 3), dt.date(2024, 6, 6)
DAYS = [Partition(day, Market.STOCKS) for day in trading_days(Market.STOCKS, FIRST, LAST)]
PATIENCE_S = 400
SEED = 5


def start(home: Path, base_url: str) -> "subprocess.Popen[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TAPEWATCH_", "POLYGON_"))}
    environment |= {
        "TAPEWATCH_HOME": str(home),
        "POLYGON_API_KEY": "advanced-test",  # pragma: allowlist secret
        "POLYGON_BASE_URL": base_url,
        "POLYGON_TIER_STOCKS": "advanced",
    }
    command = [str(Path(sys.executable).parent / "tapewatch"), "backfill", "-m", "stocks", "--symbols", "AAPL,TSLA"]
    command += ["--from", str(FIRST), "--to", str(LAST)]
    return subprocess.Popen(command, cwd=home.parent, env=environment, stderr=subprocess.PIPE, text=True)


def backfill(home: Path, base_url: str) -> str:
    process = start(home, base_url)
    output = process.communicate(timeout=PATIENCE_S)[1]
    assert process.returncode == 0, output
    return output


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    home = tmp_path_factory.mktemp("undisturbed")
    with serving(SyntheticTape(SEED), clock=Clock(time.time_ns())) as base_url:
        backfill(home, base_url)
    return Lake(home / "lake")


def wait(process: "subprocess.Popen[str]", is_there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_there():
        assert process.poll() is None, "the backfill ended before it could be stopped"
        assert time.monotonic() < deadline
        time.sleep(0.01)


def assert_equal(lake: Lake, undisturbed: Lake) -> None:
    for table in (TRADES, QUOTES, BARS):
        assert lake.partitions(table) == undisturbed.partitions(table) == DAYS
        for day in DAYS:
            assert lake.read(table, day).equals(undisturbed.read(table, day)), (table.name, day)


def test_ctrl_c_stops_cleanly_and_the_same_command_resumes(tmp_path: Path, undisturbed: Lake) -> None:
    stopped = Lake(tmp_path / "stopped" / "lake")
    # It is stopped after two days at the latest.
    tape = HeldTape(SyntheticTape(SEED), "quotes", DAYS[2].date)
    with serving(tape, clock=Clock(time.time_ns())) as same_market:
        with tape.held():
            process = start(tmp_path / "stopped", same_market)
            wait(process, lambda: len(stopped.partitions(QUOTES)) >= 2)
            process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=PATIENCE_S)[1]
        assert process.returncode == 130, output
        assert "Stopped. Of 4 days the lake holds" in output
        assert "Traceback" not in output
        assert not list(Path(stopped.root).rglob("*.tmp"))
        kept = {day: stopped.path(QUOTES, day).stat().st_mtime_ns for day in stopped.partitions(QUOTES)[:-1]}
        assert kept
        assert "Estimate: about" in backfill(tmp_path / "stopped", same_market)
    assert {day: stopped.path(QUOTES, day).stat().st_mtime_ns for day in kept} == kept
    assert_equal(stopped, undisturbed)


def test_killed_and_resumed_equals_undisturbed(tmp_path: Path, undisturbed: Lake) -> None:
    killed = Lake(tmp_path / "killed" / "lake")
    # It is killed after three days at the latest.
    tape = HeldTape(SyntheticTape(SEED), "trades", DAYS[3].date)
    with serving(tape, clock=Clock(time.time_ns())) as same_market:
        with tape.held():
            process = start(tmp_path / "killed", same_market)
            try:
                wait(process, lambda: len(killed.partitions(TRADES)) >= 3)
            finally:
                process.kill()
                process.communicate()
        # A day killed between writing trades and quarantine is not finished: the quarantine would be lost.
        done = [p for p in killed.partitions(TRADES) if killed.exists(quarantine_of(TRADES), p)]
        assert 2 <= len(done) < len(DAYS)
        stamps = {partition: killed.path(TRADES, partition).stat().st_mtime_ns for partition in done}
        backfill(tmp_path / "killed", same_market)
    assert {p: killed.path(TRADES, p).stat().st_mtime_ns for p in done} == stamps
    assert_equal(killed, undisturbed)
    # An empty file of a writer that was killed as it began goes an hour later.
    leftovers = [path for path in Path(killed.root).rglob("*.tmp") if path.stat().st_size]
    assert not leftovers
