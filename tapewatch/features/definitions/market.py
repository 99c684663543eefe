"""Definitions of the features of `CROSS_ASSET`, `CORRELATIONS` and `REGIMES`; `docs/methodology/cross_asset.md` and `regimes.md` have the formulas."""

from tapewatch.features.definitions.definition import Definition, define
from tapewatch.market.tables.features import (
    BETA_MINUTES,
    CORRELATION_MINUTES,
    CORRELATIONS,
    CROSS_ASSET,
    REGIMES,
    RESIDUAL_MINUTES,
)

_ALL = "bars of the market"
_FLAT = "until the window is full, and where a series does not vary"
_PAIR = "until there are 120 minutes and a choice of candidates, and without a candidate"
_FITTED = "without earlier days, and for a symbol with too few blocks in them"

MARKET_FEATURES: tuple[Definition, ...] = (
    *define(CROSS_ASSET, (
        ("market_return_bps", "1 min", 2, _ALL, "mean", "below two other symbols with a return"),
        ("market_correlation_30m", "30 min", 31, _ALL, "Pearson's correlation", _FLAT),
        ("correlation_break", "30 min and the 60 min before", 91, _ALL, "Fisher (1921)", _FLAT),
        ("lead_lag_30m", "30 min", 32, _ALL, "Pearson's correlation", _FLAT),
        *((f"beta_{width}m", f"{width} min", width + 1, _ALL, "least squares", _FLAT) for width in BETA_MINUTES),
        *((f"residual_{width}m_bps", f"{width} min and the 60 min before", width + 61, _ALL, "least squares", _FLAT) for width in RESIDUAL_MINUTES),
        ("pca_residual_score", "5 min; fit on 60 min, every 15 min", 76, _ALL, "Ledoit and Wolf (2004)", "for a symbol without 60 returns that vary, and below four such symbols"),
        ("pair", "120 min; candidates every 30 min", 151, _ALL, "Engle and Granger (1987)", _PAIR),
        ("pair_statistic", "120 min; candidates every 30 min", 151, _ALL, "Engle and Granger (1987)", _PAIR),
        ("pair_spread_score", "120 min; candidates every 30 min", 151, _ALL, "Engle and Granger (1987)", _PAIR),
    )),
    # A row is five minutes, and the first return of a window needs the bar before it.
    *define(CORRELATIONS, (
        (f"correlation_{width}m", f"{width} min, every 5 min", width // 5 + 1, _ALL, "Pearson's correlation", _FLAT)
        for width in CORRELATION_MINUTES
    )),
    *define(REGIMES, (
        ("volatility_bps", "5 min", 2, "bars", "root mean square", "never"),
        ("regime", "part of the day", None, "bars; a model of earlier days", "Rabiner (1989), section III.A", _FITTED),
        *((f"probability_{name}", "part of the day", None, "bars; a model of earlier days", "Rabiner (1989), section III.A", _FITTED) for name in ("calm", "normal", "turbulent")),
        ("volatility_level", "5 min", 2, "bars; quantiles of earlier days", "quantiles", _FITTED),
        ("trend_score", "60 min", 13, "bars", "Kaufman (1995), efficiency with squared moves", "for 11 blocks, and without any move"),
        ("direction", "60 min", 13, "bars", "trend score at ±1.96", "for 11 blocks, and without any move"),
    )),
)  # fmt: skip
