"""Counts of times that are out of order."""

from types import SimpleNamespace

import polars as pl

from tapewatch.market.tables.stream import STREAM_QUOTES, STREAM_TRADES
from tapewatch.market.tables.tape import TIME
from tapewatch.streaming.detection.disorder import TOLERATED_NS, Disorder


def batch(*trades: int, quotes: tuple[int, ...] = ()) -> SimpleNamespace:
    def rows(times: tuple[int, ...]) -> pl.DataFrame:
        return pl.DataFrame({"time": pl.Series(times, dtype=pl.Int64).cast(TIME)})

    return SimpleNamespace(trades=rows(trades), quotes=rows(quotes))


def test_times_in_order_and_small_delays_count_nothing() -> None:
    disorder = Disorder()
    assert disorder.count(batch(0, TOLERATED_NS, 0, 2 * TOLERATED_NS)) == 0
    assert disorder.count(batch(TOLERATED_NS)) == 0


def test_a_wrong_time_is_counted_once_within_and_between_batches() -> None:
    disorder = Disorder()
    hour = 3_600 * 10**9
    assert disorder.count(batch(1, 2, hour, 3, 4)) == 1
    assert disorder.count(batch(5, 6 + hour)) == 0
    assert disorder.count(batch(7)) == 1


def test_trades_and_quotes_are_counted_separately() -> None:
    disorder = Disorder()
    assert disorder.count(batch(10 * TOLERATED_NS, quotes=(1, 2))) == 0
    assert disorder.count(batch(10 * TOLERATED_NS, quotes=(3,))) == 0
    assert disorder.count(SimpleNamespace(trades=STREAM_TRADES.empty(), quotes=STREAM_QUOTES.empty())) == 0
