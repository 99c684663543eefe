"""The healer against the emulator: each missing row is filled once, however often the healer is killed."""

import datetime as dt
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import polars as pl
import pytest
import sqlalchemy as sa
from starlette.responses import Response

from tapewatch.bars.revisions import delivered_bars
from tapewatch.emulator.process import running_emulator
from tapewatch.emulator.synthetic.market import Synthetic
from tapewatch.feeds.files.source import FlatFileSource
from tapewatch.feeds.plans.table import TapeTable
from tapewatch.feeds.ranges import FlatFileRanges, RestRanges
from tapewatch.feeds.rest.transport import Patience
from tapewatch.market.instruments import NS_PER_SECOND, Market, Partition
from tapewatch.market.tables.live import GAPS
from tapewatch.market.tables.stream import STREAM_BARS, STREAM_BATCHES, STREAM_QUOTES, STREAM_TRADES
from tapewatch.market.tables.tape import BARS, QUOTES, TRADES
from tapewatch.store.database import engine as sql_engine
from tapewatch.store.database.database import Database
from tapewatch.store.lake.lake import Lake
from tapewatch.store.spool.files import waiting_for
from tapewatch.store.spool.spool import SpoolWriter
from tapewatch.streaming.gaps.book import GapBook, gap_rows, save_gaps
from tapewatch.streaming.gaps.healer import LONGEST_WAIT_S, Healer, HealSummary
from tapewatch.streaming.ingest.ingest import ingest
from tests.support.faulty_vendor import faulty_vendor
from tests.support.streams import as_streamed

