"""What happened on the tape, from every source alike: alerts, incidents, anomalies, people's labels, and known truth."""

import datetime as dt
import json
from collections.abc import Sequence
from typing import Any

import polars as pl

from dashboard.reading.days import days_between
from tapewatch.labels.kinds import NORMAL
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.rarity import level_in_words
from tapewatch.market.tables.derived import INCIDENTS
from tapewatch.market.tables.live import ALERT_VERDICTS, ALERTS, LABELS
from tapewatch.market.tables.tape import ANOMALIES, TRUTH_LABELS
from tapewatch.store.database.database import Database
from tapewatch.store.database.people.verdicts import VerdictError, anomaly_id, find, incident_id
from tapewatch.store.lake.lake import Lake

SEVERITIES = ("info", "warning", "critical")
#: An incident this rare on ordinary tape, in hours, counts as of this severity.
_RARE = {"critical": 1000.0, "warning": 100.0}
#: The same of a column `hours`; without a level a warning.
_SEVERITY = (
    pl.when(pl.col("hours") >= _RARE["critical"]).then(pl.lit("critical"))
    .when(pl.col("hours") < _RARE["warning"]).then(pl.lit("info"))
    .otherwise(pl.lit("warning"))
)  # fmt: skip
_TIME = pl.Datetime("ns", "UTC")
#: Columns of a feed: one row an alert or incident. `threshold_ratio` says how far beyond its threshold it is: 1 is at it.
FEED = pl.Schema(
    {
        "id": pl.String(),
        "source": pl.String(),
        "market": pl.String(),
        "symbol": pl.String(),
        "kind": pl.String(),
        "severity": pl.String(),
        "start_time": _TIME,
        "end_time": _TIME,
        "known_time": _TIME,
        "message": pl.String(),
        "threshold_ratio": pl.Float64(),
        "verdict": pl.String(),
    }
)
MARK_COLUMNS = ("source", "id", "kind", "severity", "start_time", "end_time", "message")


def feed(
    database: Database,
    *,
    start: dt.datetime | None = None,
    end: dt.datetime | None = None,
    market: Market | None = None,
    symbol: str | None = None,
    alert_id: str | None = None,
    most: int = 500,
) -> pl.DataFrame:
    """The newest alerts and incidents that begin in [start, end), newest first, with people's newest verdict (`FEED`).

    With `alert_id` the one alert, incident or anomaly of this identity, or nothing.
    """
    if alert_id is not None:
        return _as_feed(database, _named(database, alert_id))
    choice: dict[str, Any] = {"market": market, "symbol": symbol, "start": start, "end": end, "limit": most}
    alerts = database.read(ALERTS, newest_first=True, **choice)
    incidents = database.read(INCIDENTS, newest_first=True, **choice)
    rows = [*map(_of_alert, alerts.iter_rows(named=True)), *map(_of_incident, incidents.iter_rows(named=True))]
    return _as_feed(database, rows).sort("start_time", "id", descending=[True, False]).head(most)


def _named(database: Database, alert_id: str) -> list[dict[str, Any]]:
    """The alert, incident or anomaly of an identity; none if there is no such."""
    try:
        table, row = find(database, alert_id)
    except VerdictError:
        return []
    of = {ALERTS.name: _of_alert, INCIDENTS.name: _of_incident, ANOMALIES.name: _of_anomaly}
    return [of[table.name](row)]


def _as_feed(database: Database, rows: list[dict[str, Any]]) -> pl.DataFrame:
    found = pl.DataFrame(rows, schema={name: _us(kind) for name, kind in FEED.items() if name != "verdict"})
    # One alert may carry several people's verdicts; a feed shows the newest.
    verdicts = _verdicts(database, found["id"].to_list())
    return found.join(verdicts, left_on="id", right_on="alert_id", how="left").select(
        pl.col(name).cast(kind) for name, kind in FEED.items()
    )


def marks(
    lake: Lake, database: Database, market: Market, symbol: str, start: dt.datetime, end: dt.datetime, most: int = 400
) -> pl.DataFrame:
    """What a chart of [start, end) marks: source, id, kind, severity, start_time, end_time, message; oldest first.

    Sources are alert, incident, anomaly, label and truth; an end of null means that it lasts.
    """
    happened = feed(database, start=start, end=end, market=market, symbol=symbol, most=most).select(MARK_COLUMNS)
    choice: dict[str, Any] = {"market": market, "symbol": symbol, "start": start, "end": end, "limit": most}
    frames = [
        happened,
        _marks(_anomalies(database, choice), "anomaly", pl.col("kind").cast(pl.String), _SEVERITY, "id"),
        _marks(database.read(LABELS, **choice), "label", pl.col("author"), pl.lit("info"), "label_id"),
        _truth(lake, market, symbol, start, end),
    ]
    return pl.concat(frames).sort("start_time").head(most)


