"""A backfill that is killed and restarted gives the same result as an undisturbed one and fetches no finished day twice."""

import datetime as dt
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tapewatch.emulator.tape.market_tape import SyntheticTape
from tapewatch.market.instruments import Market, Partition, trading_days
from tapewatch.market.tables.tape import BARS, QUOTES, TRADES, quarantine_of
from tapewatch.store.lake.lake import Lake
from tests.support.emulator import Clock, serving
from tests.support.held_tape import HeldTape

pytestmark = pytest.mark.slow

CHECKOUT = Path(__file__).resolve().parents[2]
FIRST, LAST = dt.date(2024, 6, 3), dt.date(2024, 6, 10)
DAYS = [Partition(day, Market.STOCKS) for day in trading_days(Market.STOCKS, FIRST, LAST)]
PATIENCE_S = 400


def start(home: Path, base_url: str) -> "subprocess.Popen[bytes]":
    environment = os.environ | {
        "TAPEWATCH_HOME": str(home),
        "POLYGON_API_KEY": "resume-test",  # pragma: allowlist secret
        "POLYGON_BASE_URL": base_url,
        "POLYGON_TIER_STOCKS": "advanced",
        "TAPEWATCH_SYMBOLS_STOCKS": "AAPL,MSFT",
    }
    command = "from orchestration.cli.app import app; app()"
    arguments = ["backfill", "--market", "stocks", "--from", str(FIRST), "--to", str(LAST)]
    return subprocess.Popen([sys.executable, "-c", command, *arguments], cwd=CHECKOUT, env=environment)


def wait_for_days(lake: Lake, process: "subprocess.Popen[bytes]", count: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while len(lake.partitions(TRADES)) < count:
        assert process.poll() is None, "the backfill ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_killed_and_resumed_equals_undisturbed(tmp_path: Path) -> None:
    killed, undisturbed = Lake(tmp_path / "killed" / "lake"), Lake(tmp_path / "undisturbed" / "lake")
    # It is killed after three days at the latest.
    tape = HeldTape(SyntheticTape(3), "trades", DAYS[3].date)
    with serving(tape, clock=Clock(time.time_ns())) as base_url:
        with tape.held():
            process = start(tmp_path / "killed", base_url)
            try:
                wait_for_days(killed, process, 3)
            finally:
                process.kill()
                process.wait()
        # A day killed between writing trades and quarantine is not finished: the quarantine would be lost.
        done = [p for p in killed.partitions(TRADES) if killed.exists(quarantine_of(TRADES), p)]
        assert 2 <= len(done) < len(DAYS)
        stamps = {partition: killed.path(TRADES, partition).stat().st_mtime_ns for partition in done}
        for home in ("killed", "undisturbed"):
            assert start(tmp_path / home, base_url).wait(PATIENCE_S) == 0
    assert {p: killed.path(TRADES, p).stat().st_mtime_ns for p in done} == stamps
    for table in (TRADES, QUOTES, BARS):
        assert killed.partitions(table) == undisturbed.partitions(table) == DAYS
        for partition in DAYS:
            assert killed.read(table, partition).equals(undisturbed.read(table, partition)), (table.name, partition)
    # An empty file of a writer that was killed as it began goes an hour later.
    leftovers = [path for path in Path(killed.root).rglob("*.tmp") if path.stat().st_size]
    assert not leftovers
