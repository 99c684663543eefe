"""The join of the feature store for the look-ahead check. It stands here, since the check's own catalogue imports no store."""

import datetime as dt
import tempfile

import numpy as np
import polars as pl

from tapewatch.lookahead.catalogue import MINUTES, TICKS
from tapewatch.lookahead.computation import Computation, Tape
from tapewatch.market.instruments import NS_PER_SECOND, Partition
from tapewatch.market.tables.tape import MICROSTRUCTURE, TIME
from tapewatch.store.lake.joins.objects import Source
from tapewatch.store.lake.joins.point_in_time import join_as_of
from tapewatch.store.lake.lake import Lake

#: Labels are given at ends of minutes and within them.
_EVERY_NS = 270 * NS_PER_SECOND
_TTL = dt.timedelta(days=1)


def _joined(tape: Tape) -> pl.DataFrame:
    """What a label given at `known_time` is joined with, out of a lake that holds the tape's minutes."""
    session = tape.session
    times = np.arange(session.regular_start, min(session.regular_end, tape.through_ns) + 1, _EVERY_NS)
    asked = pl.DataFrame({"symbol": tape.symbols}).join(pl.DataFrame({"time": times}), how="cross")
    asked = asked.with_columns(pl.col("time").cast(TIME))
    columns = {name: dtype for name, dtype in MICROSTRUCTURE.schema.items() if name not in MICROSTRUCTURE.key}
    with tempfile.TemporaryDirectory(prefix="tapewatch-") as folder:
        lake = Lake(folder)
        lake.write(MICROSTRUCTURE, Partition(session.date, session.market), MINUTES.rows(tape))
        source = Source(lake.root / MICROSTRUCTURE.group / MICROSTRUCTURE.name, ("symbol",), ttl=_TTL)
        found = join_as_of(source, asked, {**columns, "event_time": TIME})
    renamed = found.rename({"event_time": "minute", "known_time": "minute_known_time"})
    return asked.rename({"time": "known_time"}).hstack(renamed)


#: Features of minutes as the feature store joins them to labels.
MINUTES_JOINED = Computation(
    "feature_store (join to labels)",
    TICKS,
    _joined,
    key=("symbol", "known_time"),
    warm_up_ns=MINUTES.warm_up_ns,
    carried=("vpin",),
)
