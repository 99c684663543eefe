"""The table of replayed scoring requests; see `tape.py`."""

from tapewatch.market.schema import Column, Table
from tapewatch.market.tables.tape import BOOL, F64, SYMBOL, SYMBOL_COLUMN, TEXT, TIME, count, optional

REPLAYED_REQUESTS = Table(
    "replayed_requests",
    "serving",
    "Rows of sampled scoring requests, scored again by the version that answered and compared with the lake's as-of join.",
    key=("symbol", "number"),
    columns=(
        SYMBOL_COLUMN,
        count("number", "position among the day's rows, by arrival"),
        Column("request_id", TEXT, "id of the request, as in the service's log"),
        Column("operation", SYMBOL, "`score`, `score_symbols` or `score_bars`"),
        Column("event_time", TIME, "start of the minute that was scored"),
        Column("arrival_time", TIME, "when the request came"),
        Column("model", TEXT, "registered name and version that answered"),
        optional("score", F64, "score that was answered; null where the row was not scored"),
        optional("score_again", F64, "score of the same vector now; null without the version that answered"),
        Column("is_from_store", BOOL, "the vector came from the online store, not from the client"),
        Column("is_in_lake", BOOL, "the lake has a row of this symbol and minute that was known when the request came"),
        optional("lag_s", F64, "how much newer the newest row known when the request came was", "s", minimum=0),
        Column("differing", TEXT, "features whose value is not that of the lake's row, separated by commas"),
    ),
)
