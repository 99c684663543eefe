"""Bars that are delivered again: the final one stays, a changed one is a revision."""

import polars as pl

from tapewatch.bars.revisions import delivered_bars, revised
from tapewatch.bars.time_bars import minute_bars, reconcile
from tapewatch.market.tables.stream import STREAM_BARS
from tapewatch.market.tables.tape import BARS, DELIVERED_BARS
from tests.support.tapes import stock_session, tape_of

SESSION = stock_session()
BUILT = minute_bars(tape_of([(0, 10, 1), (60, 11, 2), (120, 12, 3)])[0], SESSION)


def streamed(bars: pl.DataFrame, clock: str = "1m") -> pl.DataFrame:
    return STREAM_BARS.conform(bars.with_columns(clock=pl.lit(clock), received_time="time"))


def test_a_bar_is_revision_0_until_it_changes() -> None:
    first = revised(reconcile(BUILT[:2], DELIVERED_BARS.empty()), BARS.empty())
    assert first["revision"].to_list() == [0, 0]
    assert revised(reconcile(BUILT[:2], BUILT), first)["revision"].to_list() == [0, 0, 0]
    changed = BUILT.with_columns(volume=pl.col("volume") + pl.Series([0.0, 1.0, 0.0]))
    second = revised(reconcile(changed, DELIVERED_BARS.empty()), first)
    assert second["revision"].to_list() == [0, 1, 0]
    assert revised(reconcile(BUILT, DELIVERED_BARS.empty()), second)["revision"].to_list() == [0, 2, 0]
    BARS.check(second)


def test_a_streamed_bar_is_used_until_rest_delivers_it() -> None:
    stream = streamed(BUILT.with_columns(volume=pl.col("volume") * 2))
    bars = reconcile(DELIVERED_BARS.empty(), delivered_bars(pl.concat([stream, streamed(BUILT, "1s")]), BARS.empty()))
    assert bars["source"].cast(pl.String).to_list() == ["stream"] * 3
    assert bars["volume"].to_list() == [2, 4, 6]
    record = reconcile(DELIVERED_BARS.empty(), BUILT[:2].with_columns(delivered_by=pl.lit("rest")))
    both = reconcile(DELIVERED_BARS.empty(), delivered_bars(stream, record))
    assert both["source"].cast(pl.String).to_list() == ["rest", "rest", "stream"]
    assert both["volume"].to_list() == [1, 2, 6]
    assert both["vwap"].equals(BUILT["vwap"])


def test_built_bars_keep_the_origin_of_the_delivered_ones() -> None:
    bars = reconcile(BUILT, delivered_bars(streamed(BUILT[:1]), BARS.empty()))
    assert bars["source"].cast(pl.String).to_list() == ["trades"] * 3
    assert bars["delivered_by"].cast(pl.String).to_list() == ["stream", None, None]
    assert bars["is_volume_equal"].to_list() == [True, None, None]


def test_of_two_bars_of_record_the_one_fetched_last_stays() -> None:
    corrected = streamed(BUILT.with_columns(volume=pl.col("volume") + 5)).with_columns(delivered_by=pl.lit("rest"))
    received_ns = int(corrected["received_time"].to_physical().max())
    record = reconcile(DELIVERED_BARS.empty(), BUILT.with_columns(delivered_by=pl.lit("rest")))
    for loaded_ns, volumes in ((0, [6, 7, 8]), (received_ns + 1, [1, 2, 3])):
        bars = reconcile(DELIVERED_BARS.empty(), delivered_bars(corrected, record, loaded_ns))
        assert bars["volume"].to_list() == volumes
