"""The alert book: commits alerts to the database, logs them, and passes them to the channels."""

import datetime as dt
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, Self

import polars as pl

from tapewatch.market.instruments import Market, Partition, day_of
from tapewatch.market.schema import Table
from tapewatch.market.tables.live import ALERTS
from tapewatch.store.database.database import DatabaseError
from tapewatch.streaming.alerts.board import Notice, NoticeBoard, Notifier, Tally
from tapewatch.streaming.detection.watch import AlertChange

__all__ = ["AlertBook", "AlertStore", "Notifier"]

_log = logging.getLogger(__name__)

#: Alerts that may wait for the database. A further change of a waiting alert replaces it.
MOST_WAITING = 20_000
_RETRY_S = 1.0
_WAIT_S = 0.5
_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "critical": logging.ERROR}


class AlertStore(Protocol):
    """Storage of alerts: a `Database`, or a handle on one that may be unavailable."""

    def upsert(self, table: Table, partition: Partition, frame: pl.DataFrame) -> int:
        """Add or replace rows by key; raises DatabaseError."""

    def read(self, table: Table, *, market: Market | str | None, where: Mapping[str, object] | None) -> pl.DataFrame:
        """Rows that match; raises DatabaseError."""


class AlertBook:
    """Writes alerts as they change, in its own thread. Close it, or use it as a context manager.

    Args:
        notifiers: channels that receive openings and ends.
        most_waiting: alerts kept while the database is unavailable; beyond it the oldest are dropped, counted and logged.
        wait_s: longest time that `record` waits for the commit.
        per_minute: messages per minute and channel; see `NoticeBoard`.
    """

    def __init__(
        self,
        database: AlertStore,
        notifiers: Sequence[Notifier] = (),
        *,
        most_waiting: int = MOST_WAITING,
        wait_s: float = _WAIT_S,
        per_minute: int = 20,
    ) -> None:
        self._database, self._board = database, NoticeBoard(notifiers, per_minute=per_minute)
        self._most_waiting, self._wait_s = most_waiting, wait_s
        self._waiting: OrderedDict[tuple[Market, str], dict[str, Any]] = OrderedDict()
        self._changed = threading.Condition()
        self._is_writing = self._is_away = self._is_closing = False
        #: Alerts dropped because too many waited, and rows that the database refused.
        self.dropped = self.refused = 0
        self._thread = threading.Thread(target=self._write_until_closed, name="alert-writer", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def tallies(self) -> dict[str, Tally]:
        """Counts of notices by outcome, for each channel."""
        return self._board.tallies

    @property
    def waiting(self) -> int:
        """Number of alerts that are not in the database yet."""
        with self._changed:
            return len(self._waiting)

    def record(self, market: Market, changes: Sequence[AlertChange]) -> bool:
        """Log, commit and announce changes.

        Waits for the commit, at most `wait_s` and not while the database is unavailable. Waiting changes are written later.

        Returns: whether everything recorded so far is in the database.
        """
        if not changes:
            return self.waiting == 0
        for change in changes:
            _log_change(market, change)
        with self._changed:
            for change in changes:
                key = (market, change.row["alert_id"])
                self._waiting[key] = change.row
                self._waiting.move_to_end(key)
            self._drop_overflow()
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._waiting or self._is_away, timeout=self._wait_s)
            is_committed = not self._waiting
        for change in changes:
            if change.is_opening or change.is_closing:
                self._board.announce(Notice(market, change.row, is_closing=change.is_closing))
        return is_committed

    def open_alerts(self, market: Market) -> list[dict[str, Any]]:
        """The market's alerts without an end, oldest first; `Watch.resume` continues them after a restart.

        Raises:
            DatabaseError: the database cannot be read.
        """
        found = self._database.read(ALERTS, market=market, where={"end_time": None})
        return found.select(ALERTS.schema.names()).to_dicts()

    def close(self, timeout_s: float = 5.0) -> int:
        """Write waiting alerts and send waiting notices for at most `timeout_s`; returns the number of lost alerts, each logged."""
        deadline = time.monotonic() + timeout_s
        self._board.begin_close()
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
        self._board.close(max(0.0, deadline - time.monotonic()))
        with self._changed:
            for market, alert_id in self._waiting:
                _log.error("%s: alert %s is lost: the database was unavailable until the end", market, alert_id)
            return len(self._waiting)

    def _drop_overflow(self) -> None:
        while len(self._waiting) > self._most_waiting:
            (market, alert_id), _ = self._waiting.popitem(last=False)
            self.dropped += 1
            _log.error("%s: alert %s is dropped: %d others wait for the database", market, alert_id, self._most_waiting)

    def _write_until_closed(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_closing)
                if not self._waiting:
                    return
                rows = dict(self._waiting)
            is_written = self._write(rows)
            with self._changed:
                if is_written:
                    for key, row in rows.items():
                        if self._waiting.get(key) is row:
                            del self._waiting[key]
                self._note_state(is_away=not is_written)
                self._changed.notify_all()
                if not is_written and self._is_closing:
                    return
                if not is_written:
                    self._changed.wait_for(lambda: self._is_closing, timeout=_RETRY_S)

    def _note_state(self, *, is_away: bool) -> None:
        if self._is_away and not is_away:
            _log.info("the database is available again; all waiting alerts are written")
        self._is_away = is_away

    def _write(self, rows: Mapping[tuple[Market, str], dict[str, Any]]) -> bool:
        """Commit rows; returns False where a retry may help."""
        for partition, members in _by_partition(rows):
            try:
                self._database.upsert(ALERTS, partition, pl.DataFrame(members, schema=ALERTS.schema))
            except DatabaseError as error:
                if error.is_transient:
                    if not self._is_away:
                        _log.warning("alerts wait for the database: %s", error)
                    return False
                self._refuse(partition, members, error)
            except Exception as error:  # noqa: BLE001 - a fault in these rows must not stop later ones
                self._refuse(partition, members, error)
        return True

    def _refuse(self, partition: Partition, rows: Sequence[dict[str, Any]], error: Exception) -> None:
        self.refused += len(rows)
        names = ", ".join(row["alert_id"] for row in rows)
        _log.error("the database refused alerts of %s: %s: %s", partition, error, names)


def _by_partition(
    rows: Mapping[tuple[Market, str], dict[str, Any]],
) -> Iterable[tuple[Partition, list[dict[str, Any]]]]:
    groups: dict[Partition, list[dict[str, Any]]] = {}
    for (market, _), row in rows.items():
        partition = Partition(day_of(market, row["start_time"]), market)
        groups.setdefault(partition, []).append(row)
    return groups.items()


def _log_change(market: Market, change: AlertChange) -> None:
    row = change.row
    kind = f"{market} {row['rule']}"
    if change.is_opening:
        level = _LEVELS[row["severity"]]
        _log.log(level, "ALERT %s %s at %s: %s", row["severity"], kind, _clock(row["start_time"]), row["message"])
    elif change.is_closing:
        subject, end = row["symbol"] or "feed", row["end_time"]
        lasted = (end - row["start_time"]).total_seconds()
        _log.info("ended %s %s at %s after %.0f s, peak %.6g", kind, subject, _clock(end), lasted, row["peak"])


def _clock(time: dt.datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S}.{time.microsecond // 1000:03d}Z"