def reasons(database: Database, happening: dict[str, Any]) -> list[dict[str, Any]]:
    """What speaks for an incident, or for the anomaly in whose time an alert began; strongest first, [] without any."""
    table = INCIDENTS if happening["source"] == "incident" else ANOMALIES
    around = _NEAR if happening["source"] == "alert" else dt.timedelta(0)
    start = happening["start_time"]
    rows = database.read(
        table,
        market=happening["market"],
        symbol=happening["symbol"],
        start=start - around,
        end=start + around + dt.timedelta(microseconds=1),
    )
    return list(json.loads(rows["reasons"][-1])) if rows.height else []


_NEAR = dt.timedelta(minutes=10)


def _of_alert(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": row["alert_id"], "source": "alert", "market": row["market"], "symbol": row["symbol"], "kind": row["rule"],
        "severity": row["severity"], "start_time": row["start_time"], "end_time": row["end_time"],
        "known_time": row["detected_time"], "message": row["message"], "threshold_ratio": abs(row["multiple"] or 1.0),
    }  # fmt: skip


def _of_incident(row: dict[str, Any]) -> dict[str, Any]:
    words = "; ".join(str(reason["words"]) for reason in json.loads(row["reasons"]))
    return {
        "id": incident_id(row["market"], row["symbol"], row["start_time"]), "source": "incident",
        "market": row["market"], "symbol": row["symbol"], "kind": row["kind"], "severity": _severity(row["hours"]),
        "start_time": row["start_time"], "end_time": row["end_time"], "known_time": row["known_time"],
        "message": f"{row['symbol']}: {row['kind'].replace('_', ' ')}, {level_in_words(row['hours'])}: {words}",
        # An alert is raised at a surprise of 1: as high a peak in one of ten days.
        "threshold_ratio": row["surprise"],
    }  # fmt: skip


def _severity(hours: float | None) -> str:
    """By how rare a finding is on ordinary tape; without a level a warning."""
    return "warning" if hours is None else next((name for name, least in _RARE.items() if hours >= least), "info")


def _of_anomaly(row: dict[str, Any]) -> dict[str, Any]:
    level = f"{level_in_words(row['hours'])}, " if row["hours"] is not None else ""
    return {
        "id": anomaly_id(row["market"], row["symbol"], row["start_time"]), "source": "anomaly", "market": row["market"],
        "symbol": row["symbol"], "kind": row["kind"], "severity": _severity(row["hours"]), "start_time": row["start_time"],
        "end_time": row["end_time"], "known_time": row["known_time"],
        "message": f"{row['symbol']}: {row['kind'].replace('_', ' ')}, {level}score {row['score']:.3f}; from {row['threshold']:.3f} on a "
        "minute is anomalous",
        "threshold_ratio": row["score"] / row["threshold"],
    }  # fmt: skip


def _us(kind: pl.DataType | type[pl.DataType]) -> pl.DataType | type[pl.DataType]:
    # Python's times have microseconds.
    return pl.Datetime("us", "UTC") if kind == _TIME else kind


def _verdicts(database: Database, ids: Sequence[str]) -> pl.DataFrame:
    given = database.read(ALERT_VERDICTS, where={"alert_id": list(ids)}) if ids else None
    if given is None or given.is_empty():
        return pl.DataFrame(schema={"alert_id": pl.String(), "verdict": pl.String()})
    return given.sort("created_time").unique("alert_id", keep="last").select("alert_id", "verdict")


def _anomalies(database: Database, choice: dict[str, Any]) -> pl.DataFrame:
    """Anomalies with their identity."""
    rows = database.read(ANOMALIES, **choice)
    names = [anomaly_id(*each) for each in rows.select("market", "symbol", "start_time").iter_rows()]
    return rows.with_columns(id=pl.Series(names, dtype=pl.String))


def _marks(rows: pl.DataFrame, source: str, message: pl.Expr, severity: pl.Expr, key: str) -> pl.DataFrame:
    return rows.select(
        source=pl.lit(source),
        id=pl.col(key),
        kind=pl.col("kind").cast(pl.String),
        severity=severity,
        start_time=pl.col("start_time").cast(_TIME),
        end_time=pl.col("end_time").cast(_TIME),
        message=pl.format("{}: {}", pl.lit(source), message),
    )


def _truth(lake: Lake, market: Market, symbol: str, start: dt.datetime, end: dt.datetime) -> pl.DataFrame:
    days = days_between(lake, TRUTH_LABELS, market, start, end, _MOST_TRUTH_DAYS)
    empty = TRUTH_LABELS.empty().with_columns(pl.col("kind").cast(pl.String))
    rows = pl.concat([empty, *(_day_of_truth(lake, day, symbol) for day in days)])
    events = rows.unique("event_id", maintain_order=True).filter(
        pl.col("start_time") < end, pl.col("end_time") > start, pl.col("kind") != NORMAL
    )
    return _marks(events, "truth", pl.col("kind"), pl.lit("info"), "event_id")


_MOST_TRUTH_DAYS = 40


def _day_of_truth(lake: Lake, day: Partition, symbol: str) -> pl.DataFrame:
    return lake.read(TRUTH_LABELS, day, symbols=[symbol]).with_columns(pl.col("kind").cast(pl.String))
