"""Keeps what a collector received: batches in the spool, gaps in their book, unreadable rows in quarantine.

All of it waits for disks, so it runs in a thread of its own, in the order of the calls.
"""

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import polars as pl

from tapewatch.feeds.stream.decode.decoder import StreamBatch
from tapewatch.market.instruments import Market
from tapewatch.market.tables.live import LIVE_QUARANTINE
from tapewatch.market.tables.stream import STREAM_BARS, STREAM_QUOTES, STREAM_TRADES
from tapewatch.market.tables.tape import TIME
from tapewatch.store.durable import write_whole
from tapewatch.store.spool.quarantine import QuarantineFiles, quarantine_folder
from tapewatch.store.spool.spool import SpoolWriter
from tapewatch.streaming.collector.gathering import joined
from tapewatch.streaming.collector.live_database import RowWriter
from tapewatch.streaming.gaps.book import OVERLAP_NS, GapBook, partition_of
from tapewatch.streaming.gaps.holes import HoleFinder

_log = logging.getLogger(__name__)
#: Part of the log line about rows that were lost when the collector ended.
NOT_SPOOLED = "could not be written to the spool"
_WAITING_BATCHES = 512
_FLUSH_ROWS = 250_000
#: Time between two looks for gaps that the healer has closed.
_HEALED_LOOK_S = 10.0
_POLL_S = 0.2
#: Batches of this long are joined: writing a small batch costs as much as writing a large one.
_GATHER_S = 0.1
#: Files hold every unreadable event; the database holds at most this many a minute.
_DATABASE_ROWS_A_MINUTE = 5_000
#: In the position file before the time of an event, while the end of the tape on disk is not known yet.
_SINCE = "since "
_CHANNELS = {STREAM_TRADES.name: "trades", STREAM_QUOTES.name: "quotes", STREAM_BARS.name: "bars"}


class _Batch(NamedTuple):
    batch: StreamBatch
    #: The end of the tape on disk once this batch is written, int64 ns UTC; None where it is not known yet.
    tape_ns: int | None


_Work = Callable[[], None] | _Batch


