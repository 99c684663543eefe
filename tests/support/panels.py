"""Minute bars of several symbols that share a market's moves."""

import numpy as np
import polars as pl

from tapewatch.market.instruments import NS_PER_MINUTE, Session
from tapewatch.market.tables.tape import BARS


def bars_of_market(session: Session, symbols: int, minutes: int, *, seed: int = 3, silent: float = 0.0) -> pl.DataFrame:
    """Bars of symbols S0, S1, … from the open on: S1 follows S0 so that their spread returns; `silent` is a share without a bar."""
    rng = np.random.default_rng(seed)
    market = rng.normal(0, 4e-4, minutes)
    moves = market[:, None] * rng.uniform(0.5, 1.5, symbols) + rng.normal(0, 3e-4, (minutes, symbols))
    logs = np.cumsum(moves, axis=0)
    if symbols > 1:
        spread = np.zeros(minutes)
        for at in range(1, minutes):
            spread[at] = 0.6 * spread[at - 1] + rng.normal(0, 2e-4)
        logs[:, 1] = 0.8 * logs[:, 0] + spread
    close = 50.0 * np.exp(logs)
    frames = []
    for at in range(symbols):
        kept = np.flatnonzero(rng.random(minutes) >= silent)
        time = session.regular_start + kept * NS_PER_MINUTE
        price = close[kept, at]
        frame = pl.DataFrame({"time": time, "known_time": time + NS_PER_MINUTE, "close": price}).with_columns(
            pl.col("time", "known_time").cast(pl.Datetime("ns", "UTC")),
            symbol=pl.lit(f"S{at}"),
            volume=pl.lit(100.0),
            source=pl.lit("trades"),
            **{name: pl.col("close") for name in ("open", "high", "low", "vwap")},
        )
        frames.append(
            BARS.conform(frame.with_columns(pl.lit(None).alias(n) for n in BARS.schema if n not in frame.columns))
        )
    return pl.concat(frames)
