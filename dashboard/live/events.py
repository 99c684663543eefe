"""New live bars and alerts as server-sent events. A row may come twice; its key lets the reader replace the earlier one."""

import asyncio
import datetime as dt
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from starlette.concurrency import run_in_threadpool

from tapewatch.market.tables.live import ALERTS, LIVE_BARS
from tapewatch.store.database.database import Database, DatabaseError

_EVERY_S = 0.5
_COMMENT_AFTER_S = 15.0
#: What is read again before the newest rows: bars that were revised, alerts that ended, commits that came late.
_BARS_AGAIN, _ALERTS_AGAIN = dt.timedelta(minutes=3), dt.timedelta(hours=1)
_MOST = 5_000
_BAR_COLUMNS = ("open", "high", "low", "close", "volume")


class Events:
    """What one reader has not been sent yet.

    Args:
        database: the operational database.
        last_id: the id of the last event that the reader has; None begins now.
    """

    def __init__(self, database: Database, last_id: str | None = None) -> None:
        self._database = database
        now = dt.datetime.now(dt.UTC)
        position = _position(last_id)
        self._is_new = position is None
        self._bars_from, self._alerts_from = position or (_EPOCH, now)
        self._sent: dict[str, Any] = {}

    def new(self) -> list[str]:
        """The next events in the form of the stream: `bar` and `alert`, each with the id to go on from.

        Raises:
            DatabaseError: the database cannot be read.
        """
        if self._is_new:
            newest = self._database.read(LIVE_BARS, where={"clock": "1m"}, newest_first=True, limit=1)
            self._bars_from = newest["time"][0] if newest.height else self._alerts_from
            self._remember_what_is_there()
            self._is_new = False
        return [*self._new_bars(), *self._new_alerts()]

    async def stream(self, is_disconnected: Callable[[], Awaitable[bool]]) -> AsyncIterator[str]:
        """Events until the reader goes away, and a comment now and then, so that proxies keep the connection."""
        yield "retry: 2000\n\n"
        quiet = 0.0
        while not await is_disconnected():
            try:
                found = await run_in_threadpool(self.new)
            except DatabaseError:
                found = []  # the reader stays; rows that come meanwhile are sent when the database is back
            for event in found:
                yield event
            quiet = 0.0 if found else quiet + _EVERY_S
            if quiet >= _COMMENT_AFTER_S:
                quiet = 0.0
                yield ": still here\n\n"
            await asyncio.sleep(_EVERY_S)

    def _remember_what_is_there(self) -> None:
        self._new_bars()
        for row in self._recent_alerts():
            self._sent[row["alert_id"]] = row["end_time"]

    def _new_bars(self) -> list[str]:
        rows = self._database.read(LIVE_BARS, where={"clock": "1m"}, start=self._bars_from - _BARS_AGAIN, limit=_MOST)
        events = []
        for row in rows.iter_rows(named=True):
            key = f"{row['market']}:{row['symbol']}:{row['time']}"
            if self._sent.get(key) == row["revision"]:
                continue
            self._sent[key] = row["revision"]
            self._bars_from = max(self._bars_from, row["time"])
            said = {name: row[name] for name in _BAR_COLUMNS}
            place = {"market": row["market"], "symbol": row["symbol"], "time": row["time"].timestamp()}
            events.append(self._event("bar", {**place, **said}))
        return events

    def _new_alerts(self) -> list[str]:
        events = []
        for row in self._recent_alerts():
            if self._sent.get(row["alert_id"], ()) == row["end_time"]:
                continue
            is_new = row["alert_id"] not in self._sent
            self._sent[row["alert_id"]] = row["end_time"]
            self._alerts_from = max(self._alerts_from, row["detected_time"])
            said = {name: row[name] for name in ("alert_id", "market", "symbol", "rule", "severity", "message")}
            times = {"start": row["start_time"].timestamp(), "is_open": row["end_time"] is None, "is_new": is_new}
            events.append(self._event("alert", {**said, **times}))
        return events

    def _recent_alerts(self) -> list[dict[str, Any]]:
        # Alerts are found by the tape's clock, which a replay sets to another day: the newest are looked through.
        rows = self._database.read(ALERTS, newest_first=True, limit=200)
        since = self._alerts_from - _ALERTS_AGAIN
        recent = [row for row in rows.iter_rows(named=True) if row["detected_time"] >= since]
        return sorted(recent, key=lambda row: row["detected_time"])

    def _event(self, name: str, said: dict[str, Any]) -> str:
        place = f"{_micros(self._bars_from)}-{_micros(self._alerts_from)}"
        return f"id: {place}\nevent: {name}\ndata: {json.dumps(said)}\n\n"


def _position(last_id: str | None) -> tuple[dt.datetime, dt.datetime] | None:
    """The times of an event's id; None where it is no id of ours."""
    try:
        bars, alerts = (int(part) for part in (last_id or "").split("-"))
        return _EPOCH + dt.timedelta(microseconds=bars), _EPOCH + dt.timedelta(microseconds=alerts)
    except (ValueError, OverflowError):
        return None


_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def _micros(time: dt.datetime) -> int:
    return (time - _EPOCH) // dt.timedelta(microseconds=1)
