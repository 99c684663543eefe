"""Tables of labels beside those of `tape.py`: bets, weights, people's labels and weak labels."""

from tapewatch.market.schema import Column, Table
from tapewatch.market.tables.tape import (
    BARRIER_LABELS,
    BOOL,
    EVENT_TIME,
    F64,
    I8,
    I32,
    KNOWN_TIME,
    SYMBOL_COLUMN,
    TEXT,
    TIME,
    optional,
)
from tapewatch.market.tables.tape import SYMBOL as CATEGORY

_EVENT = BARRIER_LABELS.by_name["event_time"]
_TARGET = BARRIER_LABELS.by_name["target_bps"]
_CONFIDENCE = Column("confidence", F64, "how sure the author is, from 0 to 1", minimum=0, maximum=1)

META_LABELS = Table(
    "meta_labels",
    "labels",
    "Whether a bet on each CUSUM event's side would have won (López de Prado 2018, section 3.6).",
    key=("symbol", "event_time"),
    columns=(
        SYMBOL_COLUMN,
        _EVENT,
        Column("known_time", TIME, "when the bet's first barrier was touched"),
        Column("side", I8, "side of the bet: 1 up, -1 down", minimum=-1, maximum=1),
        Column("label", I8, "1 if the bet won, else 0", minimum=0, maximum=1),
        Column("barrier", I8, "1 profit taken first, -1 stopped, 0 neither in time", minimum=-1, maximum=1),
        Column("return_bps", F64, "log return from event to touch in the bet's direction", "bps"),
        _TARGET,
        Column("holding_minutes", I32, "minutes from event to touch", "min", minimum=0),
    ),
)

LABEL_WEIGHTS = Table(
    "weights",
    "labels",
    "How much of its own each barrier label holds, where labels overlap in time (López de Prado 2018, chapter 4).",
    key=("symbol", "event_time"),
    columns=(
        SYMBOL_COLUMN,
        _EVENT,
        Column("known_time", TIME, "when the label was known, and its weight with it"),
        Column("uniqueness", F64, "mean over the label's bars of 1 over the labels alive", minimum=0, maximum=1),
        Column("concurrency", F64, "mean number of the symbol's labels alive over its bars", minimum=1),
        Column(
            "attributed_return_bps",
            F64,
            "absolute sum of its bars' returns, each over the labels alive",
            "bps",
            minimum=0,
        ),
    ),
)

HUMAN_LABELS = Table(
    "human_labels",
    "labels",
    "People's labels of the day, as the operational database held them when this was written.",
    key=("label_id",),
    columns=(
        Column("label_id", TEXT, "identity of the label"),
        SYMBOL_COLUMN,
        Column("start_time", TIME, "start of what is labelled"),
        Column("end_time", TIME, "end of what is labelled, excluded"),
        Column("known_time", TIME, "when it was said"),
        Column("kind", CATEGORY, "kind of anomaly, or `normal`"),
        Column("is_anomaly", BOOL, "the person's verdict"),
        _CONFIDENCE,
        Column("author", CATEGORY, "who says so"),
        optional("note", TEXT, "what the person adds"),
        optional("refined_start", TIME, "start tightened to the tape's change; null where the tape shows none"),
        optional("refined_start_s", F64, "uncertainty of that start: half of its 95 % interval", "s", minimum=0),
        optional("refined_end", TIME, "end tightened to the tape's change; null where the tape shows none"),
        optional("refined_end_s", F64, "uncertainty of that end", "s", minimum=0),
    ),
    sort=("symbol", "start_time", "label_id"),
)

WEAK_LABELS = Table(
    "weak_labels",
    "labels",
    "Regular minutes for which a rule or detector votes for an anomaly, with the probability by all of them together.",
    key=("symbol", "event_time"),
    columns=(
        SYMBOL_COLUMN,
        EVENT_TIME,
        KNOWN_TIME,
        Column("probability", F64, "that the minute is anomalous, by the label model", minimum=0, maximum=1),
        Column("label", I8, "1 from a probability of one half", minimum=0, maximum=1),
        Column("votes", TEXT, "sources that vote for an anomaly, separated by commas"),
    ),
)

#: All of them.
LABEL_TABLES: tuple[Table, ...] = (META_LABELS, LABEL_WEIGHTS, HUMAN_LABELS, WEAK_LABELS)
