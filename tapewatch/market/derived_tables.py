"""Tables of bins, of bars of other clocks, of the scan and of profiles, and further tables of labels; see `tables.py`."""

from tapewatch.market.feature_tables import INDICATORS, MICROSTRUCTURE_MORE
from tapewatch.market.label_tables import LABEL_TABLES
from tapewatch.market.schema import Column, Table
from tapewatch.market.tables import (
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

BINS_5S = Table(
    "bins_5s",
    "features",
    "What the tape did in five seconds. Rows are the regular bins with a tick, and each symbol's first; other bins are silent.",
    key=("symbol", "event_time"),
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
    BINS_5S,
    MICROSTRUCTURE_MORE,
    INDICATORS,
    SCAN_EVALUATION,
    COMPARISON,
    INCIDENTS,
    *LABEL_TABLES,
    PROFILE,
)
