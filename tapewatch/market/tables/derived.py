"""Tables of bins, of bars of other clocks, of the scan and of profiles, and further tables of labels; see `tape.py`."""

from tapewatch.market.schema import Column, Table
from tapewatch.market.tables.features import (
    CORRELATIONS,
    CROSS_ASSET,
    INDICATORS,
    MICROSTRUCTURE_MORE,
    REGIMES,
    SEASONALITY,
)
from tapewatch.market.tables.labels import LABEL_TABLES
from tapewatch.market.tables.serving import REPLAYED_REQUESTS
from tapewatch.market.tables.signals import SIGNAL_TABLES
from tapewatch.market.tables.tape import (
    BOOL,
    EVALUATION,
    F64,
    I64,
    KNOWN_TIME,
    OHLC,
    SYMBOL,
    SYMBOL_COLUMN,
    TEXT,
    TIME,
    TRANSACTIONS,
    VWAP,
    count,
    optional,
    price,
)

INFORMATION_BARS = Table(
    "information_bars",
    "tape",
    "Bars that close when enough has been traded, by clock: ticks, volume, dollars, and their imbalances and runs.",
    key=("symbol", "clock", "number"),
    columns=(
        SYMBOL_COLUMN,
        Column("clock", SYMBOL, "what the bar counts: tick, volume or dollar, alone or with _imbalance or _run"),
        Column("number", I64, "number of the symbol's bar of this clock since its tape began, from 1", minimum=1),
        Column("start_time", TIME, "first trade of the bar"),
        Column("end_time", TIME, "last trade of the bar"),
        Column("known_time", TIME, "the same, when the bar is known at the earliest"),
        *OHLC,
        Column("volume", F64, "eligible volume", "base units", minimum=0),
        VWAP,
        TRANSACTIONS,
        Column(
            "buy_volume", F64, "volume of buyer-initiated trades, stated or by the tick rule", "base units", minimum=0
        ),
        Column("sell_volume", F64, "volume of seller-initiated trades, likewise", "base units", minimum=0),
        Column(
            "threshold", F64, "what closed the bar, in the clock's unit; in trades for a symbol's first bar", minimum=0
        ),
    ),
)

INFORMATION_STATES = Table(
    "information_states",
    "tape",
    "The unfinished bar of each symbol and clock at a day's end, and what its next thresholds follow.",
    key=("symbol", "clock"),
    columns=(
        SYMBOL_COLUMN,
        INFORMATION_BARS.by_name["clock"],
        *(
            Column(name, I64, f"{text} of the unfinished bar")
            for name, text in (("start", "first trade, ns"), ("end", "last trade, ns"), ("transactions", "trades"))
        ),
        Column("direction", I64, "direction of the last change of price", minimum=-1, maximum=1),
        Column("number", I64, "bars closed so far", minimum=0),
        *(
            optional(name, F64, f"{name.replace('_', ' ')} of the unfinished bar")
            for name in ["open", "high", "low", "close", "volume", "notional", "buy_volume", "sell_volume", "total", "signed", "buys", "sells", "last", "threshold"]
        ),
        *(
            optional(f"mean_{name}", F64, f"exponential mean of {text} over bars")
            for name, text in (
                ("trades", "the number of trades"), ("unit", "a trade's amount"), ("signed", "a trade's signed amount"),
                ("buys", "bought amount a trade"), ("sells", "sold amount a trade"),
            )
        ),
    ),
)  # fmt: skip

CONTINUOUS_BARS = Table(
    "continuous_bars",
    "tape",
    "Minute bars of the futures contract that is held of each root, and what joins one contract to the next.",
    key=("symbol", "time"),
    columns=(
        Column("symbol", SYMBOL, "contract that is held"),
        Column("time", TIME, "start of the bar"),
        KNOWN_TIME,
        Column("root", SYMBOL, "product, such as ES"),
        *OHLC,
        Column("volume", F64, "eligible volume", "contracts", minimum=0),
        Column("is_roll", BOOL, "the first bar of a contract"),
        optional("factor", F64, "times a price: the series without jumps, by ratios; null after a roll at a price not above 0", minimum=0),
        Column("offset", F64, "plus a price: the same by differences", "points"),
        Column("units", F64, "contracts held for each unit that was invested first"),
        Column("value", F64, "worth of what was invested at the first open (the ETF trick)"),
    ),
)  # fmt: skip

