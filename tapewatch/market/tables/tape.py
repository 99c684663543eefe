"""The platform's tables: columns, types, units, ranges, keys. Parquet, SQL, validation, Feast and requests use these.

Times are UTC in nanoseconds. Only nullable columns hold nulls, and floats hold no NaN.
"""

from dataclasses import replace

import polars as pl

from tapewatch.market.schema import Column, Table

TIME = pl.Datetime("ns", "UTC")
#: Few distinct values: dictionary-encoded in memory and on disk.
SYMBOL = pl.Categorical()
I64, I32, I16, I8 = pl.Int64(), pl.Int32(), pl.Int16(), pl.Int8()
F64, TEXT, BOOL = pl.Float64(), pl.String(), pl.Boolean()

SYMBOL_COLUMN = Column("symbol", SYMBOL, "instrument, spelt as in the vendor's flat files (AAPL, X:BTC-USD)")
EVENT_TIME = Column("event_time", TIME, "start of the minute that the row describes")
KNOWN_TIME = Column("known_time", TIME, "earliest moment at which the row could be known")


def optional(
    name: str,
    dtype: pl.DataType,
    description: str,
    unit: str = "",
    *,
    minimum: float | None = None,
    maximum: float | None = None,
) -> Column:
    """A column that may be null."""
    return Column(name, dtype, description, unit, is_nullable=True, minimum=minimum, maximum=maximum)


def price(name: str, description: str, *, is_nullable: bool = False) -> Column:
    """A column of prices, whose range the market sets (`prices.py`)."""
    return Column(name, F64, description, "quote currency", is_nullable=is_nullable, is_price=True)


def count(name: str, description: str, unit: str = "") -> Column:
    """A column of whole numbers from 0."""
    return Column(name, I64, description, unit, minimum=0)


OHLC = (
    price("open", "first eligible price"),
    price("high", "highest eligible price"),
    price("low", "lowest eligible price"),
    price("close", "last eligible price"),
)
VWAP = price("vwap", "volume-weighted average price", is_nullable=True)
TRANSACTIONS = optional("transactions", I64, "eligible trades", minimum=0)
LISTING = optional("tape", I8, "1 NYSE, 2 NYSE Arca and American, 3 Nasdaq listings")
_SEQUENCE_NUMBER = Column("sequence_number", I64, "the tape's number; without one the position in the day, or below 0")

TRADES = Table(
    "trades",
    "tape",
    "Every trade as delivered, cancelled ones included (see `correction`).",
    key=("symbol", "sequence_number", "exchange", "id"),
    sort=("symbol", "time", "sequence_number"),
    columns=(
        SYMBOL_COLUMN,
        Column("time", TIME, "when the consolidated tape published the trade; where there is none, when it happened"),
        _SEQUENCE_NUMBER,
        price("price", "price of one unit"),
        Column("size", F64, "traded amount, fractional where the market allows it", "base units", minimum=0),
        Column("exchange", I16, "the vendor's exchange id"),
        Column("conditions", SYMBOL, 'condition codes as "12,37"; empty for a regular sale'),
        optional("id", TEXT, "trade id, unique on its exchange"),
        optional("correction", I8, "0 or null: valid; 1 late corrected; 7 error; 8 cancelled"),
        optional("participant_time", TIME, "when the exchange reported the trade"),
        optional("trf_id", I16, "trade reporting facility"),
        optional("trf_time", TIME, "when the trade reporting facility received the trade"),
        LISTING,
    ),
)

QUOTES = Table(
    "quotes",
    "tape",
    "Every best bid and offer as delivered. A side with price 0 is empty.",
    key=("symbol", "sequence_number"),
    sort=("symbol", "time", "sequence_number"),
    columns=(
        SYMBOL_COLUMN,
        Column("time", TIME, "when the consolidated tape published the quote; where there is none, when it was made"),
        _SEQUENCE_NUMBER,
        price("bid_price", "best bid; 0 where there is none"),
        price("ask_price", "best offer; 0 where there is none"),
        optional("bid_size", F64, "size at the best bid; null where the market states none", "base units", minimum=0),
        optional("ask_size", F64, "size at the best offer; null where the market states none", "base units", minimum=0),
        optional("bid_exchange", I16, "the vendor's exchange id of the bid"),
        optional("ask_exchange", I16, "the vendor's exchange id of the offer"),
        optional("conditions", SYMBOL, 'condition codes as "1,14"; empty for a regular quote'),
        optional("indicators", SYMBOL, "indicator codes, as conditions"),
        optional("participant_time", TIME, "when the exchange reported the quote"),
        optional("trf_time", TIME, "when the trade reporting facility received the quote"),
        LISTING,
    ),
)

