"""People's labels in the operational database: added and removed whole or not at all, with an audit entry."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import polars as pl
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tapewatch.labels.people.human import HumanLabel, LabelError, among_themselves, frame_of, refuse
from tapewatch.market.tables.live import LABELS
from tapewatch.store.database import queries
from tapewatch.store.database.database import Database
from tapewatch.store.database.engine import transaction
from tapewatch.store.database.people.audit import record
from tapewatch.store.database.rows import as_kept
from tapewatch.store.database.rows import frame_of as rows_of
from tapewatch.store.database.tables import twin
from tapewatch.store.database.upserts import upsert


def add_labels(database: Database, labels: Sequence[HumanLabel], *, actor: str, source: str) -> int:
    """Add labels in one transaction. One that is stored as it stands already is passed over.

    Args:
        actor: user or process, for the audit log.
        source: what the error calls the labels: a file's name, or `the label`.

    Returns: how many were added.

    Raises:
        LabelError: a label overlaps another of its author, or repeats one with another verdict; nothing was added.
        DatabaseError: the database refuses; nothing was added.
    """
    faults = [f"{second} overlaps {first}" for first, second in among_themselves(labels)]
    refuse(faults, source)
    with transaction(database.engine) as connection:
        _be_alone(connection)
        new = []
        for label, stored in zip(labels, _overlapping(connection, labels), strict=True):
            if any(_says_the_same(label, other) for other in stored):
                continue
            faults += [f"{label} overlaps {other}, which is stored as {other.label_id}" for other in stored[:1]]
            new.append(label)
        refuse(faults, source)
        if new:
            _insert(connection, new)
            record(connection, actor, "label", source, {"added": [label.label_id for label in new]})
    return len(new)


def remove_labels(database: Database, label_ids: Sequence[str], *, actor: str) -> list[HumanLabel]:
    """Remove labels in one transaction, and return them.

    Raises:
        LabelError: one is unknown; nothing was removed.
        DatabaseError: the database refuses; nothing was removed.
    """
    column = twin(LABELS).c.label_id
    with transaction(database.engine) as connection:
        found = _read(connection, {"label_id": list(label_ids)})
        known = connection.execute(sa.select(column).where(column.in_(label_ids))).scalars()
        unknown = sorted(set(label_ids) - set(known))
        if unknown:
            raise LabelError(
                f"there is no label {', '.join(unknown)}, nothing was removed: `tapewatch labels list` shows them"
            )
        connection.execute(sa.delete(twin(LABELS)).where(column.in_(label_ids)))
        detail = {"removed": [str(label) for label in found]}
        record(connection, actor, "unlabel", ", ".join(label_ids), detail)
    return found


def exchange_labels(
    database: Database,
    labels: Sequence[HumanLabel],
    removed: Sequence[str],
    *,
    found: Mapping[str, HumanLabel],
    actor: str,
    source: str,
) -> None:
    """Remove labels by their identities, and add labels, which replace those of the same identity: all in one transaction.

    Args:
        found: the stored labels by which it was decided to do so.
        actor, source: as `add_labels`.

    Raises:
        LabelError: a label that would go was changed since it was found, or one overlaps another of its author that stays;
            nothing was changed.
        DatabaseError: the database refuses; nothing was changed.
    """
    refuse([f"{second} overlaps {first}" for first, second in among_themselves(labels)], source)
    leaving = [*removed, *(label.label_id for label in labels)]
    with transaction(database.engine) as connection:
        _be_alone(connection)
        before = _read(connection, {"label_id": leaving}) if leaving else []
        expected = {name: replace(found[name], created=None) for name in leaving if name in found}
        if {label.label_id: replace(label, created=None) for label in before} != expected:
            raise LabelError("labels were changed here meanwhile, nothing was pulled: pull again")
        connection.execute(sa.delete(twin(LABELS)).where(twin(LABELS).c.label_id.in_(leaving)))
        overlapping = zip(labels, _overlapping(connection, labels), strict=True)
        refuse([f"{label} overlaps {stored[0]}, which is here" for label, stored in overlapping if stored], source)
        if labels:
            _insert(connection, labels)
        detail = {"added": [str(label) for label in labels], "gone": [str(label) for label in before]}
        record(connection, actor, "pull", source, detail)


def _be_alone(connection: Connection) -> None:
    """Two people must not add overlapping labels at once. SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("LOCK TABLE labels IN SHARE ROW EXCLUSIVE MODE"))


def _insert(connection: Connection, labels: Sequence[HumanLabel]) -> None:
    days = [label.partition for label in labels]
    place = pl.DataFrame({"market": [str(day.market) for day in days], "date": [day.date for day in days]})
    upsert(connection, LABELS, as_kept(LABELS, frame_of(labels, dt.datetime.now(dt.UTC)), place))


def _overlapping(connection: Connection, labels: Sequence[HumanLabel]) -> Iterator[list[HumanLabel]]:
    """For each label the stored ones of its author that overlap it."""
    symbols = sorted({label.symbol for label in labels})
    stored = _read(connection, {"symbol": symbols}) if labels else []
    for label in labels:
        yield [other for other in stored if other.overlaps(label)]


def _read(connection: Connection, where: dict[str, object]) -> list[HumanLabel]:
    dialect = connection.dialect.name
    rows = connection.execute(queries.select(LABELS, dialect, where=where)).all()
    return [HumanLabel.of_row(row) for row in rows_of(LABELS, rows, dialect).iter_rows(named=True)]


def _says_the_same(label: HumanLabel, other: HumanLabel) -> bool:
    times = (label.start, label.end) == (other.start, other.end)
    return times and (label.kind, label.confidence, label.note) == (other.kind, other.confidence, other.note)
