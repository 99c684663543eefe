"""Tables of the present in the operational database (group `live`), and the list of every table."""

from tapewatch.market.schema import Column, Table
from tapewatch.market.tables.accounts import ACCOUNTS
from tapewatch.market.tables.derived import DERIVED, INFORMATION_BARS
from tapewatch.market.tables.features import MARKET_MICROSTRUCTURE
from tapewatch.market.tables.paper import PAPER
from tapewatch.market.tables.review import REVIEW
from tapewatch.market.tables.stream import STREAM_BATCHES, STREAMED
from tapewatch.market.tables.tape import (
    ALL,
    BOOL,
    F64,
    I32,
    I64,
    MICROSTRUCTURE,
    OHLC,
    SYMBOL,
    TEXT,
    TIME,
    TRADES,
    TRANSACTIONS,
    VWAP,
    optional,
)
from tapewatch.market.tables.trading import TRADING

_SYMBOL = TRADES.by_name["symbol"]
_REVISION = Column("revision", I32, "0 as first known; grows each time the row was replaced", minimum=0)

LIVE_BARS = Table(
    "bars",
    "live",
    "Bars of the present: built from the stream's trades, or streamed by the vendor where there are none.",
    key=("symbol", "clock", "time"),
    columns=(
        _SYMBOL,
        Column("clock", SYMBOL, "`1s` or `1m`"),
        Column("time", TIME, "start of the bar"),
        Column("known_time", TIME, "end of the bar, or when the revision became known"),
        *OHLC,
        Column("volume", F64, "eligible volume", "base units", minimum=0),
        VWAP,
        TRANSACTIONS,
        Column("source", SYMBOL, "`trades` built here, `stream` the vendor's, `rest`, `flat_files`"),
        _REVISION,
    ),
)

LIVE_MICROSTRUCTURE = Table(
    "microstructure",
    "live",
    "Microstructure rows of the present: the same columns from the same code as in the lake.",
    key=("symbol", "event_time"),
    columns=(*MICROSTRUCTURE.columns, _REVISION),
)

LIVE_INFORMATION_BARS = Table(
    "information_bars",
    "live",
    "Bars of other clocks of the present: the same columns from the same code as in the lake.",
    # Numbers may begin anew where the lake has lost earlier days.
    key=("symbol", "clock", "start_time", "number"),
    columns=INFORMATION_BARS.columns,
)

ALERTS = Table(
    "alerts",
    "live",
    "What the online detectors raised. One event is one row, from its opening to its end.",
    key=("alert_id",),
    columns=(
        Column("alert_id", TEXT, "market, rule, symbol and opening time: unique by event"),
        Column("symbol", TEXT, "instrument; empty for the whole feed"),
        Column("rule", TEXT, "rule that was broken"),
        Column("severity", TEXT, "`info`, `warning` or `critical`"),
        Column("start_time", TIME, "when it began, on the tape's clock"),
        optional("end_time", TIME, "when it ended, on the tape's clock; null while it lasts"),
        Column("detected_time", TIME, "when this machine saw it, by its own clock"),
        optional(
            "known_time", TIME, "when it was raised, on the tape's clock; null for alerts from before this column"
        ),
        Column("value", F64, "what was measured when it opened"),
        Column("baseline", F64, "what is usual"),
        optional("multiple", F64, "value over baseline"),
        Column("peak", F64, "the most extreme value while it lasted"),
        Column("observations", I64, "measurements that broke the rule", minimum=1),
        Column("message", TEXT, "one readable sentence"),
        optional("kind", TEXT, "kind of anomaly as the first registered model names it; null for rules alone"),
        optional(
            "model", TEXT, "registered models and versions that raised it, such as `ensemble/4`; null for rules alone"
        ),
    ),
)

SHADOW_MINUTES = Table(
    "shadow_minutes",
    "live",
    "Live minutes that the challenger scored beside the champion; it raises no alerts.",
    key=("challenger", "champion", "event_time"),
    columns=(
        Column("challenger", TEXT, "registered model and version that scored in the shadow"),
        Column("champion", TEXT, "registered model and version whose alerts count"),
        Column("event_time", TIME, "start of the minute"),
        Column("symbols", I64, "symbols that both scored", minimum=0),
        Column("by_champion", TEXT, "symbols that the champion flags, as a JSON list"),
        Column("by_challenger", TEXT, "symbols that the challenger flags, as a JSON list"),
    ),
)

GAP_CAUSES = ("disconnect", "dropped", "malformed", "clock_skew", "sequence", "late_start", "restart", "spool")
GAPS = Table(
    "gaps",
    "live",
    "Stretches of the tape that the stream did not deliver, and whether they were filled.",
    key=("gap_id",),
    columns=(
        Column("gap_id", TEXT, "market, cause and opening: unique by gap"),
        optional("symbol", TEXT, "instrument; null where every symbol is concerned"),
        Column("channel", TEXT, "`trades`, `quotes`, `bars` or `all`"),
        Column("cause", TEXT, f"`{'`, `'.join(GAP_CAUSES)}`"),
        Column("start_time", TIME, "from here the tape may lack rows"),
        optional("end_time", TIME, "up to here; null while the gap grows"),
        Column("opened_time", TIME, "when it was noticed"),
        optional("healed_time", TIME, "when it was filled"),
        Column("status", TEXT, "`growing`, `open`, `healed` or `unhealable`"),
        optional("healed_by", TEXT, "`rest` or `flat_files`"),
        optional("rows_healed", I64, "rows fetched for it", minimum=0),
        Column("attempts", I32, "attempts to fill it", minimum=0),
        optional("reason", TEXT, "why the last attempt failed, or more about the gap"),
    ),
)