BARS = Table(
    "bars",
    "tape",
    "Minute bars built from trades by the vendor's update rules, beside the bars the vendor delivered.",
    key=("symbol", "time"),
    columns=(
        SYMBOL_COLUMN,
        Column("time", TIME, "start of the bar"),
        Column("known_time", TIME, "end of the bar, when it is known at the earliest"),
        *OHLC,
        Column("volume", F64, "eligible volume; 0 where an index has none", "base units", minimum=0),
        VWAP,
        TRANSACTIONS,
        Column(
            "source", SYMBOL, "`trades` or `quotes` if built from these, else how the vendor's bar came, or `delivered`"
        ),
        *(price(f"delivered_{c.name}", f"{c.name} of the vendor's bar", is_nullable=True) for c in OHLC),
        optional("delivered_volume", F64, "volume of the vendor's bar", "base units", minimum=0),
        optional("is_volume_equal", BOOL, "built and delivered volume agree; null unless both exist"),
        optional("is_price_equal", BOOL, "built and delivered open, high, low, close agree; null unless both exist"),
        optional("delivered_by", SYMBOL, "which channel the vendor's bar came by: `rest`, `flat_files` or `stream`"),
        optional("revision", I32, "0 as first written; grows with every change of the bar", minimum=0),
    ),
)

DELIVERED_BARS = Table(
    "delivered_bars",
    "tape",
    "Minute bars as the vendor delivered them.",
    key=("symbol", "time"),
    columns=tuple(
        BARS.by_name[name]
        for name in ("symbol", "time", "open", "high", "low", "close", "volume", "vwap", "transactions")
    ),
)

COVERAGE = Table(
    "coverage",
    "tape",
    "How complete a symbol's day is.",
    key=("symbol",),
    columns=(
        SYMBOL_COLUMN,
        count("trades", "trades in the lake"),
        count("quotes", "quotes in the lake"),
        count("bars", "minute bars in the lake"),
        count("expected_minutes", "minutes in which the symbol's product trades regularly", "min"),
        count("received_minutes", "expected minutes with a bar, as they came", "min"),
        count("healed_minutes", "expected minutes with a bar that lay in a gap since filled", "min"),
        count(
            "silent_minutes",
            "expected minutes without a bar in which nothing traded, as other rows or days show",
            "min",
        ),
        count("missing_minutes", "expected minutes whose tape is not known to be whole", "min"),
        count("longest_gap_minutes", "longest run of expected minutes without a bar", "min"),
        count("open_gaps", "gaps of the day that were not filled"),
        Column("is_complete", BOOL, "the certificate: no minute is missing and no gap is open, all day long"),
        optional("first_time", TIME, "first trade of the day"),
        optional("last_time", TIME, "last trade of the day"),
        optional("reason", TEXT, "why the day is not complete"),
    ),
)

QUARANTINE = Table(
    "quarantine",
    "tape",
    "Rows that could not be loaded, with the reason. Nothing that the vendor sent is lost.",
    key=("source", "line"),
    columns=(
        Column("source", TEXT, "file, or endpoint and page, that held the row"),
        count("line", "line in the file, from 1 and counting the header; position in the page for REST"),
        Column("reason", TEXT, "what is wrong, naming the column and the value"),
        Column("raw", TEXT, "the row as it came"),
    ),
)

