"""The backfill command for each market against the emulator."""

import datetime as dt
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from orchestration.cli.app import app
from tapewatch.emulator.process import running_emulator
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.schema import Table
from tapewatch.market.tables.tape import BARS, COVERAGE, QUOTES, TRADES, quarantine_of
from tapewatch.store.lake.lake import Lake

pytestmark = pytest.mark.slow
DAY = dt.date(2024, 6, 4)
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
    with running_emulator(seed=5) as emulator:
        yield emulator.base_url


@pytest.fixture
def backfill(base_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """`tapewatch backfill` in this process, on an empty home; returns what it printed."""
    for name in os.environ:
        if name.startswith(("TAPEWATCH_", "POLYGON_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TAPEWATCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("POLYGON_BASE_URL", base_url)

    def run(*arguments: str, tier: str = "advanced") -> str:
        monkeypatch.setenv("POLYGON_API_KEY", f"{tier}-test")
        for market in Market:
            monkeypatch.setenv(f"POLYGON_TIER_{market.upper()}", tier)
        done = CliRunner().invoke(app, ["backfill", *arguments])
        assert done.exit_code == 0, (done.output, done.exception)
        return re.sub(r"\s+", " ", done.output)

    return run


def has(lake: Lake, table: Table, partition: Partition) -> int:
    return lake.rows(table, partition) if lake.exists(table, partition) else 0


@pytest.mark.parametrize("market", list(Market))
def test_each_market_is_backfilled_completely(tmp_path: Path, backfill: Callable[..., str], market: Market) -> None:
    written, symbol = SPELLINGS[market]
    output = backfill("-m", market, "--symbols", written, "--from", str(DAY), "--to", str(DAY))
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


def test_a_plan_with_bars_only_loads_them_in_one_call(tmp_path: Path, backfill: Callable[..., str]) -> None:
    first = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=12)
    output = backfill("-m", "stocks", "--symbols", "AAPL", "--from", str(first), tier="basic")
    assert "up to the last finished day" in output
    assert "about 1 call (" in output
    lake = Lake(tmp_path / "home" / "lake")
    days = lake.partitions(BARS)
    assert len(days) > 5
    assert lake.partitions(TRADES) == lake.partitions(QUOTES) == []
    assert all(lake.rows(COVERAGE, day) == 1 for day in days)
    assert all(lake.read(COVERAGE, day)["received_minutes"][0] > 100 for day in days)
