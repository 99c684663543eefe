"""Alerts, incidents and anomalies of the operational database, as one list."""

import datetime as dt
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from serving.contract.messages import Alert, Source
from tapewatch.market.instruments import Market
from tapewatch.market.rarity import level_in_words
from tapewatch.market.schema import Table
from tapewatch.market.tables.derived import INCIDENTS
from tapewatch.market.tables.live import ALERTS
from tapewatch.market.tables.tape import ANOMALIES
from tapewatch.store.database import queries
from tapewatch.store.database.database import Database
from tapewatch.store.database.engine import transaction
from tapewatch.store.database.people.verdicts import incident_id
from tapewatch.store.database.rows import frame_of
from tapewatch.store.database.tables import twin

LEVELS: Final = ("info", "warning", "critical")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which alerts are wanted. `level` is a severity of alerts, `one_in_hours` the least of incidents and anomalies."""

    start: dt.datetime | None = None
    end: dt.datetime | None = None
    market: Market | None = None
    symbol: str | None = None
    kind: str | None = None
    level: str | None = None
    one_in_hours: float | None = None
    source: Source | None = None
    limit: int = 100


def read_alerts(database: Database, wanted: Wanted) -> list[Alert]:
    """The newest `limit` of them, newest first.

    Raises:
        DatabaseError: the database cannot be read.
    """
    found: list[Alert] = []
    for source, (table, kind, make) in _SOURCES.items():
        if wanted.source in (None, source) and not _is_excluded(source, wanted):
            where: dict[str, object] = {} if wanted.kind is None else {kind: wanted.kind}
            if source == "alert" and wanted.level is not None:
                where["severity"] = wanted.level
            found += _read(database, table, make, where, wanted)
    found.sort(key=lambda alert: (alert.start_time, alert.id), reverse=True)
    return found[: wanted.limit]


def new_alerts(database: Database, since: dt.datetime, limit: int) -> Iterator[tuple[dt.datetime, Alert]]:
    """Alerts of the live rules that were detected at `since` or later, oldest first, each with that time."""
    # By this machine's clock: a feed that was replayed has old times of its own.
    columns, dialect = twin(ALERTS).c, database.engine.dialect.name
    query = queries.select(ALERTS, dialect, where={}).where(columns.detected_time >= since)
    query = query.order_by(None).order_by(columns.detected_time, columns.alert_id).limit(limit)
    with transaction(database.engine, reads_only=True) as connection:
        rows = connection.execute(query).all()
    for row in frame_of(ALERTS, rows, dialect).iter_rows(named=True):
        yield row["detected_time"], _alert(row)


def _read(
    database: Database,
    table: Table,
    make: Callable[[Mapping[str, Any]], Alert],
    where: Mapping[str, object],
    wanted: Wanted,
) -> Iterator[Alert]:
    rows = database.read(
        table,
        market=wanted.market,
        symbol=wanted.symbol,
        start=wanted.start,
        end=wanted.end,
        where=where,
        # Rarity is no column that the query can bound, so more are read where it is asked for.
        limit=None if wanted.one_in_hours is not None else wanted.limit,
        newest_first=True,
    )
    least = wanted.one_in_hours
    for row in rows.iter_rows(named=True):
        made = make(row)
        # What has no level is not known to be rare.
        if least is None or (made.one_in_hours is not None and made.one_in_hours >= least):
            yield made


def _is_excluded(source: Source, wanted: Wanted) -> bool:
    return (source != "alert" and wanted.level is not None) or (source == "alert" and wanted.one_in_hours is not None)


def _alert(row: Mapping[str, Any]) -> Alert:
    return Alert(
        row["alert_id"],
        "alert",
        row["market"],
        row["symbol"],
        row["rule"],
        row["start_time"],
        row["detected_time"],
        row["end_time"],
        row["severity"],
        message=row["message"],
    )


def _incident(row: Mapping[str, Any]) -> Alert:
    reasons = json.loads(row["reasons"])
    return Alert(
        incident_id(row["market"], row["symbol"], row["start_time"]),
        "incident",
        row["market"],
        row["symbol"],
        row["kind"],
        row["start_time"],
        row["known_time"],
        row["end_time"],
        level_in_words(row["hours"]),
        row["hours"],
        message=str(reasons[0].get("words", "")) if reasons else "",
    )


def _anomaly(row: Mapping[str, Any]) -> Alert:
    reasons = json.loads(row["reasons"])
    return Alert(
        f"{row['market']}:anomaly:{row['symbol']}:{row['start_time']:%Y%m%dT%H%M%S}",
        "anomaly",
        row["market"],
        row["symbol"],
        row["kind"],
        row["start_time"],
        row["known_time"],
        row["end_time"],
        level_in_words(row["hours"]),
        row["hours"],
        score=row["score"],
        message=f"strongest reason: {reasons[0]['feature']}" if reasons else "",
    )


_SOURCES: dict[Source, tuple[Table, str, Callable[[Mapping[str, Any]], Alert]]] = {
    "alert": (ALERTS, "rule", _alert),
    "incident": (INCIDENTS, "kind", _incident),
    "anomaly": (ANOMALIES, "kind", _anomaly),
}