MICROSTRUCTURE = Table(
    "microstructure",
    "features",
    "Order flow, liquidity and volatility of a symbol, minute by minute. Quote features are null without quotes.",
    key=("symbol", "event_time"),
    is_versioned=True,
    columns=(
        SYMBOL_COLUMN,
        EVENT_TIME,
        KNOWN_TIME,
        Column("is_regular", BOOL, "the minute lies in the regular session"),
        Column("session_minute", I32, "minutes since the regular open, negative before it", "min"),
        price("last_price", "last eligible trade price so far; in forex the midquote", is_nullable=True),
        price("mid_price", "midpoint of the last valid quote so far", is_nullable=True),
        Column("volume", F64, "eligible volume", "base units", minimum=0),
        price("notional", "eligible volume times price"),
        count("trade_count", "eligible trades"),
        Column("buy_volume", F64, "volume of buyer-initiated trades", "base units", minimum=0),
        Column("sell_volume", F64, "volume of seller-initiated trades", "base units", minimum=0),
        count("buy_count", "buyer-initiated trades"),
        count("sell_count", "seller-initiated trades"),
        optional("order_flow_imbalance", F64, "(buy - sell) / (buy + sell) volume; null without either", minimum=-1, maximum=1),
        optional("return_bps", F64, "log return of the last price against the minute before", "bps"),
        optional("range_bps", F64, "log of the minute's high over its low", "bps", minimum=0),
        optional("realised_volatility_bps", F64, "root of summed squared 5-second log returns in the minute", "bps", minimum=0),
        optional("trailing_return_bps", F64, "log return over the trailing window", "bps"),
        optional("drawdown_bps", F64, "log of the trailing window's high over the last price", "bps", minimum=0),
        optional("roll_spread_bps", F64, "Roll (1984) effective spread over the trailing window", "bps", minimum=0),
        optional("amihud_illiquidity", F64, "Amihud (2002): mean |return| per million of notional, trailing window", "bps per 1e6", minimum=0),
        optional("kyle_lambda", F64, "slope of returns on signed notional, trailing window", "bps per 1e6"),
        optional("vpin", F64, "volume-synchronised probability of informed trading over trailing buckets", minimum=0, maximum=1),
        optional("volume_ratio", F64, "volume over the mean minute of the window before", minimum=0),
        optional("trade_count_ratio", F64, "trades over the mean minute of the window before", minimum=0),
        optional("sustained_volume_2m", F64, "least volume of the last 2 minutes over the mean minute of the window before them", minimum=0),
        optional("sustained_volume_3m", F64, "the same over 3 minutes", minimum=0),
        optional("signed_volume_ratio", F64, "(buy - sell) volume over the mean minute's volume in the window before"),
        optional("flow_score_3m", F64, "(buys - sells) / sqrt(buys + sells), counts of 3 minutes; 0 where the minute leans the other way"),
        optional("flow_score_5m", F64, "the same over 5 minutes"),
        optional("return_score", F64, "return over the root mean square return of the window before"),
        optional("volatility_ratio", F64, "realised volatility over its root mean square in the window before", minimum=0),
        Column("trade_age_s", F64, "time from the last trade to the minute's end; from the day's start before the first", "s", minimum=0),
        optional("quoted_spread_bps", F64, "time-weighted quoted spread over the midquote while the quote is valid", "bps", minimum=0),
        optional("effective_spread_bps", F64, "volume-weighted 2 |price - mid| / mid", "bps", minimum=0),
        optional("realised_spread_bps", F64, "volume-weighted 2 side (price - mid 30 s later) / mid, of trades whose 30 s end here", "bps"),
        optional("spread_ratio", F64, "quoted spread over its mean in the window before", minimum=0),
        optional("depth_imbalance", F64, "time-weighted (bid - ask) / (bid + ask) size at the best prices", minimum=-1, maximum=1),
        optional("best_level_ofi", F64, "Cont, Kukanov and Stoikov (2014) order-flow imbalance over its absolute sum", minimum=-1, maximum=1),
        optional("quote_count", I64, "quotes; null where the symbol has none all day so far", minimum=0),
        optional("quote_rate_hz", F64, "quotes a second", "1/s", minimum=0),
        optional("quote_count_ratio", F64, "quotes over the mean minute of the window before", minimum=0),
        optional("crossed_share", F64, "share of the minute's two-sided quotes with bid above ask", minimum=0, maximum=1),
        optional("quote_age_s", F64, "time from the last quote to the minute's end", "s", minimum=0),
        Column("tape_age_s", F64, "time from the last trade or quote to the minute's end", "s", minimum=0),
    ),
)  # fmt: skip

BARRIER_LABELS = Table(
    "barrier_labels",
    "labels",
    "Triple-barrier outcome of each CUSUM event (López de Prado 2018, chapter 3).",
    key=("symbol", "event_time"),
    columns=(
        SYMBOL_COLUMN,
        Column("event_time", TIME, "end of the bar at which the event was seen: the label's clock starts here"),
        Column("known_time", TIME, "when the first barrier was touched"),
        Column("label", I8, "1 upper barrier first, -1 lower, 0 neither in time", minimum=-1, maximum=1),
        Column("return_bps", F64, "log return from event to touch", "bps"),
        Column("target_bps", F64, "distance of the horizontal barriers", "bps", minimum=0),
        Column("holding_minutes", I32, "minutes from event to touch", "min", minimum=0),
    ),
)

TRUTH_LABELS = Table(
    "truth_labels",
    "labels",
    "Minutes that a source with known truth declares anomalous. Empty where the source has no truth.",
    key=("symbol", "event_time", "event_id"),
    columns=(
        SYMBOL_COLUMN,
        EVENT_TIME,
        KNOWN_TIME,
        Column("event_id", TEXT, "the anomaly this minute belongs to"),
        Column("kind", SYMBOL, "kind of anomaly"),
        Column("start_time", TIME, "when the anomaly begins"),
        Column("end_time", TIME, "when the anomaly ends"),
    ),
)

