"""Tables of how people agree on labels: the classes that are offered, and decisions where two differ."""

from tapewatch.market.schema import Column, Table
from tapewatch.market.tables.tape import BOOL, TEXT, TIME, optional

LABEL_CLASSES = Table(
    "label_classes",
    "live",
    "Classes of labels that were added, or are no longer offered; unchanged built-in classes have no row.",
    key=("name",),
    columns=(
        Column("name", TEXT, "the class, as labels and files spell it"),
        Column("is_offered", BOOL, "whether new labels may be of it; labels that there are keep it"),
        optional("description", TEXT, "what belongs to it"),
        Column("author", TEXT, "who changed it last"),
        Column("created_time", TIME, "when that was"),
    ),
)

ADJUDICATIONS = Table(
    "adjudications",
    "live",
    "Decisions where labels of several people about the same stretch differ. The labels themselves stay.",
    key=("adjudication_id",),
    columns=(
        Column("adjudication_id", TEXT, "identity of the decision"),
        Column("symbol", TEXT, "instrument"),
        Column("start_time", TIME, "start of what was decided"),
        Column("end_time", TIME, "end of what was decided"),
        Column("kind", TEXT, "kind of anomaly, or `normal`"),
        Column("is_anomaly", BOOL, "whether it is one"),
        optional("note", TEXT, "why"),
        Column(
            "judged",
            TEXT,
            "JSON list of the labels that differed, as they were: label_id, author, kind, start, end, note",
        ),
        Column("author", TEXT, "who decided"),
        Column("created_time", TIME, "when it was decided"),
    ),
)

REVIEW: tuple[Table, ...] = (LABEL_CLASSES, ADJUDICATIONS)
