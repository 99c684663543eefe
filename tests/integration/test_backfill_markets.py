"""The backfill command for each market against the emulator, also interrupted by Ctrl-C and resumed."""

import datetime as dt
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from tapewatch.emulator.process import running_emulator
from tapewatch.emulator.tape.market_tape import SyntheticTape
from tapewatch.market.instruments import Market, Partition, trading_days
from tapewatch.market.schema import Table
from tapewatch.market.tables.tape import BARS, COVERAGE, QUOTES, TRADES, quarantine_of
from tapewatch.store.lake.lake import Lake
from tests.support.emulator import Clock, serving
from tests.support.held_tape import HeldTape

pytestmark = pytest.mark.slow
DAY = dt.date(2024, 6, 4)
PATIENCE_S = 400
SEED = 5
SPELLINGS = {
    Market.STOCKS: ("aapl", "AAPL"),
    Market.CRYPTO: ("DOGE-USD", "X:DOGE-USD"),
    Market.FOREX: ("C:EURUSD", "C:EUR-USD"),
    Market.INDICES: ("SPX", "I:SPX"),
    Market.OPTIONS: ("AAPL291221C00190000", "O:AAPL291221C00190000"),
    Market.FUTURES: ("esz9", "ESZ9"),
}


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with running_emulator(seed=SEED) as emulator:
        yield emulator.base_url


def start(home: Path, base_url: str, *arguments: str, tier: str = "advanced") -> "subprocess.Popen[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TAPEWATCH_", "POLYGON_"))}
    environment |= {
        "TAPEWATCH_HOME": str(home),
        "POLYGON_API_KEY": f"{tier}-test",
        "POLYGON_BASE_URL": base_url,
        **{f"POLYGON_TIER_{market.upper()}": tier for market in Market},
    }
    command = [str(Path(sys.executable).parent / "tapewatch"), "backfill", *arguments]
    return subprocess.Popen(command, cwd=home.parent, env=environment, stderr=subprocess.PIPE, text=True)


def backfill(home: Path, base_url: str, *arguments: str, tier: str = "advanced") -> str:
    process = start(home, base_url, *arguments, tier=tier)
    output = process.communicate(timeout=PATIENCE_S)[1]
    assert process.returncode == 0, output
    return output


def has(lake: Lake, table: Table, partition: Partition) -> int:
    return lake.rows(table, partition) if lake.exists(table, partition) else 0


@pytest.mark.parametrize("market", list(Market))
def test_each_market_is_backfilled_completely(tmp_path: Path, base_url: str, market: Market) -> None:
    written, symbol = SPELLINGS[market]
    days = ("--from", str(DAY), "--to", str(DAY))
    output = backfill(tmp_path / "home", base_url, "-m", market, "--symbols", written, *days)
    assert "Estimate: about" in output
    lake, partition = Lake(tmp_path / "home" / "lake"), Partition(DAY, market)
    bars, (certificate,) = lake.read(BARS, partition), lake.read(COVERAGE, partition).to_dicts()
    assert bars["symbol"].unique().to_list() == [certificate["symbol"]] == [symbol]
    assert bool(has(lake, TRADES, partition)) == (market not in (Market.FOREX, Market.INDICES))
    assert bool(has(lake, QUOTES, partition)) == (market is not Market.INDICES)
    for table in (TRADES, QUOTES, BARS):
        assert not has(lake, quarantine_of(table), partition)
    built = bars.filter(pl.col("source") == "trades")
    if has(lake, TRADES, partition):
        assert built["is_volume_equal"].all()
        assert built["is_price_equal"].all()
    else:
        assert built.is_empty()
    # Options trade a few times an hour, the other markets in nearly every minute.
    least = 0.3 if market is Market.OPTIONS else 0.9
    assert certificate["received_minutes"] > least * certificate["expected_minutes"]


def test_a_plan_with_bars_only_loads_them_in_one_call(tmp_path: Path, base_url: str) -> None:
    first = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=12)
    output = backfill(
        tmp_path / "home", base_url, "-m", "stocks", "--symbols", "AAPL", "--from", str(first), tier="basic"
    )
    assert "up to the last finished day" in output
    assert "about 1 call (" in output
    lake = Lake(tmp_path / "home" / "lake")
    days = lake.partitions(BARS)
    assert len(days) > 5
    assert lake.partitions(TRADES) == lake.partitions(QUOTES) == []
    assert all(lake.rows(COVERAGE, day) == 1 for day in days)
    assert all(lake.read(COVERAGE, day)["received_minutes"][0] > 100 for day in days)


def test_ctrl_c_stops_cleanly_and_the_same_command_resumes(tmp_path: Path, base_url: str) -> None:
    first, last = dt.date(2024, 6, 3), dt.date(2024, 6, 6)
    days = [Partition(day, Market.STOCKS) for day in trading_days(Market.STOCKS, first, last)]
    command = ("-m", "stocks", "--symbols", "AAPL,TSLA", "--from", str(first), "--to", str(last))
    stopped, undisturbed = Lake(tmp_path / "stopped" / "lake"), Lake(tmp_path / "undisturbed" / "lake")
    # It is stopped after two days at the latest.
    tape = HeldTape(SyntheticTape(SEED), "quotes", days[2].date)
    with serving(tape, clock=Clock(time.time_ns())) as same_market:
        with tape.held():
            process = start(tmp_path / "stopped", same_market, *command)
            deadline = time.monotonic() + PATIENCE_S
            while len(stopped.partitions(QUOTES)) < 2:
                assert process.poll() is None, "the backfill ended before it could be stopped"
                assert time.monotonic() < deadline
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=PATIENCE_S)[1]
    assert process.returncode == 130, output
    assert "Stopped. Of 4 days the lake holds" in output
    assert "Traceback" not in output
    assert not list(Path(stopped.root).rglob("*.tmp"))
    kept = {day: stopped.path(QUOTES, day).stat().st_mtime_ns for day in stopped.partitions(QUOTES)[:-1]}
    assert kept
    resumed = backfill(tmp_path / "stopped", base_url, *command)
    assert "Estimate: about" in resumed
    backfill(tmp_path / "undisturbed", base_url, *command)
    assert {day: stopped.path(QUOTES, day).stat().st_mtime_ns for day in kept} == kept
    for table in (TRADES, QUOTES, BARS):
        assert stopped.partitions(table) == undisturbed.partitions(table) == days
        for day in days:
            assert stopped.read(table, day).equals(undisturbed.read(table, day)), (table.name, day)