BINS_5S = Table(
    "bins_5s",
    "features",
    "What the tape did in five seconds. Rows are the regular bins with a tick, and each symbol's first; other bins are silent.",
    key=("symbol", "event_time"),
    is_versioned=True,
    columns=(
        SYMBOL_COLUMN,
        Column("event_time", TIME, "start of the bin"),
        KNOWN_TIME,
        count("trade_slots", "different tenths of a second with a trade"),
        count("quote_slots", "different tenths of a second with a quote"),
        count("size_quote_slots", "different tenths of a second with a quote that changes no price"),
        count("size_quotes", "quotes that change no price"),
        Column("side_sum", I64, "trades at or above the offer less trades at or below the bid"),
        count("side_count", "trades at or beyond the quote; all with a tick direction where there are no quotes"),
        Column("root_size", F64, "sum of the roots of the traded sizes", minimum=0),
        Column("signed_root_size", F64, "the same, signed by side"),
        optional("spread_bps", F64, "mean quoted spread at the bin's full seconds; null where none was valid", "bps", minimum=0),
        optional("standing_spread_bps", F64, "quoted spread at the bin's end; null where it is not valid", "bps", minimum=0),
        price("price", "midquote at the bin's end; median of the last five prints without quotes", is_nullable=True),
        optional("last_tick", TIME, "last trade or quote of the day before the bin's end"),
    ),
)  # fmt: skip

SCAN_EVALUATION = Table(
    "scan_evaluation",
    "models",
    "What the scan finds of each kind of anomaly in the validation days.",
    key=("kind",),
    columns=(
        Column("kind", SYMBOL, "kind of anomaly; `all` for the whole"),
        Column("truth", SYMBOL, "`source` if the source states the truth, `injected` if it was put in for the test"),
        count("events", "anomalies of this kind"),
        count("found", "of these, anomalies that meet an incident"),
        count("named", "of these, anomalies that meet an incident of their kind"),
        count("false_alerts", "incidents of this kind that meet no anomaly"),
        optional("recall", F64, "found over events; null without events", minimum=0, maximum=1),
        optional("recall_low", F64, "lower end of its 95 % interval (Wilson)", minimum=0, maximum=1),
        optional("recall_high", F64, "upper end of the same", minimum=0, maximum=1),
        optional("delay_s", F64, "median time from an anomaly's start to the first incident known; null where none is", "s", minimum=0),
        optional("false_alerts_per_390_minutes", F64, "false_alerts in 390 minutes of a symbol", minimum=0),
    ),
)  # fmt: skip

COMPARISON = Table(
    "comparison",
    "models",
    "What each further detector of minutes finds of each kind of anomaly in the validation days of the Isolation Forest.",
    key=("detector", "kind"),
    columns=(
        Column("detector", SYMBOL, "name of the detector, as in the registry"),
        *EVALUATION.columns,
    ),
)

INCIDENTS = Table(
    "incidents",
    "detections",
    "What happened to a symbol at a time, found by the scan of five-second bins: one row for all kinds within ten minutes.",
    key=("symbol", "start_time"),
    columns=(
        SYMBOL_COLUMN,
        Column("start_time", TIME, "start of the first surprising bin"),
        Column("end_time", TIME, "end of the last surprising bin"),
        Column("known_time", TIME, "end of the first surprising bin, when the alert could be known"),
        Column("kind", SYMBOL, "kind of anomaly at the peak"),
        Column(
            "surprise", F64, "-log10 of how often ordinary tape of a symbol has as high a peak of a kind in 390 minutes"
        ),
        Column(
            "hours",
            F64,
            "once in how many hours ordinary tape of a symbol raises such an alert; 10,000 stands for more",
            "h",
            minimum=0,
        ),
        Column("reasons", TEXT, "JSON list of {kind, statistic, value, words}, most surprising first"),
        Column("model", TEXT, "registered model and version that scored"),
    ),
)

