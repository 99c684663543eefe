"""Builds live bars and microstructure rows in a thread of its own, so that a busy minute delays no alert."""

import queue
import threading
from collections.abc import Callable, Iterable

import polars as pl

from tapewatch.market.tables.features import MARKET_MICROSTRUCTURE
from tapewatch.market.tables.live import LIVE_BARS, LIVE_MICROSTRUCTURE
from tapewatch.market.tables.tape import MICROSTRUCTURE
from tapewatch.streaming.collector.judges.minutes import MinuteJudge
from tapewatch.streaming.collector.live_database import RowWriter
from tapewatch.streaming.collector.publisher import Publisher
from tapewatch.streaming.live.day_tapes import DayRows, DayTapes

_WAITING_STEPS = 1024
_PATIENCE_S = 0.5


class Builder:
    """The thread that builds, in the order of the calls; a caller waits only while a thousand steps are queued."""

    def __init__(
        self,
        tapes: DayTapes,
        rows: RowWriter,
        publisher: Publisher | None = None,
        minutes: MinuteJudge | None = None,
    ) -> None:
        self.tapes = tapes
        self.failure: BaseException | None = None
        self._rows = rows
        self._publisher, self._minutes = publisher, minutes
        self._work: queue.Queue[Callable[[], None] | None] = queue.Queue(_WAITING_STEPS)
        self._thread = threading.Thread(target=self._run, name="builder", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def push(self, trades: pl.DataFrame, quotes: pl.DataFrame, now_ns: int) -> None:
        """Add ticks; `now_ns` is the tape's present."""
        self._put(lambda: self.tapes.push(trades, quotes, now_ns))

    def advance(self, through_ns: int) -> None:
        """Write the rows that are complete up to a time."""
        self._put(lambda: self._emit(self.tapes.advance(through_ns), through_ns))

    def finish(self, now_ns: int, *, is_session_over: bool = False) -> None:
        """Write the rows of the current days so far, and close the days whose sessions are over."""
        self._put(lambda: self._emit(self.tapes.close(now_ns), now_ns))
        if is_session_over and self._minutes is not None:
            minutes = self._minutes
            self._put(lambda: minutes.end_day(now_ns))

    def settle(self) -> None:
        """Wait until what was put before is built, and its minutes are judged."""
        done = threading.Event()
        self._put(done.set)
        while not done.wait(_PATIENCE_S) and self.failure is None:
            pass
        if self._minutes is not None:
            self._minutes.settle()

    def close(self) -> None:
        """Build what is queued and end the thread."""
        self._work.put(None)
        self._thread.join()

    def write_scores(self) -> None:
        """Write the scores of minutes that were judged meanwhile; only for the builder's own thread, or once that has ended."""
        for partition, scores in self._minutes.take_scores() if self._minutes is not None else ():
            self._rows.put(MARKET_MICROSTRUCTURE, partition, self.tapes.score(partition, scores))

    def _put(self, work: Callable[[], None]) -> None:
        if self.failure is not None:
            raise RuntimeError("live rows cannot be built") from self.failure
        self._work.put(work)

    def _run(self) -> None:
        try:
            while (work := self._work.get()) is not None:
                work()
        except BaseException as error:  # noqa: BLE001 - the worker raises it, and the process ends with it
            self.failure = error
            while self._work.get() is not None:
                pass

    def _emit(self, rows_by_day: Iterable[DayRows], through_ns: int) -> None:
        for partition, rows in rows_by_day:
            self._rows.put(LIVE_BARS, partition, rows.second_bars)
            self._rows.put(LIVE_BARS, partition, rows.minute_bars)
            self._rows.remove(LIVE_BARS, partition, rows.withdrawn_bars)
            self._rows.put(LIVE_MICROSTRUCTURE, partition, rows.microstructure)
            self._rows.remove(LIVE_MICROSTRUCTURE, partition, rows.withdrawn_rows)
            self._rows.put(MARKET_MICROSTRUCTURE, partition, rows.market_minutes)
            self._rows.remove(MARKET_MICROSTRUCTURE, partition, rows.withdrawn_rows)
            for change in rows.changes:
                self._rows.put(change.table, partition, change.rows)
                self._rows.remove(change.table, partition, change.withdrawn)
            if self._publisher is not None:
                self._publisher.put(MICROSTRUCTURE, rows.microstructure)
                for change in rows.changes:
                    # The store holds a row a symbol.
                    if change.table.key == MICROSTRUCTURE.key:
                        self._publisher.put(change.table, change.rows)
            if self._minutes is not None:
                self._minutes.put(partition, rows.microstructure, through_ns)
        self.write_scores()