LABELS = Table(
    "labels",
    "live",
    "People's labels of stretches of the tape.",
    key=("label_id",),
    columns=(
        Column("label_id", TEXT, "identity of the label"),
        Column("symbol", TEXT, "instrument"),
        Column("start_time", TIME, "start of what is labelled"),
        Column("end_time", TIME, "end of what is labelled"),
        Column("kind", TEXT, "kind of anomaly, or `normal`"),
        Column("is_anomaly", BOOL, "the person's verdict"),
        optional("note", TEXT, "what the person adds"),
        Column("author", TEXT, "who says so"),
        Column("confidence", F64, "how sure the author is, from 0 to 1", minimum=0, maximum=1),
        Column("created_time", TIME, "when it was said"),
    ),
)

VERDICTS = ("confirmed", "dismissed")
ALERT_VERDICTS = Table(
    "alert_verdicts",
    "live",
    "What people say of alerts and incidents: the newest verdict of each author.",
    key=("alert_id", "author"),
    columns=(
        Column("alert_id", TEXT, "the alert, or the incident as `incident_id` names it"),
        Column("symbol", TEXT, "instrument; empty for the whole feed"),
        Column("author", TEXT, "who says so"),
        Column("verdict", TEXT, f"`{'` or `'.join(VERDICTS)}`"),
        optional("note", TEXT, "what the person adds"),
        Column("created_time", TIME, "when it was said"),
    ),
)

MODEL_HISTORY = Table(
    "model_history",
    "live",
    "What became of each version of a model. Entries are only added, and each holds the hash of the one before.",
    key=("number",),
    columns=(
        Column("number", I64, "place in the chain, from 1", minimum=1),
        Column("at_time", TIME, "when"),
        Column("model", TEXT, "name of the registered model"),
        Column(
            "action", TEXT, "`promoted`, `refused`, `rolled_back`, or `found` where another program moved the alias"
        ),
        Column("version", I64, "version that this is about", minimum=1),
        optional("champion_before", I64, "version that was champion; null if none was", minimum=1),
        Column("run_id", TEXT, "MLflow run that trained the version"),
        Column("actor", TEXT, "user or process"),
        Column("reason", TEXT, "why, in words"),
        Column("evidence", TEXT, "what the gates measured, as JSON"),
        Column("previous_hash", TEXT, "hash of the entry before; 64 zeros for the first"),
        Column("hash", TEXT, "SHA-256 of all other values of this entry"),
    ),
)

AUDIT = Table(
    "audit",
    "live",
    "Who changed what in the operational database, and when.",
    key=("entry_id",),
    columns=(
        Column("entry_id", TEXT, "identity of the entry"),
        Column("at_time", TIME, "when"),
        Column("actor", TEXT, "user or process"),
        Column("action", TEXT, "verb: `retain`, `restore`, `label`, …"),
        Column("subject", TEXT, "what was acted upon"),
        optional("detail", TEXT, "more, as JSON"),
    ),
)

API_KEYS = Table(
    "api_keys",
    "live",
    "Keys of programs that use the scoring service; of a key only its hash is stored.",
    key=("key_id",),
    columns=(
        Column("key_id", TEXT, "public part of the key"),
        Column("name", TEXT, "program that uses it"),
        Column("scopes", TEXT, "what it allows, separated by commas"),
        Column("secret_hash", TEXT, "SHA-256 of the secret part, as hexadecimal digits"),
        Column("created_time", TIME, "when it was made"),
        optional("expires_time", TIME, "from here on it is refused; null: never"),
        optional("requests_per_minute", I32, "its rate limit; null: the service's", minimum=1),
    ),
)

LIVE_QUARANTINE = Table(
    "quarantine",
    "live",
    "Stream events that could not be read, with the reason.",
    key=("entry_id",),
    columns=(
        Column("entry_id", TEXT, "identity of the entry"),
        Column("source", TEXT, "where it came from"),
        Column("received_time", TIME, "when it came"),
        Column("reason", TEXT, "what is wrong with it"),
        Column("raw", TEXT, "as it came"),
    ),
)

LIVE: tuple[Table, ...] = (
    LIVE_BARS,
    LIVE_INFORMATION_BARS,
    LIVE_MICROSTRUCTURE,
    MARKET_MICROSTRUCTURE,
    ALERTS,
    SHADOW_MINUTES,
    GAPS,
    LABELS,
    ALERT_VERDICTS,
    *REVIEW,
    API_KEYS,
    MODEL_HISTORY,
    *PAPER,
    AUDIT,
    LIVE_QUARANTINE,
)
EVERY: tuple[Table, ...] = (*ALL, *DERIVED, *TRADING, STREAM_BATCHES, *STREAMED, *LIVE, *ACCOUNTS)