#: Features of which a pattern keeps the extreme and the change.
PATTERN_FEATURES = (
    "volume_ratio", "trade_count_ratio", "return_bps", "return_score", "range_bps", "realised_volatility_bps",
    "volatility_ratio", "quoted_spread_bps", "effective_spread_bps", "spread_ratio", "order_flow_imbalance", "flow_score_5m",
    "depth_imbalance", "quote_count_ratio", "trade_age_s", "tape_age_s",
)  # fmt: skip

ANOMALY_PATTERNS = Table(
    "anomaly_patterns",
    "detections",
    "The shape of each anomaly in 32 numbers, by which similar ones are found, and what people said of it.",
    key=("symbol", "start_time"),
    columns=(
        SYMBOL_COLUMN,
        Column("start_time", TIME, "start of the first anomalous minute"),
        Column("end_time", TIME, "end of the last anomalous minute"),
        Column("known_time", TIME, "the same, when the whole shape is known"),
        Column("pattern_id", TEXT, "the anomaly, as `anomaly_id` names it"),
        Column("kind", SYMBOL, "kind of anomaly, by what the tape did"),
        Column("score", F64, "highest score in the event"),
        optional("label", SYMBOL, "what a person called it: a kind, `normal`, `confirmed` or `dismissed`"),
        Column("model", TEXT, "registered model and version that found it"),
        *(
            Column(f"{name}_{part}", F64, f"{name}: {words}, robustly scaled, inverse hyperbolic sine")
            for name in PATTERN_FEATURES
            for part, words in (
                ("extreme", "most unusual value within the event"),
                ("change", "mean less that of ten minutes before"),
            )
        ),
    ),
)

DRIFT = Table(
    "drift",
    "detections",
    "How far a day's features, scores, alerts and verdicts are from those that the champion was fitted on.",
    key=("subject", "name"),
    columns=(
        Column("subject", SYMBOL, "`feature`, `score`, `alerts` or `verdicts`"),
        Column("name", SYMBOL, "the feature, or the subject again"),
        count("rows", "minutes of the day, or recent verdicts"),
        count("reference_rows", "minutes of the reference days, or earlier verdicts"),
        optional(
            "value",
            F64,
            "mean deviation from the symbol's usual, in scales; mean score; share of alerts, or of confirmed ones",
        ),
        optional("reference", F64, "the same of the reference"),
        optional("psi", F64, "population stability index over the reference's deciles", minimum=0),
        optional("ks", F64, "Kolmogorov-Smirnov distance", minimum=0, maximum=1),
        optional("wasserstein", F64, "Wasserstein distance, in the reference's interquartile ranges", minimum=0),
        optional(
            "cusum_up", F64, "CUSUM of the days' means, upwards, in standard deviations of a day's mean", minimum=0
        ),
        optional("cusum_down", F64, "the same downwards", minimum=0),
        Column("is_drifting", BOOL, "a distance or a CUSUM is beyond its limit"),
        Column("model", TEXT, "champion whose training days are the reference"),
    ),
)

PROFILE = Table(
    "profile",
    "reports",
    "What each field of the day's tape holds. The page beside it shows the rest.",
    key=("table", "column"),
    columns=(
        Column("table", SYMBOL, "table of the lake"),
        Column("column", SYMBOL, "field of the table"),
        count("rows", "rows of the day"),
        count("nulls", "rows without a value"),
        count("distinct", "different values, estimated where they are many"),
        Column("minimum", TEXT, "smallest value; empty where there is none"),
        Column("maximum", TEXT, "largest value; empty where there is none"),
    ),
)

#: All of them.
DERIVED: tuple[Table, ...] = (
    INFORMATION_BARS,
    INFORMATION_STATES,
    CONTINUOUS_BARS,
    BINS_5S,
    MICROSTRUCTURE_MORE,
    INDICATORS,
    CROSS_ASSET,
    CORRELATIONS,
    REGIMES,
    SEASONALITY,
    SCAN_EVALUATION,
    COMPARISON,
    INCIDENTS,
    ANOMALY_PATTERNS,
    DRIFT,
    *LABEL_TABLES,
    *SIGNAL_TABLES,
    PROFILE,
    REPLAYED_REQUESTS,
)
