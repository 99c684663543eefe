"""The vendor's streamed bars as live bars: the later of two replaces the earlier."""

import polars as pl

from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND
from tapewatch.market.tables.live import LIVE_BARS
from tapewatch.market.tables.stream import STREAM_BARS
from tapewatch.streaming.live.vendor_bars import VendorBars, end_times
from tests.support.live_rows import rows_of


def test_a_bar_delivered_again_is_its_next_revision() -> None:
    vendor, bars = VendorBars(20 * NS_PER_MINUTE), rows_of(STREAM_BARS, 5).unique(STREAM_BARS.key, maintain_order=True)
    first = vendor.rows(bars)
    LIVE_BARS.check(first)
    assert first["revision"].to_list() == [0] * bars.height
    again = bars.head(2).with_columns(pl.col("volume") + 1)
    corrected = vendor.rows(pl.concat([again, again.with_columns(pl.col("volume") + 1)]))
    assert corrected["revision"].to_list() == [2, 2]
    assert corrected["volume"].to_list() == (bars.head(2)["volume"] + 2).to_list()
    assert (corrected["known_time"] == again["received_time"]).all()


def test_a_bar_ends_a_second_or_a_minute_after_its_start() -> None:
    bars = rows_of(STREAM_BARS, 2).with_columns(clock=pl.Series(["1s", "1m"], dtype=pl.Categorical))
    widths = end_times(bars) - bars["time"].to_physical()
    assert widths.to_list() == [NS_PER_SECOND, NS_PER_MINUTE]
