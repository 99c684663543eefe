"""The history of the models' versions: entries are only added, and each holds the hash of the one before.

An entry that was changed, removed or put in between breaks the chain. The newest entry's hash is also kept with the model in
MLflow, so that entries cut off at the end are missed too.
"""

import datetime as dt
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import polars as pl
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tapewatch.market.tables.live import MODEL_HISTORY
from tapewatch.store.database import queries
from tapewatch.store.database.database import Database
from tapewatch.store.database.engine import DatabaseError, transaction
from tapewatch.store.database.people.audit import EVERY_MARKET
from tapewatch.store.database.rows import frame_of
from tapewatch.store.database.tables import twin

FOUND: Final = "found"
PROMOTED, REFUSED, ROLLED_BACK, RETIRED = "promoted", "refused", "rolled_back", "retired"
#: What changes the champion: all but a retirement make the version champion.
_MOVES = (PROMOTED, ROLLED_BACK, FOUND, RETIRED)
_START = "0" * 64
_HASHED = tuple(name for name in MODEL_HISTORY.schema if name != "hash")


class HistoryConflictError(RuntimeError):
    """Another process changed the champion meanwhile; nothing was recorded or changed."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What shall be recorded of a version. `champion_before` is the champion with which it was compared; None without one."""

    model: str
    action: str
    version: int
    champion_before: int | None
    run_id: str
    actor: str
    reason: str
    evidence: dict[str, Any] = field(default_factory=dict)


def record(
    database: Database,
    decision: Decision,
    *,
    apply: Callable[[str], None] = lambda _: None,
    now: dt.datetime | None = None,
) -> dict[str, Any]:
    """Add an entry, and call `apply` with its hash before it is committed; returns the entry.

    If `apply` fails, nothing is recorded. Of two processes that replace the same champion, the later fails before `apply`.

    Raises:
        HistoryConflictError: the recorded champion is another than `champion_before`.
        DatabaseError: the database refuses; nothing was recorded.
    """
    try:
        with transaction(database.engine) as connection:
            entries = _read(connection)
            recorded = champion_of(entries, decision.model)
            if recorded is not None and decision.action != FOUND and recorded != decision.champion_before:
                raise HistoryConflictError(
                    f"{decision.model}: version {recorded} became champion meanwhile, and version {decision.version} was compared "
                    f"with version {decision.champion_before}: compare again"
                )
            entry = _entry(decision, entries[-1] if entries else None, now or dt.datetime.now(dt.UTC))
            place = {"market": EVERY_MARKET, "date": entry["at_time"].date()}
            # Never an upsert: an existing number is an error.
            connection.execute(sa.insert(twin(MODEL_HISTORY)), [place | entry])
            apply(entry["hash"])
    except DatabaseError as error:
        if _is_taken(error):
            raise HistoryConflictError(
                f"{decision.model}: another promotion was recorded meanwhile: compare again"
            ) from error
        raise
    return entry


def history(database: Database, model: str | None = None) -> list[dict[str, Any]]:
    """The entries, oldest first; of one model or of all."""
    with transaction(database.engine, reads_only=True) as connection:
        entries = _read(connection)
    return [entry for entry in entries if model in (None, entry["model"])]


def champion_of(entries: Sequence[dict[str, Any]], model: str, at: dt.datetime | None = None) -> int | None:
    """The version of a model that was champion at a time, by default after the last entry; None if none was."""
    versions = [
        None if entry["action"] == RETIRED else entry["version"]
        for entry in entries
        if entry["model"] == model and entry["action"] in _MOVES and (at is None or entry["at_time"] <= at)
    ]
    return versions[-1] if versions else None


def faults(entries: Sequence[dict[str, Any]]) -> list[str]:
    """What is wrong with a whole chain, a sentence each; empty if it is sound."""
    found, previous = [], _START
    for place, entry in enumerate(entries, start=1):
        if entry["number"] != place:
            found.append(f"entry {place} is missing: the next is numbered {entry['number']}")
            break
        if entry["previous_hash"] != previous:
            found.append(f"entry {place} does not follow entry {place - 1}")
        if entry["hash"] != _digest(entry):
            found.append(f"entry {place} was changed: its hash is not that of its values")
        previous = entry["hash"]
    return found


def _entry(decision: Decision, last: dict[str, Any] | None, now: dt.datetime) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "number": last["number"] + 1 if last else 1,
        "at_time": now,
        "model": decision.model,
        "action": decision.action,
        "version": decision.version,
        "champion_before": decision.champion_before,
        "run_id": decision.run_id,
        "actor": decision.actor,
        "reason": decision.reason,
        "evidence": json.dumps(decision.evidence, sort_keys=True),
        "previous_hash": last["hash"] if last else _START,
    }
    return entry | {"hash": _digest(entry)}


def _digest(entry: dict[str, Any]) -> str:
    values = {name: entry[name] for name in _HASHED}
    values["at_time"] = entry["at_time"].astimezone(dt.UTC).isoformat(timespec="microseconds")
    return hashlib.sha256(json.dumps(values, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _read(connection: Connection) -> list[dict[str, Any]]:
    dialect = connection.dialect.name
    rows = connection.execute(queries.select(MODEL_HISTORY, dialect, where={})).all()
    frame = (
        frame_of(MODEL_HISTORY, rows, dialect).sort("number").with_columns(pl.col("at_time").dt.cast_time_unit("us"))
    )
    return frame.select(list(MODEL_HISTORY.schema)).to_dicts()


def _is_taken(error: DatabaseError) -> bool:
    return isinstance(error.__cause__, sa.exc.IntegrityError)
