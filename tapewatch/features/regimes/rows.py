"""`REGIMES` rows of a market's minute bars."""

import numpy as np
import polars as pl

from tapewatch.features.cross_asset.panel import Panel
from tapewatch.features.families.rows import known
from tapewatch.features.regimes.blocks import MINUTES, block_panel
from tapewatch.features.regimes.hidden_markov import STATES, RegimeModel
from tapewatch.market.arrays import Array, flat
from tapewatch.market.instruments import NS_PER_MINUTE, Session
from tapewatch.market.tables.features import REGIMES

#: A trend of an hour that a random walk exceeds in one of twenty hours, up or down.
_TRENDING = 1.96


def regimes(bars: pl.DataFrame, session: Session, model: RegimeModel | None, *, through_ns: int) -> pl.DataFrame:
    """`REGIMES` rows of a market's minute bars: one a symbol and block of five minutes of regular hours, once it has a price.

    A row is known when all bars of its symbol up to its block's end are. Without a model (the first days) the columns that
    need one are null, as they are for a symbol with too few blocks in the days of the fit.

    Args:
        bars: bars of the market's day, with the columns symbol, time, known_time and close of `BARS`.
        session: the day they belong to.
        model: fitted on earlier days.
        through_ns: the tape is complete up to here (ns UTC); a block that ends later has no row.
    """
    panel, volatility, trend = block_panel(bars, session, through_ns=through_ns)
    if not volatility.size:
        return REGIMES.empty()
    block, symbol = np.nonzero(np.isfinite(volatility))
    start = session.regular_start + block * MINUTES * NS_PER_MINUTE
    names = np.array(panel.symbols)
    found = (
        np.full((*volatility.shape, len(STATES)), np.nan)
        if model is None
        else model.filtered(panel.symbols, volatility)
    )
    probabilities = found[block, symbol]
    is_known = np.isfinite(probabilities).all(axis=1)
    state = np.where(is_known, np.nan_to_num(probabilities).argmax(axis=1), -1)
    return REGIMES.conform(
        pl.DataFrame({"symbol": names[symbol], "event_time": start}).with_columns(
            event_time=pl.col("event_time").cast(pl.Datetime("ns", "UTC")),
            known_time=pl.Series(_known(panel, session)[block, symbol]).cast(pl.Datetime("ns", "UTC")),
            regime=_words(state, STATES),
            volatility_level=_words(_level(names, volatility, model)[block, symbol], ("low", "usual", "high")),
            direction=_words(_direction(trend)[block, symbol], ("falling", "ranging", "rising")),
            **known({
                "volatility_bps": np.exp(volatility)[block, symbol],
                "trend_score": trend[block, symbol],
                **{f"probability_{name}": probabilities[:, at] for at, name in enumerate(STATES)},
            }),
        ).sort("symbol", "event_time")
    )  # fmt: skip


def _words(codes: Array, words: tuple[str, ...]) -> pl.Series:
    """The word of each code; null for -1."""
    return pl.Series(np.array([*words, None], dtype=object)[codes].tolist(), dtype=pl.String)


def _level(names: Array, volatility: Array, model: RegimeModel | None) -> Array:
    """0 below, 1 between and 2 above the symbol's bounds of the usual; -1 where unknown."""
    scales = [model.scales.get(name) if model else None for name in names.tolist()]
    low = np.array([scale.low if scale else np.nan for scale in scales])
    high = np.array([scale.high if scale else np.nan for scale in scales])
    return np.where(np.isfinite(volatility - low), (volatility >= low).astype(int) + (volatility > high), -1)


def _direction(trend: Array) -> Array:
    return np.where(np.isnan(trend), -1, 1 + (trend > _TRENDING).astype(int) - (trend < -_TRENDING))


def _known(panel: Panel, session: Session) -> Array:
    """The latest known time of a symbol's bars so far, and the block's end at the earliest."""
    shape = panel.prices.shape
    latest = np.zeros(shape, np.int64)
    latest[panel.minute, panel.symbol] = flat(panel.bars["known_time"])
    so_far = np.maximum.accumulate(latest, axis=0)[MINUTES - 1 :: MINUTES]
    ends = session.regular_start + (1 + np.arange(so_far.shape[0])) * MINUTES * NS_PER_MINUTE
    return np.maximum(so_far, ends[:, None])
