"""Passes live features to the feature store in a thread of its own, so that a store that is away delays nothing."""

import logging
import threading
from collections.abc import Callable

import polars as pl

from tapewatch.market.backoff import backoff_s
from tapewatch.market.schema import Table

_log = logging.getLogger(__name__)
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0

_Rows = tuple[Table, pl.DataFrame]


class Publisher:
    """Gives `push` the newest row of each symbol, table by table; rows that a newer one replaces before they are pushed are left out.

    While `push` fails its rows wait, and the newest of them are tried again. What it raised is logged once.
    """

    def __init__(self, push: Callable[[Table, pl.DataFrame], None]) -> None:
        self._push = push
        #: By table's name, in the order in which they are pushed.
        self._waiting: dict[str, _Rows] = {}
        self._changed = threading.Condition()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self.rows_pushed = 0
        self.error: str | None = None

    def start(self) -> None:
        self._thread.start()

    def put(self, table: Table, rows: pl.DataFrame) -> None:
        """Pass rows with `symbol` and `event_time`, in the order in which they were made. Never waits."""
        if rows.is_empty():
            return
        with self._changed:
            self._wait(table, rows)
            self._changed.notify()

    def close(self, timeout_s: float) -> None:
        """Push what waits, for at most about this long."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        failures = 0
        while (waiting := self._next()) is not None:
            table, rows = waiting
            try:
                self._push(table, rows)
            except Exception as error:  # noqa: BLE001 - no fault of the store may end the collector
                self._note(error)
                with self._changed:
                    newer = self._waiting.pop(table.name, None)
                    self._wait(table, rows)
                    if newer is not None:
                        self._wait(*newer)
                    if self._is_closing:
                        return
                    self._changed.wait_for(
                        lambda: self._is_closing, backoff_s(failures, _FIRST_PAUSE_S, _LONGEST_PAUSE_S)
                    )
                failures += 1
                continue
            failures = 0
            self.rows_pushed += rows.height
            if self.error is not None:
                _log.info("live features are pushed again")
                self.error = None

    def _next(self) -> _Rows | None:
        """The rows of the table that waited longest; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closing)
            return self._waiting.pop(next(iter(self._waiting))) if self._waiting else None

    def _wait(self, table: Table, rows: pl.DataFrame) -> None:
        before = self._waiting.get(table.name)
        self._waiting[table.name] = table, _newest(None if before is None else before[1], rows)

    def _note(self, error: Exception) -> None:
        if self.error is None:
            _log.warning("live features cannot be pushed, the newest wait: %s", error)
        self.error = str(error)


def _newest(before: pl.DataFrame | None, after: pl.DataFrame) -> pl.DataFrame:
    """The newest row of each symbol; of rows of one time the later one, which corrects the earlier."""
    rows = after if before is None else pl.concat([before, after])
    return rows.sort("event_time", maintain_order=True).unique("symbol", keep="last", maintain_order=True)