SEED = 11
DAY = dt.date(2024, 5, 1)
STOCKS, CRYPTO = Partition(DAY, Market.STOCKS), Partition(DAY, Market.CRYPTO)
SYMBOL = {Market.STOCKS: "VOO", Market.CRYPTO: "X:ADA-USD"}
KEY = "a-key"
NOW = dt.datetime(2024, 5, 3, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with running_emulator(seed=SEED) as emulator:
        yield emulator.base_url


@pytest.fixture
def database(tmp_path) -> Iterator[Database]:
    with Database(f"sqlite:///{tmp_path / 'tapewatch.db'}") as opened:
        yield opened


def rest(base_url: str, tier: str = "advanced") -> RestRanges:
    return RestRanges(
        base_url,
        KEY,
        dict.fromkeys(Market, tier),
        patience=Patience(attempts=1, first_wait_s=0.01, longest_wait_s=0.01),
    )


def heal(tmp_path: Path, database: Database, *sources, now: dt.datetime = NOW) -> HealSummary:
    healer = Healer(
        database, sources, tmp_path / "spool", lambda partition: [SYMBOL[partition.market]], Lake(tmp_path / "lake")
    )
    return healer.heal_once(now)


def merged(tmp_path: Path, partition: Partition) -> Lake:
    lake = Lake(tmp_path / "lake")
    ingest(lake, tmp_path / "spool", partition, None, NOW)
    return lake


def open_gap(tmp_path: Path, database: Database, partition: Partition, start_s: float, end_s: float, **more) -> str:
    book = GapBook(database, tmp_path / f"gaps-{partition.market}.jsonl", partition.market)
    at = partition.session.regular_start
    bounds = {"start_ns": at + round(start_s * NS_PER_SECOND), "end_ns": at + round(end_s * NS_PER_SECOND)}
    return book.open("disconnect", **bounds, now_ns=at, **more)


def stream_with_hole(
    tmp_path: Path, partition: Partition, start_s: int, end_s: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Spool a day except for a hole; returns the whole day's trades and quotes.

    All earlier trades have wrong prices: their corrections came within the hole.
    """
    day = Synthetic(SEED).day(SYMBOL[partition.market], DAY)
    at = partition.session.regular_start
    is_hole = pl.col("time").to_physical().is_between(at + start_s * NS_PER_SECOND, at + end_s * NS_PER_SECOND)
    with SpoolWriter(tmp_path / "spool", partition.market, "collector") as writer:
        for table, frame in ((STREAM_TRADES, day.trades), (STREAM_QUOTES, day.quotes)):
            streamed = as_streamed(frame, table)
            if partition.market is Market.CRYPTO:
                streamed = streamed.with_columns(sequence_number=pl.lit(None, pl.Int64))
            if table is STREAM_TRADES:
                time = pl.col("time").to_physical()
                wrong = time < at + (start_s - 5) * NS_PER_SECOND
                streamed = streamed.with_columns(price=pl.when(wrong).then(pl.col("price") + 1).otherwise("price"))
            writer.add_rows(table, streamed.filter(~is_hole))
    return day.trades, day.quotes


def row(database: Database) -> dict:
    (found,) = database.read(GAPS).to_dicts()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("partition", [STOCKS, CRYPTO])
def test_a_hole_is_filled_and_every_trade_is_stored_once(tmp_path, database, base_url, partition) -> None:
    trades, quotes = stream_with_hole(tmp_path, partition, 600, 900)
    merged(tmp_path, partition)
    open_gap(tmp_path, database, partition, 598.5, 902)
    summary = heal(tmp_path, database, rest(base_url))
    assert (len(summary.healed), summary.failed) == (1, [])
    lake = merged(tmp_path, partition)
    found = lake.read(TRADES, partition)
    identity = ["exchange", "id"] if partition is CRYPTO else ["sequence_number"]
    assert found.height == trades.height
    assert found.select(identity).sort(identity).equals(trades.select(identity).sort(identity))
    prices = [frame.sort(identity)["price"].to_list() for frame in (found, trades)]
    assert prices[0] == prices[1]
    assert found["size"].sum() == pytest.approx(trades["size"].sum())
    if partition is STOCKS:
        assert lake.read(QUOTES, partition).height == quotes.height
    gap = row(database)
    assert (gap["status"], gap["healed_by"], gap["attempts"]) == ("healed", "rest", 1)
    assert gap["rows_healed"] == summary.rows > 0
    assert heal(tmp_path, database, rest(base_url)).healed == []


@pytest.mark.slow
def test_a_correction_of_the_day_before_that_came_within_a_gap_is_healed(tmp_path, database, base_url) -> None:
    """Yesterday's trades of one coin are wrong in the lake; today's stream, which would have corrected them, had a gap."""
    before, lake = Partition(DAY - dt.timedelta(days=1), Market.CRYPTO), Lake(tmp_path / "lake")
    coins, truth = ["X:ADA-USD", "X:BTC-USD"], {}
    with SpoolWriter(tmp_path / "spool", Market.CRYPTO, "collector") as writer:
        for coin in coins:
            truth[coin] = Synthetic(SEED).day(coin, before.date).trades
            wrong = 1.0 if coin == coins[0] else 0.0
            streamed = as_streamed(truth[coin], STREAM_TRADES).with_columns(price=pl.col("price") + wrong)
            writer.add_rows(STREAM_TRADES, streamed.with_columns(sequence_number=pl.lit(None, pl.Int64)))
    merged(tmp_path, before)

    def corrected() -> list[str]:
        """The coins whose rows of the day before are fetched by one more gap."""
        healer = Healer(database, [rest(base_url)], tmp_path / "spool", lambda _: coins, lake)
        assert len(healer.heal_once(NOW).healed) == 1
        found = [file.heals.symbol for file in waiting_for(tmp_path / "spool", before) if file.heals]
        merged(tmp_path, before)
        return found

    open_gap(tmp_path, database, CRYPTO, 600, 660, channel="trades")
    assert corrected() == coins[:1]
    held = lake.read(TRADES, before)
    for coin in coins:
        of_coin = held.filter(pl.col("symbol").cast(pl.String) == coin).sort("exchange", "id")
        assert of_coin["price"].equals(truth[coin].sort("exchange", "id")["price"])
    open_gap(tmp_path, database, CRYPTO, 900, 960, channel="trades")
    assert corrected() == []
    # One that the lake does not hold yet is fetched without a look.
    with SpoolWriter(tmp_path / "spool", Market.CRYPTO, "collector") as writer:
        writer.add_rows(STREAM_TRADES, as_streamed(truth[coins[1]][:3], STREAM_TRADES))
    open_gap(tmp_path, database, CRYPTO, 1200, 1260, channel="trades")
    assert corrected() == coins


@pytest.mark.slow
def test_a_plan_without_trades_makes_a_gap_unhealable_and_the_reason_names_the_setting(
    tmp_path, database, base_url
) -> None:
    open_gap(tmp_path, database, STOCKS, 0, 60, channel="trades")
    assert len(heal(tmp_path, database, rest(base_url, "starter")).unhealable) == 1
    gap = row(database)
    assert gap["status"] == "unhealable"
    assert "POLYGON_TIER_STOCKS" in gap["reason"]
    assert "starter" in gap["reason"]
    assert merged(tmp_path, STOCKS).read(STREAM_BATCHES, STOCKS)["rows"].to_list() == [0]
    # After an upgrade of the plan, only an explicit heal tries an unhealable gap again.
    assert not heal(tmp_path, database, rest(base_url)).healed
    for tier, status in (("starter", "unhealable"), ("advanced", "healed")):
        again = Healer(database, [rest(base_url, tier)], tmp_path / "spool", lambda _: ["VOO"], Lake(tmp_path / "lake"))
        again.heal_once(NOW, patiently=False)
        assert row(database)["status"] == status
    assert len(waiting_for(tmp_path / "spool", STOCKS)) == 1


@pytest.mark.slow
def test_bars_fill_a_gap_where_the_plan_has_no_trades(tmp_path, database, base_url) -> None:
    open_gap(tmp_path, database, STOCKS, 90, 150)
    assert heal(tmp_path, database, rest(base_url, "starter")).rows == 2
    gap = row(database)
    assert gap["status"] == "healed"
    assert "no trades" in gap["reason"]
    bars = delivered_bars(merged(tmp_path, STOCKS).read(STREAM_BARS, STOCKS), BARS.empty())
    # Bars before the gap are read again too.
    assert set(bars["delivered_by"].cast(pl.String)) == {"rest"}
    assert bars.filter(pl.col("time").to_physical() >= STOCKS.session.regular_start + 60 * NS_PER_SECOND).height == 2


@pytest.mark.slow
def test_a_gap_waits_for_a_delayed_plan(tmp_path, database, base_url) -> None:
    open_gap(tmp_path, database, STOCKS, 0, 60, channel="trades")
    end = dt.datetime.fromtimestamp(STOCKS.session.regular_start // 10**9 + 60, dt.UTC)
    source = rest(base_url, "developer")
    assert len(heal(tmp_path, database, source, now=end + dt.timedelta(minutes=10)).waiting) == 1
    assert row(database)["attempts"] == 0
    assert len(heal(tmp_path, database, source, now=end + dt.timedelta(minutes=18)).healed) == 1


def test_an_unavailable_source_is_tried_again_later(tmp_path, database) -> None:
    open_gap(tmp_path, database, STOCKS, 0, 60)
    healer = Healer(
        database, [rest("http://127.0.0.1:1")], tmp_path / "spool", lambda _: ["VOO"], Lake(tmp_path / "lake")
    )
    assert len(healer.heal_once(NOW).failed) == 1
    assert len(healer.heal_once(NOW + dt.timedelta(seconds=5)).waiting) == 1
    assert len(healer.heal_once(NOW + dt.timedelta(seconds=40)).failed) == 1
    gap = row(database)
    assert (gap["status"], gap["attempts"]) == ("open", 2)
    assert "127.0.0.1:1" in gap["reason"]


def test_the_next_days_flat_file_fills_what_rest_refuses(tmp_path, database, market_data) -> None:
    day = Partition(dt.date(2013, 10, 7), Market.STOCKS)
    files = FlatFileRanges(FlatFileSource(str(market_data)))
    open_gap(tmp_path, database, day, 600, 605, channel="trades", symbol="IBM")
    with faulty_vendor() as vendor:
        vendor.every_fault = lambda _: Response('{"status":"NOT_AUTHORIZED"}', 403)
        sources = rest(vendor.base_url), files
        assert len(heal(tmp_path, database, *sources, now=dt.datetime(2013, 10, 7, 20, tzinfo=dt.UTC)).waiting) == 1
        summary = heal(tmp_path, database, *sources)
        assert vendor.seen
    found = merged(tmp_path, day).read(TRADES, day)
    gap_start = day.session.regular_start + 600 * NS_PER_SECOND
    assert found.filter(pl.col("time").to_physical() >= gap_start).height == summary.rows > 0
    assert set(found["symbol"].cast(pl.String)) == {"IBM"}
    assert row(database)["healed_by"] == "flat_files"


@pytest.mark.slow
def test_a_gap_without_rows_writes_an_empty_batch(tmp_path, database, base_url) -> None:
    before = -(STOCKS.session.regular_start - STOCKS.session.day_start) / NS_PER_SECOND
    open_gap(tmp_path, database, STOCKS, before + 60, before + 120)
    summary = heal(tmp_path, database, rest(base_url))
    assert (len(summary.healed), summary.rows) == (1, 0)
    assert merged(tmp_path, STOCKS).read(STREAM_BATCHES, STOCKS)["rows"].to_list() == [0]


class _Growing:
    """A source that extends the gap while it answers, as the gap's collector does after a restart."""

    name = "flat_files"

    def __init__(self, grow: Callable[[], object]) -> None:
        self.grow, self.asked, self.since = grow, [], []

    def ready_at(self, partition, end_ns) -> int:
        return 0

    def tapes(self, market, day, today) -> tuple[list[TapeTable], str]:
        return [TapeTable.TRADES], ""

    def between(self, tape, partition, symbols, start_ns, end_ns):
        self.asked.append(end_ns - partition.session.regular_start)
        self.since.append(start_ns - partition.session.day_start)
        self.grow()
        return iter(())


def test_a_round_reads_the_trades_before_its_gaps_once_and_the_next_round_again(tmp_path, database) -> None:
    session, source = STOCKS.session, _Growing(lambda: None)
    for start in (0, 100):
        open_gap(tmp_path, database, STOCKS, start, start + 60)
    healer = Healer(database, [source], tmp_path / "spool", lambda _: ["VOO"], Lake(tmp_path / "lake"))
    assert len(healer.heal_once(NOW).healed) == 2
    open_gap(tmp_path, database, STOCKS, 500, 560)
    healer.heal_once(NOW)
    until_first = session.regular_start + 60 * NS_PER_SECOND - session.day_start
    assert source.since == [0, until_first, 0]


def test_a_gap_extended_while_it_is_filled_is_filled_again(tmp_path, database) -> None:
    gap_id = open_gap(tmp_path, database, STOCKS, 0, 60)
    source = _Growing(lambda: open_gap(tmp_path, database, STOCKS, 0, 90))
    first = heal(tmp_path, database, source)
    assert (first.healed, first.waiting) == ([], [gap_id])
    assert row(database)["status"] == "open"
    assert heal(tmp_path, database, source).healed == [gap_id]
    assert source.asked == [60 * NS_PER_SECOND, 90 * NS_PER_SECOND]
    assert row(database)["status"] == "healed"


def test_a_gap_extended_just_before_it_is_closed_is_filled_again(tmp_path, database) -> None:
    gap_id = open_gap(tmp_path, database, STOCKS, 0, 60)
    its_turn, writes = sql_engine._turn, []

    @contextmanager
    def turn(engine: sa.Engine) -> Iterator[None]:
        """Extend the gap at the last moment before the healer writes."""
        if engine is database.engine:
            writes.append(engine)
            with Database(str(database.url)) as collectors:
                open_gap(tmp_path, collectors, STOCKS, 0, 90)
        with its_turn(engine):
            yield

    with patch.object(sql_engine, "_turn", turn):
        first = heal(tmp_path, database, _Growing(lambda: None))
    assert len(writes) == 1
    assert (first.healed, first.waiting) == ([], [gap_id])
    assert (row(database)["status"], row(database)["attempts"]) == ("open", 0)
    assert heal(tmp_path, database, _Growing(lambda: None)).healed == [gap_id]


def test_a_gap_that_failed_for_months_is_tried_at_the_longest_interval(tmp_path, database) -> None:
    open_gap(tmp_path, database, STOCKS, 0, 60)
    (gap,) = gap_rows(database.read(GAPS))
    save_gaps(database, Market.STOCKS, [gap | {"attempts": 5_000}])
    healer = Healer(
        database, [rest("http://127.0.0.1:1")], tmp_path / "spool", lambda _: ["VOO"], Lake(tmp_path / "lake")
    )
    assert len(healer.heal_once(NOW).failed) == 1
    assert len(healer.heal_once(NOW + dt.timedelta(seconds=LONGEST_WAIT_S - 1)).waiting) == 1
    assert len(healer.heal_once(NOW + dt.timedelta(seconds=LONGEST_WAIT_S)).failed) == 1


def test_a_clock_that_is_set_back_does_not_extend_the_wait(tmp_path, database) -> None:
    open_gap(tmp_path, database, STOCKS, 0, 60)
    healer = Healer(
        database, [rest("http://127.0.0.1:1")], tmp_path / "spool", lambda _: ["VOO"], Lake(tmp_path / "lake")
    )
    assert len(healer.heal_once(NOW + dt.timedelta(days=30)).failed) == 1
    assert len(healer.heal_once(NOW).failed) == 1


_HEAL = """
import sys, datetime as dt, pathlib
from tests.streaming.gaps.test_healer import rest, heal
from tapewatch.store.database.database import Database
home = pathlib.Path(sys.argv[1])
with Database(f"sqlite:///{home / 'tapewatch.db'}") as database:
    source = rest(sys.argv[2])
    print("ready", flush=True)
    heal(home, database, source)
"""


@pytest.mark.slow
def test_a_healer_killed_at_any_time_fills_each_gap_once(tmp_path, database, base_url) -> None:
    trades, _ = stream_with_hole(tmp_path, STOCKS, 600, 6000)
    for minute in range(10, 100, 10):
        open_gap(tmp_path, database, STOCKS, minute * 60 - 2, minute * 60 + 602)
    for attempt in range(5):
        process = subprocess.Popen(
            [sys.executable, "-c", _HEAL, str(tmp_path), base_url], stdout=subprocess.PIPE, env={**os.environ}
        )
        assert process.stdout
        process.stdout.readline()
        time.sleep(0.05 + 0.15 * attempt)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if attempt % 2:
            merged(tmp_path, STOCKS)
    heal(tmp_path, database, rest(base_url))
    lake = merged(tmp_path, STOCKS)
    assert set(database.read(GAPS)["status"]) == {"healed"}
    found = lake.read(TRADES, STOCKS)
    assert found["sequence_number"].sort().equals(trades["sequence_number"].sort())