TRAINING_SET = Table(
    "training_set",
    "labels",
    "Regular-session feature rows with their labels, which are null until known.",
    key=("symbol", "event_time"),
    columns=(
        *MICROSTRUCTURE.columns,
        optional("barrier_label", I8, "triple-barrier outcome of an event at this minute's end", minimum=-1, maximum=1),
        optional("barrier_known_time", TIME, "when the barrier label was known"),
        optional("is_anomaly", BOOL, "whether the minute is anomalous by the truth; null without truth"),
        optional("anomaly_kind", SYMBOL, "kind of anomaly by the truth"),
        optional(
            "human_kind", SYMBOL, "what people say the minute is: a class or `normal`; null where nobody judged it"
        ),
        optional("human_confidence", F64, "how sure the author is", minimum=0, maximum=1),
        optional("human_share", F64, "share of the minute that the label covers", minimum=0, maximum=1),
        optional("human_known_time", TIME, "when it was said"),
    ),
)

ATTRIBUTIONS = Table(
    "isolation_forest_shap",
    "explanations",
    "SHAP values of the minutes that the detector flagged or nearly flagged, one row a feature.",
    key=("symbol", "event_time", "feature"),
    columns=(
        SYMBOL_COLUMN,
        EVENT_TIME,
        Column("feature", SYMBOL, "name of the feature"),
        optional("value", F64, "the feature's value"),
        Column("shap_value", F64, "contribution to the score; positive makes the minute more anomalous"),
        Column("score", F64, "the minute's anomaly score"),
    ),
)

EVALUATION = Table(
    "evaluation",
    "models",
    "What the detector and the trivial rule find of each kind of anomaly in the validation days.",
    key=("kind",),
    columns=(
        Column("kind", SYMBOL, "kind of anomaly; `all` for the whole"),
        Column("truth", SYMBOL, "`source` if the source states the truth, `injected` if it was put in for the test"),
        count("events", "anomalies of this kind"),
        count("found", "of these, anomalies that overlap a detection"),
        Column("recall", F64, "found over events", minimum=0, maximum=1),
        count("rule_found", "anomalies that overlap an alert of the trivial rule"),
        Column("rule_recall", F64, "rule_found over events", minimum=0, maximum=1),
        optional("delay_s", F64, "median time from an anomaly's start to the end of its first flagged minute; null where none is", "s", minimum=0),
        optional("false_alerts_per_390_minutes", F64, "alerts that meet no anomaly, in 390 minutes of a symbol; of `all` only", minimum=0),
    ),
)  # fmt: skip

ANOMALIES = Table(
    "anomalies",
    "detections",
    "Adjacent anomalous minutes of a symbol, merged into one event.",
    key=("symbol", "start_time"),
    columns=(
        SYMBOL_COLUMN,
        Column("start_time", TIME, "start of the first anomalous minute"),
        Column("end_time", TIME, "end of the last anomalous minute"),
        Column("known_time", TIME, "when the first anomalous minute was complete"),
        Column("kind", SYMBOL, "kind of anomaly, by what the tape did; `unusual` where no kind fits"),
        Column("score", F64, "highest score in the event"),
        optional("hours", F64, "once in how many hours of a symbol's ordinary tape a minute scores as high; a million stands for more; null if the detector has no level", "h", minimum=0),
        Column("threshold", F64, "score from which a minute counts as anomalous"),
        Column("minutes", I32, "anomalous minutes in the event", "min", minimum=1),
        Column("reasons", TEXT, "JSON list of {feature, value, shap_value}, strongest first"),
        Column("model", TEXT, "registered model and version that scored"),
    ),
)  # fmt: skip

_OF_THE_TAPE = (TRADES, QUOTES, BARS, DELIVERED_BARS, COVERAGE, QUARANTINE)
_OF_TRAINING = (MICROSTRUCTURE, BARRIER_LABELS, TRUTH_LABELS, TRAINING_SET, ATTRIBUTIONS, EVALUATION)
ALL: tuple[Table, ...] = (*_OF_THE_TAPE, *_OF_TRAINING, ANOMALIES)


def quarantine_of(table: Table) -> Table:
    """The quarantine of one table, a partition of its own beside the table's."""
    return replace(QUARANTINE, name=f"{QUARANTINE.name}_{table.name}")
