"""The vendor's streamed bars as live bars, for plans and markets whose trades are not streamed."""

import polars as pl

from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND
from tapewatch.market.tables.live import LIVE_BARS

_KEY = ("symbol", "clock", "time")
_MOST_BARS = 200_000
_WIDTHS_NS = {"1s": NS_PER_SECOND, "1m": NS_PER_MINUTE}


class VendorBars:
    """Turns `STREAM_BARS` into `LIVE_BARS`; a bar delivered again within the horizon is its next revision."""

    def __init__(self, horizon_ns: int) -> None:
        self._horizon_ns = horizon_ns
        self._revisions: dict[tuple[str, str, int], int] = {}

    def rows(self, bars: pl.DataFrame) -> pl.DataFrame:
        """`LIVE_BARS` rows, known when their frames arrived."""
        if bars.is_empty():
            return LIVE_BARS.empty()
        revisions = []
        for key in bars.select("symbol", "clock", pl.col("time").to_physical()).iter_rows():
            self._revisions[key] = self._revisions.get(key, -1) + 1
            revisions.append(self._revisions[key])
        if len(self._revisions) > _MOST_BARS:
            oldest = max(time for _, _, time in self._revisions) - self._horizon_ns
            self._revisions = {key: revision for key, revision in self._revisions.items() if key[2] >= oldest}
        return LIVE_BARS.conform(
            bars.with_columns(
                pl.col("received_time").alias("known_time"),
                pl.lit("stream").alias("source"),
                pl.Series("revision", revisions, pl.Int32),
            )
        ).unique(_KEY, keep="last", maintain_order=True)


def end_times(bars: pl.DataFrame) -> pl.Series:
    """The ends of streamed bars, int64 ns UTC: the tape had reached them when the bars were sent."""
    widths = bars["clock"].cast(pl.String).replace_strict(_WIDTHS_NS, return_dtype=pl.Int64)
    return bars["time"].to_physical() + widths
