"""Tables of the feature families: flow, liquidity and volatility beside `MICROSTRUCTURE`, and indicators of bars."""

from tapewatch.market.schema import Column, Table
from tapewatch.market.tables.tape import (
    EVENT_TIME,
    F64,
    KNOWN_TIME,
    MICROSTRUCTURE,
    SYMBOL,
    SYMBOL_COLUMN,
    TIME,
    count,
    optional,
    price,
)

#: Minutes of the windows over which buying is set against selling.
IMBALANCE_MINUTES = (1, 3, 5, 8, 15, 25)
#: Minutes of the windows of best-level order-flow imbalance.
OFI_MINUTES = (1, 5, 15)
#: Minutes of the returns among the indicators.
RETURN_MINUTES = (5, 15, 30, 60)
#: Minutes of the correlations of pairs.
CORRELATION_MINUTES = (30, 60)
#: Minutes of the betas, and of the residuals, against the rest of the market.
BETA_MINUTES, RESIDUAL_MINUTES = (5, 15, 30), (5, 15, 30)


def _share(name: str, description: str, *, signed: bool = False) -> Column:
    return optional(name, F64, description, minimum=-1 if signed else 0, maximum=1)


def _positive(name: str, description: str, unit: str = "") -> Column:
    return optional(name, F64, description, unit, minimum=0)


ORDER_FLOW = (
    optional("signed_volume", F64, "buyer-initiated less seller-initiated volume of the minute", "base units"),
    optional("signed_count", F64, "buyer-initiated less seller-initiated trades of the minute"),
    _share("aggressor_ratio", "buyer-initiated trades over all signed trades of the minute"),
    *(_share(f"imbalance_{width}m", f"(buy - sell) / (buy + sell) volume of {width} min", signed=True) for width in IMBALANCE_MINUTES),
    *(optional(f"ofi_depth_{width}m", F64, f"order-flow imbalance at the best prices over mean depth a side, {width} min") for width in OFI_MINUTES),
    _share("sign_autocorrelation", "correlation of successive trades' sides over 30 min", signed=True),
    _positive("trade_size_median", "median size of the minute's trades", "base units"),
    _positive("trade_size_p90", "90 % quantile of the sizes of the minute's trades", "base units"),
    _share("largest_trade_share", "share of the minute's volume that its largest trade has"),
    _share("bulk_imbalance", "buying less selling in the minute's volume by bulk classification", signed=True),
    _share("bulk_imbalance_15m", "the same over 15 min, weighted by volume", signed=True),
)  # fmt: skip

LIQUIDITY = (
    _positive("quoted_spread_5m_bps", "time-weighted quoted spread of 5 min", "bps"),
    _positive("effective_spread_5m_bps", "volume-weighted effective spread of 5 min", "bps"),
    optional("realised_spread_5m_bps", F64, "volume-weighted realised spread of 5 min, after 30 s", "bps"),
    optional("price_impact_bps", F64, "volume-weighted 2 side (mid 30 s later - mid) / mid, of trades whose 30 s end here", "bps"),
    optional("price_impact_5m_bps", F64, "the same over 5 min", "bps"),
    _positive("spread_volatility_bps", "time-weighted standard deviation of the minute's quoted spread", "bps"),
    _positive("depth", "time-weighted size at the best bid and offer together", "base units"),
    _positive("depth_ratio", "depth over its mean in the window before"),
    price("micro_price", "midpoint weighted by the sizes of the opposite sides, at the minute's end", is_nullable=True),
    optional("micro_price_bps", F64, "micro-price less midquote, over the midquote", "bps"),
    _positive("corwin_schultz_bps", "Corwin and Schultz (2012) spread from highs and lows of 30 min", "bps"),
    _positive("abdi_ranaldo_bps", "Abdi and Ranaldo (2017) spread from closes, highs and lows of 30 min", "bps"),
    optional("hasbrouck_lambda", F64, "slope of returns on signed roots of notional, 30 min", "bps per root of 1e6"),
    _positive("quote_to_trade_5m", "quotes a trade over 5 min"),
    _share("size_quote_share", "share of the minute's two-sided quotes that change no price"),
    _positive("size_flicker", "change of size at unchanged prices in the minute, over mean depth"),
    optional("liquidity_score", F64, "mean log of tightness, depth and activity of 5 min against the half hour before; above 0 is more liquid than usual"),
)  # fmt: skip