class Keeper:
    """The thread that keeps; once it runs, `spool` and `gaps` are used by it alone.

    Rows wait in memory for at most `flush_s` before they are on disk.
    """

    def __init__(self, spool: SpoolWriter, gaps: GapBook, rows: RowWriter, *, flush_s: float) -> None:
        self.spool, self.gaps = spool, gaps
        self._rows = rows
        self._flush_s = flush_s
        self._work: queue.Queue[_Work | None] = queue.Queue(_WAITING_BATCHES)
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
        self._flushed_at = self._looked_at = time.monotonic()
        self._market: Market = spool.market
        self._position = position_file(spool.folder)
        #: Whether an earlier process received here.
        self.is_resumed = self._position.exists()
        self._tape_ns: int | None = None
        self._noted_ns: int | None = None
        self._first_ns: int | None = None
        self.quarantine = QuarantineFiles(quarantine_folder(spool.folder.parent, spool.market))
        self._quarantined = 0
        self._quarantine_minute = 0
        self._holes = HoleFinder()
        self.refused_rows = 0
        self._is_ending = False
        self.failure: BaseException | None = None

    @property
    def last_position(self) -> int | None:
        """The end of the tape that earlier processes kept, gaps apart, int64 ns UTC; None where it is unknown."""
        text = self._position_text()
        if not text.isdecimal():
            return None
        newest = self.spool.state.newest
        return int(text) if newest is None else min(int(text), newest)

    @property
    def since(self) -> int | None:
        """An event received before any process knew the end of the tape, int64 ns UTC; None where none is noted."""
        text = self._position_text()
        event = text.removeprefix(_SINCE)
        return int(event) if text != event and event.isdecimal() else None

    def start(self) -> None:
        # From here on the process may lose rows: the file lets the next process see that this one ran. Later writes
        # report a full disk.
        with contextlib.suppress(OSError):
            self._position.touch()
        self._thread.start()

    def keep(self, batch: StreamBatch, tape_ns: int | None) -> None:
        """Keep a batch; waits only while hundreds of batches are queued, and the frame queue fills meanwhile.

        `tape_ns` is the newest event time that the tape's clock accepts: `last_position` returns it once the batch is on
        disk. It is None until the stretch between an earlier process's tape and this one's is judged.
        """
        self._put(_Batch(batch, tape_ns))

    def open_gap(
        self, cause: str, *, start_ns: int, end_ns: int | None = None, channel: str = "all", reason: str | None = None
    ) -> None:
        """Add a gap to the book, after everything given before."""
        self._put(partial(self._open_gap, cause, start_ns, end_ns, channel, reason, now_ns=time.time_ns()))

    def bound_gaps(self, end_ns: int, *, cause: str | None = None) -> None:
        """Set the end of the growing gaps of a cause, or of all."""
        self._put(partial(self._bound_gaps, end_ns, cause))

    def close(self) -> None:
        """Keep what is left, flush, and end the thread."""
        self._work.put(None)
        self._thread.join()
        refused, dropped = self.spool.error, self.spool.rows_dropped
        self.spool.close()
        self._note_losses()
        if lost := self.spool.rows_dropped - dropped:
            _log.error(
                "%s rows %s: %s; free some space, `tapewatch heal` fetches them again",
                f"{lost:,}",
                NOT_SPOOLED,
                refused,
            )
        self._flush_quarantine()
        # After a failure a gap may be missing in the book: the position must not pass it.
        if self.failure is None:
            self._note_position()
        self.quarantine.close()
        self.gaps.flush()

    def _put(self, work: _Work) -> None:
        if self.failure is not None:
            raise RuntimeError(f"the spool of {self._market} cannot be written") from self.failure
        self._work.put(work)

    def _run(self) -> None:
        try:
            while self._do_next():
                if time.monotonic() - self._flushed_at >= self._flush_s or self.spool.rows_held > _FLUSH_ROWS:
                    self._flush()
            self._flush()
        except BaseException as error:  # noqa: BLE001 - the worker raises it, and the process ends with it
            self.failure = error
            while not self._is_ending:
                self._is_ending = self._work.get() is None

    def _do_next(self) -> bool:
        """Do what is queued, neighbouring batches as one; False after the last."""
        gathered: list[_Batch] = []
        for work in self._take():
            if isinstance(work, _Batch):
                gathered.append(work)
                continue
            self._spool(gathered)
            gathered = []
            work()
        self._spool(gathered)
        return not self._is_ending

    def _take(self) -> list[_Work]:
        """What is queued within the gathering time, in order."""
        try:
            taken = [self._work.get(timeout=_POLL_S)]
        except queue.Empty:
            return []
        time.sleep(_GATHER_S if taken[0] is not None else 0)
        taken += [self._work.get() for _ in range(self._work.qsize())]
        self._is_ending = taken[-1] is None
        return [work for work in taken if work is not None]

    def _flush(self) -> None:
        self._flushed_at = time.monotonic()
        before = self.spool.error
        self._note_since()
        self.spool.flush()
        if self.spool.error and self.spool.error != before:
            _log.error("the spool cannot be written, rows wait in memory: %s", self.spool.error)
        elif before and not self.spool.error:
            _log.info("the spool can be written again")
        self._note_losses()
        self._flush_quarantine()
        self._note_position()
        if self.gaps.flush() and self._flushed_at - self._looked_at >= _HEALED_LOOK_S:
            self._looked_at = self._flushed_at
            self.gaps.forget_ended()

    def _note_position(self) -> None:
        """Note the end of the tape on disk, once the files are written.

        It never passes a gap that the book could not write. On a full disk the older position stays, which is early but
        right, and the next flush tries again.
        """
        if self._tape_ns is None or self._tape_ns == self._noted_ns:
            return
        if self.spool.error is not None or not self.gaps.is_noted:
            return
        try:
            self._write_position(str(self._tape_ns))
        except OSError as error:
            _log.warning("the end of the tape on disk cannot be noted now: %s", error)
        else:
            self._noted_ns = self._tape_ns

    def _note_since(self) -> None:
        """Note the first event before the files are written: the next process must see that its day was received."""
        if self._noted_ns is None and self._first_ns is not None and self.last_position is None and self.since is None:
            with contextlib.suppress(OSError):
                self._write_position(f"{_SINCE}{self._first_ns}")

    def _position_text(self) -> str:
        try:
            return self._position.read_text()
        except FileNotFoundError:
            return ""

    def _write_position(self, text: str) -> None:
        write_whole(self._position, text)

    def _note_losses(self) -> None:
        for loss in self.spool.take_losses():
            reason = f"{loss.rows:,} rows of {loss.table} found no room in the spool"
            _log.error("%s: a gap is opened", reason)
            self._open_gap("spool", loss.first, loss.last + 1, _CHANNELS.get(loss.table, "all"), reason)

    def _spool(self, batches: Sequence[_Batch]) -> None:
        if not batches:
            return
        batch = joined([given.batch for given in batches])
        closed = self.spool.add(batch)
        for hole in self._holes.see(batch.trades, batch.bars):
            start, end = hole.start - OVERLAP_NS, hole.end + OVERLAP_NS
            self._open_gap("sequence", start, end, hole.channel, hole.reason, symbol=hole.symbol)
        refused = pl.concat([batch.refused, closed]) if closed.height else batch.refused
        if refused.height:
            self._quarantine(refused)
        self._tape_ns = batches[-1].tape_ns
        if self._first_ns is None:
            self._first_ns = _median_time(batches[0].batch)

    def _quarantine(self, refused: pl.DataFrame) -> None:
        self.refused_rows += refused.height
        now_ns = time.time_ns()
        entries = LIVE_QUARANTINE.conform(
            refused.select(
                "source",
                "reason",
                "raw",
                entry_id=pl.format(f"{self._market}:{now_ns}:{{}}", pl.int_range(pl.len())),
                received_time=pl.lit(now_ns).cast(TIME),
            )
        )
        self.quarantine.add(entries)
        minute = int(time.monotonic() // 60)
        if minute != self._quarantine_minute:
            self._quarantine_minute, self._quarantined = minute, 0
        sent = entries.head(max(0, _DATABASE_ROWS_A_MINUTE - self._quarantined))
        self._quarantined += sent.height
        self._rows.put(LIVE_QUARANTINE, partition_of(self._market, now_ns), sent)
        if sent.height < entries.height:
            folder = self.quarantine.folder
            _log.warning("%d unreadable events are in %s only: too many came", entries.height - sent.height, folder)

    def _flush_quarantine(self) -> None:
        before = self.quarantine.rows_dropped
        self.quarantine.flush()
        if lost := self.quarantine.rows_dropped - before:
            _log.error("%d unreadable events are lost: %s", lost, self.quarantine.error)

    def _open_gap(
        self,
        cause: str,
        start_ns: int,
        end_ns: int | None,
        channel: str,
        reason: str | None,
        *,
        symbol: str | None = None,
        now_ns: int | None = None,
    ) -> None:
        now_ns = now_ns or time.time_ns()
        gap_id = self.gaps.open(
            cause, start_ns=start_ns, end_ns=end_ns, now_ns=now_ns, symbol=symbol, channel=channel, reason=reason
        )
        if symbol is None:
            # Numbers skipped here belong to this gap: they must not open another.
            self._holes.reset()
        state = "opened" if end_ns is not None else "grows"
        _log.warning("gap %s %s%s", gap_id, state, f": {reason}" if reason else "")

    def _bound_gaps(self, end_ns: int, cause: str | None) -> None:
        for gap_id in self.gaps.close_growing(end_ns, cause=cause):
            _log.info("gap %s is bounded and can be healed", gap_id)


def _median_time(batch: StreamBatch) -> int | None:
    """The median time of a batch's trades, else quotes, else bars, int64 ns UTC; None where there are none."""
    frame = next((frame for frame in (batch.trades, batch.quotes, batch.bars) if frame.height), None)
    return None if frame is None else int(frame["time"].to_physical().median())  # type: ignore[arg-type]


def position_file(folder: Path) -> Path:
    """The file in which a market's collector notes the end of the tape on disk."""
    return folder / "collector.position"
