"""Decisions about labels that differ, in the operational database, each with an audit entry."""

import datetime as dt
import uuid
from collections.abc import Collection

import polars as pl

from tapewatch.labels.kinds import NORMAL
from tapewatch.labels.people.adjudication import Group, disagreements, judged_text
from tapewatch.labels.people.human import HumanLabel, LabelError
from tapewatch.market.tables.live import LABELS
from tapewatch.market.tables.review import ADJUDICATIONS
from tapewatch.store.database.database import Database
from tapewatch.store.database.engine import transaction
from tapewatch.store.database.people.audit import record
from tapewatch.store.database.rows import as_kept
from tapewatch.store.database.upserts import upsert


def open_disagreements(database: Database) -> list[Group]:
    """Groups of labels that differ and about which nobody decided, oldest first."""
    labels = [HumanLabel.of_row(row) for row in database.read(LABELS).iter_rows(named=True)]
    return disagreements(labels, database.read(ADJUDICATIONS))


def adjudicate(database: Database, label_ids: Collection[str], decision: HumanLabel, *, kinds: Collection[str]) -> str:
    """Record what counts in place of labels that differ, by the author of `decision`; they stay. Returns its identity.

    Args:
        label_ids: the whole of one open disagreement.
        decision: stretch, kind and note that count from now on.
        kinds: classes that may be given.

    Raises:
        LabelError: these labels do not differ any more, or the decision is no label of theirs; nothing was recorded.
        DatabaseError: the database refuses; nothing was recorded.
    """
    decision.check({decision.author}, kinds)
    group = next((g for g in open_disagreements(database) if {label.label_id for label in g} == set(label_ids)), None)
    if group is None:
        raise LabelError("these labels were changed or decided meanwhile: load the page again")
    first, last = min(label.start for label in group), max(label.end for label in group)
    if decision.symbol != group[0].symbol or decision.start < first or decision.end > last:
        raise LabelError(
            f"{decision}: it reaches beyond the labels, which are from {first:%H:%M:%S} to {last:%H:%M:%S}"
        )
    day, name, now = decision.partition, uuid.uuid4().hex[:12], dt.datetime.now(dt.UTC)
    row = {
        "adjudication_id": name, "symbol": decision.symbol, "start_time": decision.start, "end_time": decision.end,
        "kind": decision.kind, "is_anomaly": decision.kind != NORMAL, "note": decision.note, "judged": judged_text(group),
        "author": decision.author, "created_time": now,
    }  # fmt: skip
    frame = ADJUDICATIONS.conform(pl.DataFrame([row], schema_overrides={"note": pl.String}))
    place = pl.DataFrame({"market": [str(day.market)], "date": [day.date]})
    with transaction(database.engine) as connection:
        upsert(connection, ADJUDICATIONS, as_kept(ADJUDICATIONS, frame, place))
        record(connection, decision.author, "adjudicate", name, {"decided": str(decision), "labels": sorted(label_ids)})
    return name
