"""`CROSS_ASSET` rows of a market's minute bars."""

import numpy as np
import polars as pl

from tapewatch.features.cross_asset import components, pairs
from tapewatch.features.cross_asset.panel import panel_of
from tapewatch.features.cross_asset.windows import correlation, shifted, slope, total
from tapewatch.features.families.rows import known
from tapewatch.market.arrays import Array
from tapewatch.market.instruments import NS_PER_MINUTE, Session
from tapewatch.market.tables.features import BETA_MINUTES, CROSS_ASSET, RESIDUAL_MINUTES

#: Minutes of a correlation, of the one that it is held against, and of the beta under a residual.
_NOW, _BEFORE, _BETA = 30, 60, 60
#: The longest window with what it lags.
LOOK_BACK = pairs.WINDOW + pairs.RECHOOSE
_NEARLY_ONE = 1.0 - 1e-9


def cross_asset(bars: pl.DataFrame, session: Session, *, since_ns: int | None = None) -> pl.DataFrame:
    """`CROSS_ASSET` rows of a market's minute bars, one a bar of the regular hours.

    A minute without a bar leaves the price as it was. The market of a symbol is the mean return of the others, at least two.
    A value is null until its window is full and where a series in it does not vary; a close that is not above zero counts as
    no bar. A row is known when all bars of the market up to its minute, of the last 150 minutes, are known.

    Args:
        bars: all bars of the market's day, with the columns symbol, time, known_time and close of `BARS`.
        session: the day they belong to.
        since_ns: rows of earlier bars (ns UTC) are left out, which saves their cost; None for the whole day.
    """
    panel = panel_of(bars, session)
    begin = 0 if since_ns is None else max(0, (since_ns - session.regular_start) // NS_PER_MINUTE)
    wanted = panel.minute >= begin
    if not wanted.any():
        return CROSS_ASSET.empty()
    end = int(panel.minute.max()) + 1
    with np.errstate(invalid="ignore", divide="ignore"):
        values = _against_market(panel.returns[:end], panel.market[:end], begin)
        values["pca_residual_score"] = components.residual_scores(panel.returns, begin, end)
    partner, values["pair_statistic"], values["pair_spread_score"] = pairs.spreads(
        panel.prices[:end], pairs.candidates(panel.returns[:end], begin), begin
    )
    place = (panel.minute[wanted], panel.symbol[wanted])
    names = np.array([*panel.symbols, None], dtype=object)[partner[place]]
    rows = (
        panel.bars.filter(wanted)
        .select("symbol", event_time="time")
        .with_columns(
            known_time=pl.Series(panel.known_by(LOOK_BACK)[panel.minute[wanted]]).cast(pl.Datetime("ns", "UTC")),
            pair=pl.Series(names.tolist(), dtype=pl.String),
            **known({name: column[place] for name, column in values.items()}),
        )
    )
    return CROSS_ASSET.conform(rows)


def _against_market(own: Array, market: Array, begin: int) -> dict[str, Array]:
    now, before = correlation(market, own, _NOW, 0, begin), correlation(market, own, _BEFORE, _NOW, begin)
    follows = correlation(shifted(market, 1), own, _NOW, 0, begin)
    leads = correlation(market, shifted(own, 1), _NOW, 0, begin)
    error = np.sqrt(1.0 / (_NOW - 3) + 1.0 / (_BEFORE - 3))
    values = {
        "market_return_bps": market,
        "market_correlation_30m": now,
        "correlation_break": (_fisher(now) - _fisher(before)) / error,
        "lead_lag_30m": follows - leads,
        **{f"beta_{width}m": slope(market, own, width, 0, begin) for width in BETA_MINUTES},
    }
    for width in RESIDUAL_MINUTES:
        # The beta ends where the residual begins: the event does not explain itself.
        beta = slope(market, own, _BETA, width, begin)
        values[f"residual_{width}m_bps"] = total(own, width, 0, begin) - beta * total(market, width, 0, begin)
    return values


def _fisher(values: Array) -> Array:
    """Fisher's transform, whose standard error is 1/√(n - 3); that of ±1 is bounded."""
    transformed: Array = np.arctanh(np.clip(values, -_NEARLY_ONE, _NEARLY_ONE))
    return transformed