VOLATILITY = (
    _positive("realised_volatility_30m_bps", "root of the mean minute's realised variance, 5-second grid, 30 min", "bps"),
    _positive("bipower_volatility_30m_bps", "root of the mean minute's bipower variation, 5-second grid, 30 min", "bps"),
    _share("jump_share", "share of realised variance above bipower variation, 30 min"),
    _positive("parkinson_bps", "volatility of a minute from highs and lows of 30 min", "bps"),
    _positive("garman_klass_bps", "volatility of a minute from opens, highs, lows and closes of 30 min", "bps"),
    _positive("rogers_satchell_bps", "the same, without bias by a drift", "bps"),
    _positive("yang_zhang_bps", "the same, with moves between minutes", "bps"),
    _positive("ewma_volatility_bps", "exponentially weighted volatility of minute returns", "bps"),
    _positive("variance_ratio_5m", "variance of 5-minute returns over 5 times that of minutes, 60 min; 1 for a random walk"),
    _positive("drawdown_score", "largest fall of the last price in 30 min over the volatility of 30 min"),
    _positive("recovery_score", "rise from that fall's low to the last price, over the same"),
)  # fmt: skip

MICROSTRUCTURE_MORE = Table(
    "microstructure_more",
    "features",
    "Further measures of order flow, liquidity and volatility, for the rows of `microstructure`.",
    key=("symbol", "event_time"),
    is_versioned=True,
    columns=(SYMBOL_COLUMN, EVENT_TIME, KNOWN_TIME, *ORDER_FLOW, *LIQUIDITY, *VOLATILITY),
)

INDICATORS = Table(
    "indicators",
    "features",
    "Indicators of minute bars. Each part of the day (before, in and after regular hours) starts anew.",
    key=("symbol", "event_time"),
    is_versioned=True,
    columns=(
        SYMBOL_COLUMN,
        Column("event_time", TIME, "start of the bar"),
        KNOWN_TIME,
        *(optional(f"return_{width}m_bps", F64, f"log return of the close over {width} min", "bps") for width in RETURN_MINUTES),
        optional("rsi_14", F64, "Wilder's relative strength index of 14 bars", minimum=0, maximum=100),
        optional("macd_bps", F64, "exponential mean of 12 closes less that of 26, over the close", "bps"),
        optional("macd_signal_bps", F64, "exponential mean of 9 such differences, over the close", "bps"),
        optional("macd_histogram_bps", F64, "MACD less its signal", "bps"),
        optional("bollinger_position", F64, "close within the bands of 20 bars: 0 the lower, 1 the upper"),
        _positive("bollinger_width_bps", "distance of the bands over their middle", "bps"),
        _positive("atr_14_bps", "Wilder's average true range of 14 bars, over the close", "bps"),
        optional("obv", F64, "volume added on rising and subtracted on falling closes", "base units"),
        optional("vwap_distance_bps", F64, "close over the volume-weighted mean price so far, less 1", "bps"),
        optional("stochastic_k", F64, "close within the range of 14 bars, mean of 3 bars", minimum=0, maximum=100),
        optional("stochastic_d", F64, "mean of 3 bars of the same", minimum=0, maximum=100),
        optional("plus_di_14", F64, "Wilder's upward directional indicator of 14 bars", minimum=0, maximum=100),
        optional("minus_di_14", F64, "Wilder's downward directional indicator of 14 bars", minimum=0, maximum=100),
        optional("adx_14", F64, "Wilder's average directional index of 14 bars", minimum=0, maximum=100),
        optional("fractional_difference", F64, "log close, fractionally differentiated with order 0.4"),
        _positive("shannon_entropy", "Shannon entropy of 60 steps' directions", "bit"),
        _share("lempel_ziv_complexity", "different phrases of 60 steps' directions, over 60"),
        _positive("kontoyiannis_entropy", "entropy rate of 60 steps' directions from match lengths", "bit"),
        _positive("cusum_break", "largest standardised departure in 60 closes over its 5 % bound: above 1 the level has moved"),
        optional("sadf", F64, "largest of the Dickey-Fuller statistics that end here, in 60 closes"),
    ),
)  # fmt: skip

