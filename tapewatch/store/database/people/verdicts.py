"""People's verdicts on alerts, incidents and anomalies in the operational database, each with an audit entry."""

import datetime as dt

import polars as pl
import sqlalchemy as sa

from tapewatch.market.instruments import Market
from tapewatch.market.schema import Table
from tapewatch.market.tables.derived import INCIDENTS
from tapewatch.market.tables.live import ALERT_VERDICTS, ALERTS, VERDICTS
from tapewatch.market.tables.tape import ANOMALIES
from tapewatch.store.database import queries
from tapewatch.store.database.database import Database
from tapewatch.store.database.engine import transaction
from tapewatch.store.database.people.audit import record
from tapewatch.store.database.rows import as_kept, frame_of
from tapewatch.store.database.upserts import upsert

_INCIDENT, _ANOMALY = "incident", "anomaly"
#: Tables whose rows are named by market, symbol and start, by the word between market and symbol.
_NAMED: dict[str, Table] = {_INCIDENT: INCIDENTS, _ANOMALY: ANOMALIES}
_STAMP = "%Y%m%dT%H%M%S%f"


class VerdictError(ValueError):
    """A verdict that cannot be recorded; the message says why."""


def incident_id(market: Market | str, symbol: str, start: dt.datetime) -> str:
    """The identity of an incident: `market:incident:symbol:start`, the start in UTC."""
    return _identity(market, _INCIDENT, symbol, start)


def anomaly_id(market: Market | str, symbol: str, start: dt.datetime) -> str:
    """The identity of an anomaly: `market:anomaly:symbol:start`, the start in UTC."""
    return _identity(market, _ANOMALY, symbol, start)


def find(database: Database, alert_id: str) -> tuple[Table, dict[str, object]]:
    """The row of an alert, incident or anomaly, and its table.

    Raises:
        VerdictError: there is none of this identity.
        DatabaseError: the database cannot be read.
    """
    with transaction(database.engine, reads_only=True) as connection:
        return _found(connection, alert_id)


def give_verdict(database: Database, alert_id: str, *, verdict: str, author: str, note: str | None = None) -> None:
    """Record that a person confirms or dismisses an alert or incident. An author's later verdict replaces the earlier.

    Raises:
        VerdictError: the verdict is unknown, the author is empty, or there is no such alert; nothing was recorded.
        DatabaseError: the database refuses; nothing was recorded.
    """
    if verdict not in VERDICTS:
        raise VerdictError(f"{verdict!r} is no verdict: give {' or '.join(VERDICTS)}")
    if not author.strip():
        raise VerdictError("a verdict needs an author")
    with transaction(database.engine) as connection:
        about = _about(connection, alert_id)
        now = dt.datetime.now(dt.UTC)
        row = {"alert_id": alert_id, "symbol": about["symbol"], "author": author, "verdict": verdict}
        frame = ALERT_VERDICTS.conform(pl.DataFrame([{**row, "note": note, "created_time": now}]))
        place = pl.DataFrame({"market": [about["market"]], "date": [about["date"]]})
        upsert(connection, ALERT_VERDICTS, as_kept(ALERT_VERDICTS, frame, place))
        record(connection, author, "verdict", alert_id, {"verdict": verdict, "note": note})


def _identity(market: Market | str, word: str, symbol: str, start: dt.datetime) -> str:
    return ":".join((str(market), word, symbol, f"{start.astimezone(dt.UTC):{_STAMP}}"))


def _about(connection: sa.Connection, alert_id: str) -> dict[str, object]:
    """Market, date and symbol of an alert, incident or anomaly."""
    return _found(connection, alert_id)[1]


def _found(connection: sa.Connection, alert_id: str) -> tuple[Table, dict[str, object]]:
    table: Table = ALERTS
    where: dict[str, object] = {"alert_id": alert_id}
    market, _, rest = alert_id.partition(":")
    word, _, rest = rest.partition(":")
    if word in _NAMED:
        symbol, _, stamp = rest.rpartition(":")
        try:
            start = dt.datetime.strptime(stamp, _STAMP).replace(tzinfo=dt.UTC)
        except ValueError as error:
            raise VerdictError(f"there is no {word} {alert_id!r}: its start is no time") from error
        table, where = _NAMED[word], {"market": market, "symbol": symbol, "start_time": start}
    dialect = connection.dialect.name
    rows = connection.execute(queries.select(table, dialect, where=where, limit=1)).all()
    if not rows:
        raise VerdictError(f"there is no alert {alert_id!r}: `tapewatch alerts` and `tapewatch anomalies` list them")
    return table, frame_of(table, rows, dialect).row(0, named=True)
