"""Holes in received rows: skipped sequence numbers, and bars with more volume than the trades; nothing else."""

import polars as pl
import pytest

from tapewatch.bars.time_bars import minute_bars
from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND
from tapewatch.market.tables.stream import STREAM_BARS, STREAM_TRADES
from tapewatch.streaming.gaps.holes import PROVEN_AFTER, Hole, HoleFinder
from tests.support.recorded import TICK_DAYS, recorded_bars, recorded_trades
from tests.support.streams import as_streamed, trades_at
from tests.support.tapes import random_tape, stock_session

SESSION = stock_session()
START = SESSION.regular_start
NONE = STREAM_BARS.empty()


def numbered(numbers: list[int], symbol: str = "AAA") -> pl.DataFrame:
    return pl.concat(
        trades_at([START + number * NS_PER_SECOND], symbol=symbol, first_number=number) for number in numbers
    )


def feed(finder: HoleFinder, rows: pl.DataFrame, size: int = 37) -> list[Hole]:
    return [hole for at in range(0, rows.height, size) for hole in finder.see(rows[at : at + size], NONE)]


@pytest.mark.long
@pytest.mark.parametrize("step", [1, 3])
@pytest.mark.parametrize("size", [1, 37])
def test_a_skipped_number_in_a_proven_sequence_is_a_hole_after_the_wait(step, size) -> None:
    numbers = [n for n in range(0, 700 * step, step) if n not in (600 * step, 601 * step)]
    (hole,) = feed(HoleFinder(), numbered([5 + n for n in numbers]), size)
    last, following = 5 + 599 * step, 5 + 602 * step
    assert (hole.start, hole.end) == (START + last * NS_PER_SECOND, START + following * NS_PER_SECOND + 1)
    assert "2 sequence number(s)" in hole.reason


def test_one_absurdly_large_number_is_one_hole() -> None:
    finder = HoleFinder()
    feed(finder, numbered(list(range(1, 600))))
    wild = trades_at([START + 600 * NS_PER_SECOND], first_number=10**15)
    after = trades_at([START + 700 * NS_PER_SECOND], first_number=10**15 + 1)
    (hole,) = feed(finder, pl.concat([wild, after]), size=1)
    assert (hole.start, hole.end) == (START + 599 * NS_PER_SECOND, START + 600 * NS_PER_SECOND + 1)


@pytest.mark.long
def test_late_or_repeated_numbers_are_no_holes() -> None:
    numbers = list(range(1, 700))
    numbers[600], numbers[603] = numbers[603], numbers[600]
    numbers.insert(650, 640)
    assert feed(HoleFinder(), numbered(numbers), size=1) == []


def test_a_number_0_is_none_and_a_shared_number_breaks_no_sequence() -> None:
    rows = numbered([n for n in range(1, 700) if n != 650])
    zeros = rows.filter(pl.col("sequence_number") % 50 == 0).with_columns(sequence_number=pl.lit(0, pl.Int64))
    shared = rows.filter(pl.col("sequence_number") % 40 == 0).with_columns(exchange=pl.lit(19, pl.Int16))
    (hole,) = feed(HoleFinder(), pl.concat([rows, zeros, shared]).sort("time", maintain_order=True), 600)
    assert "1 sequence number(s) skipped, from 650" in hole.reason


@pytest.mark.long
def test_numbers_that_run_across_symbols_are_ignored() -> None:
    rows = numbered([n for n in range(1, 2000) if n % 7 and n % 11])
    assert feed(HoleFinder(), rows) == []
    assert feed(HoleFinder(), rows, size=900) == []


def test_a_skip_in_an_unproven_sequence_or_after_a_reset_is_no_hole() -> None:
    assert feed(HoleFinder(), numbered([*range(1, PROVEN_AFTER - 50), *range(600, 700)])) == []
    finder = HoleFinder()
    feed(finder, numbered(list(range(1, 600))))
    finder.reset()
    assert feed(finder, numbered(list(range(700, 800)))) == []


def bars_of(trades: pl.DataFrame) -> pl.DataFrame:
    built = minute_bars(trades, SESSION)
    return STREAM_BARS.conform(built.with_columns(clock=pl.lit("1m"), received_time="time"))


def test_a_bar_with_more_volume_than_the_trades_is_a_hole_of_its_minute() -> None:
    trades, _ = random_tape(3, minutes=40)
    minute = START + 3 * NS_PER_MINUTE
    is_lost = pl.col("time").to_physical().is_between(minute, minute + NS_PER_MINUTE, closed="left") & (
        (pl.col("symbol").cast(pl.String) == "AAA") & (pl.col("size") > 0)
    )
    bars = bars_of(trades)
    finder, found = HoleFinder(), []
    streamed = as_streamed(trades.filter(~is_lost), STREAM_TRADES).sort("time")
    step = pl.col("time").to_physical() // NS_PER_MINUTE
    for at in range(int(streamed.select(step.min()).item()), int(streamed.select(step.max()).item()) + 1):
        found += finder.see(streamed.filter(step == at), bars.filter(step == at - 1))
    assert [(hole.symbol, hole.start, hole.end) for hole in found] == [("AAA", minute, minute + NS_PER_MINUTE)]
    assert "states a volume" in found[0].reason


def test_volume_that_a_vendor_counts_in_the_bar_before_is_no_hole() -> None:
    minutes = [
        trades_at([START + minute * NS_PER_MINUTE], first_number=minute + 1, size=size)
        for minute, size in enumerate([100, 200, 300, 400, 500])
    ]
    bars = STREAM_BARS.conform(
        bars_of(pl.concat(minutes)).with_columns(
            volume=pl.Series([100.0, 500.0, 0.0, 401.0, 500.0]), clock=pl.lit("1m"), received_time="time"
        )
    )
    finder = HoleFinder()
    found = [hole for rows, bar in zip(minutes, bars.iter_slices(1), strict=True) for hole in finder.see(rows, bar)]
    found += finder.see(trades_at([START + 8 * NS_PER_MINUTE], first_number=6), NONE)
    assert [hole.start for hole in found] == [START + 3 * NS_PER_MINUTE]


@pytest.mark.long
@pytest.mark.parametrize("date", TICK_DAYS)
def test_recorded_days_have_no_hole_except_a_closing_auction_printed_late(market_data, date) -> None:
    minute = pl.col("time").to_physical() // NS_PER_MINUTE
    trades = as_streamed(recorded_trades(market_data, date)).sort("time", maintain_order=True)
    delivered = recorded_bars(market_data, date).with_columns(clock=pl.lit("1m"), received_time="time")
    bars = dict(STREAM_BARS.conform(delivered).group_by((minute + 1).alias("at")))
    finder = HoleFinder()
    holes = [
        hole
        for at, rows in trades.group_by(minute.alias("at"), maintain_order=True)
        for hole in finder.see(rows, bars.get(at, NONE))
    ]
    # A NYSE closing auction that was printed at 16:01 and counted in the bar of 15:59: one of four symbols on two days.
    assert len(holes) <= 1
    close = stock_session(date).regular_end
    assert all(hole.start == close - NS_PER_MINUTE and "states a volume" in hole.reason for hole in holes)


def test_bars_of_a_symbol_without_trades_are_ignored() -> None:
    trades, _ = random_tape(3, minutes=10)
    finder = HoleFinder()
    assert finder.see(STREAM_TRADES.empty(), bars_of(trades)) == []