CROSS_ASSET = Table(
    "cross_asset",
    "features",
    "A symbol among the others of its market, for minute bars of regular hours. Its market is the mean of the others.",
    key=("symbol", "event_time"),
    is_versioned=True,
    columns=(
        SYMBOL_COLUMN,
        Column("event_time", TIME, "start of the bar"),
        KNOWN_TIME,
        optional("market_return_bps", F64, "mean log return of the other symbols in the minute", "bps"),
        _share("market_correlation_30m", "correlation of minute returns with the market's, 30 min", signed=True),
        optional("correlation_break", F64, "that correlation less the one of the 60 min before it, in standard errors of Fisher's transform"),
        optional("lead_lag_30m", F64, "correlation with the market of a minute before, less that of the market with the symbol of a minute before, 30 min; above 0 the symbol follows", minimum=-2, maximum=2),
        *(optional(f"beta_{width}m", F64, f"slope of minute returns on the market's, {width} min") for width in BETA_MINUTES),
        *(optional(f"residual_{width}m_bps", F64, f"return of {width} min less the market's times the beta of the 60 min before", "bps") for width in RESIDUAL_MINUTES),
        optional("pca_residual_score", F64, "what principal components leave of 5 minutes' returns, in standard deviations"),
        optional("pair", SYMBOL, "the symbol, of the eight most correlated, with which it is most surely cointegrated over 120 min"),
        optional("pair_statistic", F64, "Engle and Granger's statistic of the two; below about -3.4 they are cointegrated"),
        optional("pair_spread_score", F64, "residual of the pair's regression over its standard deviation"),
    ),
)  # fmt: skip

CORRELATIONS = Table(
    "correlations",
    "features",
    "How minute returns of two symbols moved together, every five minutes of regular hours: each pair twice, once from either side.",
    key=("symbol", "other", "event_time"),
    columns=(
        SYMBOL_COLUMN,
        Column("other", SYMBOL, "the other symbol"),
        Column("event_time", TIME, "start of the window's last minute"),
        KNOWN_TIME,
        *(_share(f"correlation_{width}m", f"Pearson's correlation of minute returns over {width} min; null where one does not vary", signed=True) for width in CORRELATION_MINUTES),
    ),
)  # fmt: skip

REGIMES = Table(
    "regimes",
    "features",
    "The state of a symbol's market by blocks of five minutes of regular hours, from the blocks so far and earlier days.",
    key=("symbol", "event_time"),
    is_versioned=True,
    columns=(
        SYMBOL_COLUMN,
        Column("event_time", TIME, "start of the block"),
        KNOWN_TIME,
        _positive("volatility_bps", "root mean square of the block's minute returns, and 0.1", "bps"),
        optional("regime", SYMBOL, "the most probable of `calm`, `normal` and `turbulent`"),
        *(_share(f"probability_{name}", f"filtered probability of `{name}`") for name in ("calm", "normal", "turbulent")),
        optional("volatility_level", SYMBOL, "`low`, `usual` or `high`: against the symbol's 10 % and 90 % quantiles of earlier days"),
        optional("trend_score", F64, "return of an hour over the root of its summed squared minute returns"),
        optional("direction", SYMBOL, "`rising`, `falling` or `ranging`: trend score above 1.96, below -1.96, or between"),
    ),
)  # fmt: skip

