"""The event that a dossier is about: an anomaly, an incident of the scan, or an alert of the live rules."""

import datetime as dt
import json
from dataclasses import dataclass
from typing import Any

from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.derived import INCIDENTS
from tapewatch.market.tables.live import ALERTS
from tapewatch.market.tables.tape import ANOMALIES
from tapewatch.store.database.database import Database
from tapewatch.store.database.people.verdicts import find

ANOMALY, INCIDENT, ALERT = "anomaly", "incident", "alert"
_SOURCES = {ANOMALIES.name: ANOMALY, INCIDENTS.name: INCIDENT, ALERTS.name: ALERT}
_MINUTE = dt.timedelta(minutes=1)


@dataclass(frozen=True)
class Event:
    """One event as it was stored. `score` is the anomaly's score, the incident's surprise, or what a rule measured.

    `model` is the registered model and version, or `rule:NAME`; `threshold` is None where the detector has none of its own.
    """

    event_id: str
    source: str
    partition: Partition
    symbol: str
    start: dt.datetime
    end: dt.datetime
    known: dt.datetime
    kind: str
    score: float
    threshold: float | None
    model: str
    reasons: tuple[dict[str, Any], ...] = ()
    message: str = ""

    @property
    def first_minute(self) -> dt.datetime:
        """The minute in which it begins."""
        return self.start.replace(second=0, microsecond=0)

    @property
    def end_minute(self) -> dt.datetime:
        """The end of the minute in which it ends."""
        return (
            self.end
            if self.end == self.end.replace(second=0, microsecond=0)
            else self.end.replace(second=0, microsecond=0) + _MINUTE
        )


def event_of(database: Database, alert_id: str) -> Event:
    """The event of an identity: `market:anomaly:…`, `market:incident:…`, or that of a row of `ALERTS`.

    Raises:
        VerdictError: there is none.
    """
    table, row = find(database, alert_id)
    partition = Partition(_as(dt.date, row["date"]), Market(str(row["market"])))
    start = _as(dt.datetime, row["start_time"])
    source = _SOURCES[table.name]
    if source == ALERT:
        # An alert that goes on is shown as far as it was when it opened.
        end = row["end_time"] or start + _MINUTE
        return Event(
            alert_id, source, partition, str(row["symbol"]), start, _as(dt.datetime, end), start, str(row["rule"]),
            float(_as(float, row["value"])), float(_as(float, row["baseline"])), f"rule:{row['rule']}", message=str(row["message"]),
        )  # fmt: skip
    is_anomaly = source == ANOMALY
    return Event(
        alert_id, source, partition, str(row["symbol"]), start, _as(dt.datetime, row["end_time"]),
        _as(dt.datetime, row["known_time"]), str(row["kind"]), _as(float, row["score" if is_anomaly else "surprise"]),
        _as(float, row["threshold"]) if is_anomaly else None, str(row["model"]), tuple(json.loads(str(row["reasons"]))),
    )  # fmt: skip


def _as(kind: Any, value: object) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value
