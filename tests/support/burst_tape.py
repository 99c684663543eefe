"""One symbol's trades and quotes with a stretch of heavy trading or wide spreads."""

import numpy as np
import polars as pl

from tapewatch.market.instruments import NS_PER_SECOND
from tapewatch.market.tables.tape import TIME
from tests.support.price_bars import START_NS


def tape(
    seed: int = 1, *, burst: tuple[int, int] | None = (600, 780), wide: bool = False
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Twenty-five minutes of trades and quotes every half second; from and to `burst` (s) volume or spread is many times the usual."""
    rng = np.random.default_rng(seed)
    seconds = np.arange(0, 1_500, 0.5)
    price = 100 * np.exp(np.cumsum(rng.normal(0, 2e-5, seconds.size)))
    size = rng.exponential(100, seconds.size)
    spread = rng.uniform(0.01, 0.02, seconds.size)
    if burst is not None:
        inside = (seconds >= burst[0]) & (seconds < burst[1])
        if wide:
            spread[inside] *= 5
        else:
            size[inside] *= 8
    time = pl.Series(START_NS + (seconds * NS_PER_SECOND).astype(np.int64)).cast(TIME)
    trades = pl.DataFrame({"time": time, "price": price, "size": size})
    return trades, pl.DataFrame({"time": time, "bid_price": price - spread / 2, "ask_price": price + spread / 2})


def at(seconds: float) -> int:
    return START_NS + int(seconds * NS_PER_SECOND)
