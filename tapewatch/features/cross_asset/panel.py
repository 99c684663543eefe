"""One day of a market as a panel: minutes by symbols."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from tapewatch.market.arrays import Array, flat
from tapewatch.market.instruments import NS_PER_MINUTE, Session
from tapewatch.market.tables.tape import TIME

_BASIS_POINTS = 1e4


@dataclass(frozen=True)
class Panel:
    """The regular hours of a market's day; float64, minutes x symbols.

    Attributes:
        symbols: in the order of the columns.
        minute, symbol: place of each bar in the panel.
        bars: the bars, in that order.
        prices: log of the last close at each minute's end, NaN before a symbol's first bar with a positive close.
        returns: change of it in bps; 0 in a minute without a bar, NaN in the minute of the first.
        market: mean return of the other symbols that have one; NaN below two.
    """

    symbols: tuple[str, ...]
    minute: npt.NDArray[np.int64]
    symbol: npt.NDArray[np.int64]
    bars: pl.DataFrame
    prices: Array
    returns: Array
    market: Array

    def known_by(self, minutes: int) -> Array:
        """When the bars of the last `minutes` minutes up to each minute's end were all known, ns UTC; 0 without a bar."""
        latest = np.zeros(self.prices.shape[0], np.int64)
        np.maximum.at(latest, self.minute, flat(self.bars["known_time"]))
        padded = np.concatenate([np.zeros(minutes - 1, np.int64), latest])
        found: Array = np.lib.stride_tricks.sliding_window_view(padded, minutes).max(axis=1)
        return found


def panel_of(bars: pl.DataFrame, session: Session) -> Panel:
    """The panel of minute bars with the columns symbol, time, known_time and close.

    A close that is not positive and finite counts as no bar, and the price before it stays in force.
    """
    time = flat(bars["time"].cast(TIME))
    regular = bars.filter((time >= session.regular_start) & (time < session.regular_end))
    regular = regular.with_columns(pl.col("time", "known_time").cast(TIME))
    minute = (flat(regular["time"]) - session.regular_start) // NS_PER_MINUTE
    names = regular["symbol"].cast(pl.String)
    symbols = tuple(names.unique().sort())
    symbol = names.cast(pl.Enum(symbols)).to_physical().to_numpy().astype(np.int64)
    prices = np.full((session.regular_minutes, len(symbols)), np.nan)
    close = flat(regular["close"], null=np.nan)
    prices[minute, symbol] = np.log(np.where(np.isfinite(close) & (close > 0), close, np.nan))
    prices = _carried(prices)
    returns = _BASIS_POINTS * np.diff(prices, axis=0, prepend=np.nan)
    return Panel(symbols, minute, symbol, regular, prices, returns, _others_mean(returns))


def _carried(values: Array) -> Array:
    """Each value where there is one, else the last before it."""
    at = np.where(np.isnan(values), 0, np.arange(values.shape[0])[:, None])
    return np.take_along_axis(values, np.maximum.accumulate(at, axis=0), axis=0)


def _others_mean(returns: Array) -> Array:
    is_known = np.isfinite(returns)
    own = np.where(is_known, returns, 0.0)
    # Summed one after the other: a symbol that comes later in the day must not change the rounding of what was before.
    total, count = own.cumsum(axis=1)[:, -1:] - own, is_known.sum(axis=1, keepdims=True) - is_known
    return np.where(count >= 2, total / np.maximum(count, 1), np.nan)
