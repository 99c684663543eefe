"""Minute bars from given prices, for tests of labels."""

import datetime as dt
from collections.abc import Sequence

import numpy as np
import polars as pl

from tapewatch.market.instruments import NS_PER_MINUTE
from tapewatch.market.tables.tape import TIME

START = dt.datetime(2024, 3, 5, 15, tzinfo=dt.UTC)
START_NS = int(START.timestamp()) * 1_000_000_000


def after(minutes: int) -> dt.datetime:
    """The time `minutes` after the first bar's start."""
    return START + dt.timedelta(minutes=minutes)


def bars_of(
    close: Sequence[float],
    *,
    open_: Sequence[float] | None = None,
    high: Sequence[float] | None = None,
    low: Sequence[float] | None = None,
    minutes: Sequence[int] | None = None,
    symbol: str = "AAA",
) -> pl.DataFrame:
    """Bars with these prices, by default a minute apart; prices that are not given equal the close."""
    at = np.arange(len(close)) if minutes is None else np.asarray(minutes)
    closes = np.asarray(close, dtype=float)
    return pl.DataFrame(
        {
            "symbol": [symbol] * len(close),
            "time": START_NS + at * NS_PER_MINUTE,
            "open": closes if open_ is None else np.asarray(open_, dtype=float),
            "high": closes if high is None else np.asarray(high, dtype=float),
            "low": closes if low is None else np.asarray(low, dtype=float),
            "close": closes,
        }
    ).with_columns(pl.col("symbol").cast(pl.Categorical()), pl.col("time").cast(TIME))


def walk(seed: int, count: int = 200, *, symbol: str = "AAA", gaps: bool = True) -> pl.DataFrame:
    """Bars of a random walk, with some minutes missing."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.standard_t(4, count)) * 5e-4)
    open_ = np.concatenate([[close[0]], close[:-1]]) * np.exp(rng.normal(0, 1e-4, count))
    reach = np.abs(rng.normal(0, 3e-4, (2, count)))
    minutes = np.cumsum(rng.choice([1, 2, 7], count, p=[0.9, 0.07, 0.03])) if gaps else np.arange(count)
    return bars_of(
        close.tolist(),
        open_=open_.tolist(),
        high=(np.maximum(open_, close) * (1 + reach[0])).tolist(),
        low=(np.minimum(open_, close) * (1 - reach[1])).tolist(),
        minutes=minutes.tolist(),
        symbol=symbol,
    )