MARKET_MICROSTRUCTURE = Table(
    "market_microstructure",
    "live",
    "A symbol's minutes in a few numbers: flow, spread, volatility, indicators and the champion's score. Live, and from the lake.",
    key=("symbol", "event_time"),
    columns=(
        Column("symbol", SYMBOL, "instrument, spelt as in the vendor's flat files"),
        EVENT_TIME,
        Column("buy_volume", F64, "volume of buyer-initiated trades", "base units", minimum=0),
        Column("sell_volume", F64, "volume of seller-initiated trades", "base units", minimum=0),
        _share("order_imbalance", "(buy - sell) / (buy + sell) volume; null without either", signed=True),
        _positive("spread_bps", "time-weighted quoted spread", "bps"),
        _positive("volatility_bps", "root of summed squared 5-second log returns in the minute", "bps"),
        optional("rsi_14", F64, "Wilder's relative strength index of 14 bars; null without a bar", minimum=0, maximum=100),
        optional("macd_bps", F64, "exponential mean of 12 closes less that of 26, over the close", "bps"),
        optional("bollinger_position", F64, "close within the bands of 20 bars: 0 the lower, 1 the upper"),
        optional("anomaly_score", F64, "score of the registered model; null where it scored nothing"),
        optional("model", SYMBOL, "that model and its version"),
    ),
)  # fmt: skip

#: The measures of a minute of which `SEASONALITY` has the usual size too, with their units.
_USUAL = {
    "volume": "base units", "trade_count": "", "quote_count": "", "quoted_spread_bps": "bps", "realised_volatility_bps": "bps",
    "range_bps": "bps", "return_bps": "bps", "net_volume": "base units",
}  # fmt: skip
#: All measures: the features of these tables whose values reach back by no more than a quarter of an hour, and the net volume.
SEASONAL: tuple[str, ...] = (
    *_USUAL,
    "buy_volume", "sell_volume", "buy_count", "sell_count", "order_flow_imbalance", "flow_score_3m", "flow_score_5m", "trade_age_s",
    "effective_spread_bps", "realised_spread_bps", "depth_imbalance", "best_level_ofi", "quote_age_s", "tape_age_s",
    "signed_count", "aggressor_ratio", *(f"imbalance_{width}m" for width in IMBALANCE_MINUTES if width <= 15),
    *(f"ofi_depth_{width}m" for width in OFI_MINUTES), "trade_size_median", "trade_size_p90", "largest_trade_share",
    "quoted_spread_5m_bps", "effective_spread_5m_bps", "realised_spread_5m_bps", "price_impact_bps", "price_impact_5m_bps",
    "spread_volatility_bps", "depth", "micro_price_bps", "quote_to_trade_5m", "size_quote_share", "size_flicker",
)  # fmt: skip


def is_signed(measure: str) -> bool:
    """Whether a measure of `SEASONALITY` has a sign: it is measured by its size, and its deviation has its sign."""
    of_tables = (*MICROSTRUCTURE.columns, *MICROSTRUCTURE_MORE.columns)
    return measure == "net_volume" or next(c.minimum != 0 for c in of_tables if c.name == measure)


SEASONALITY = Table(
    "seasonality",
    "features",
    "Minutes of regular hours against their usual size: the symbol's profile over the day, from earlier days, times its level of the hour up to 15 min before.",
    key=("symbol", "event_time"),
    is_versioned=True,
    columns=(
        SYMBOL_COLUMN,
        EVENT_TIME,
        KNOWN_TIME,
        count("days", "earlier days of the symbol in its profile"),
        *(_positive(f"usual_{name}", f"usual {'absolute ' if is_signed(name) else ''}{name.removesuffix('_bps').replace('_', ' ')} of the minute", unit) for name, unit in _USUAL.items()),
        *(
            optional(
                f"{name}_deviation", F64,
                f"{name.removesuffix('_bps').replace('_', ' ')} over what is usual, {'with its sign' if is_signed(name) else 'as a logarithm'}, in robust scales",
                minimum=-30, maximum=30,
            )
            for name in SEASONAL
        ),
    ),
)  # fmt: skip

#: The tables that collectors fill beside `microstructure` and `market_microstructure`, unless the settings leave some out.
LIVE_FAMILIES: tuple[Table, ...] = (MICROSTRUCTURE_MORE, INDICATORS, CROSS_ASSET, CORRELATIONS, REGIMES, SEASONALITY)
