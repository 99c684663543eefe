"""Candles of one symbol at every zoom: a ladder of ever wider candles, so that a view of any width is a slice of few rows."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from tapewatch.market.instruments import NS_PER_MINUTE, Market

#: Widths of the ladder, in minutes; each divides the next.
WIDTHS = (1, 5, 15, 60, 240, 1440)
#: A day's candle begins here after midnight UTC, so that a market's hours lie in one: those of New York end at 01:00 UTC.
_DAY_BEGINS_NS = {Market.CRYPTO: 0, Market.FOREX: 0, Market.FUTURES: -2 * 60 * NS_PER_MINUTE}
_DAY_BEGINS_ELSEWHERE_NS = 4 * 60 * NS_PER_MINUTE
#: Columns of a candle: `time` (start, ns), prices, volume, notional, and notional and volume of its market day so far.
COLUMNS = ("time", "open", "high", "low", "close", "volume", "notional", "day_notional", "day_volume")


@dataclass(frozen=True, slots=True)
class Ladder:
    """The same bars as candles of each of `WIDTHS`, oldest first; whole market days."""

    levels: tuple[pl.DataFrame, ...]
    #: The starts of the candles of each level.
    times: tuple[npt.NDArray[np.int64], ...]

    @classmethod
    def of(cls, bars: pl.DataFrame, market: Market) -> "Ladder":
        """From minute bars sorted by time: time, open, high, low, close, volume, vwap. A bar without vwap counts at its close."""
        begins = _DAY_BEGINS_NS.get(market, _DAY_BEGINS_ELSEWHERE_NS)
        day = (pl.col("time") - begins) // (1440 * NS_PER_MINUTE)
        minutes = bars.select(
            pl.col("time").dt.epoch("ns"),
            "open",
            "high",
            "low",
            "close",
            "volume",
            notional=pl.coalesce(pl.col("vwap").fill_nan(None), "close") * pl.col("volume"),
        ).with_columns(
            day_notional=pl.col("notional").cum_sum().over(day), day_volume=pl.col("volume").cum_sum().over(day)
        )
        levels = [minutes]
        for width in WIDTHS[1:]:
            levels.append(widened(levels[-1], width * NS_PER_MINUTE, begins))
        return cls(tuple(levels), tuple(level["time"].to_numpy() for level in levels))

    @property
    def first(self) -> int:
        """Start of the oldest bar, ns."""
        return int(self.times[0][0])

    @property
    def last(self) -> int:
        """Start of the newest bar, ns."""
        return int(self.times[0][-1])


def rows_before(ladders: Sequence[Ladder], level: int, time: int) -> int:
    """How many candles of a level begin before a time (ns), in ladders that lie one after the other."""
    at = bisect_left([ladder.times[level][0] for ladder in ladders], time)
    whole = sum(ladder.times[level].size for ladder in ladders[: max(at - 1, 0)])
    return whole + (int(np.searchsorted(ladders[at - 1].times[level], time)) if at else 0)


def rows_between(ladders: Sequence[Ladder], level: int, low: int, high: int) -> pl.DataFrame:
    """The candles of a level from the `low`th to before the `high`th of all ladders; nothing is copied."""
    parts, offset = [], 0
    for ladder in ladders:
        size = ladder.times[level].size
        first, last = max(low - offset, 0), min(high - offset, size)
        if first < last:
            parts.append(ladder.levels[level].slice(first, last - first))
        offset += size
    return pl.concat(parts) if parts else ladders[0].levels[level].clear()


def widened(candles: pl.DataFrame, width: int, begins: int = 0) -> pl.DataFrame:
    """Candles (`COLUMNS`) in wider ones that begin at multiples of `width` (ns) after `begins`; none where nothing traded."""
    start = (pl.col("time") - begins) // width * width + begins
    return candles.group_by(start, maintain_order=True).agg(_AGGREGATES)


def grouped(candles: pl.DataFrame, each: int) -> pl.DataFrame:
    """Every `each` neighbours joined in one candle."""
    if each <= 1:
        return candles
    number = pl.int_range(pl.len()) // each
    joined = candles.group_by(number.alias("number"), maintain_order=True)
    return joined.agg(pl.col("time").first(), *_AGGREGATES).drop("number")


_AGGREGATES = (
    pl.col("open").first(),
    pl.col("high").max(),
    pl.col("low").min(),
    pl.col("close").last(),
    pl.col("volume").sum(),
    pl.col("notional").sum(),
    pl.col("day_notional").last(),
    pl.col("day_volume").last(),
)
