"""Keeps what a collector received: batches to the spool, gaps to their book, unreadable rows to quarantine.

All of it waits for disks, so it has a thread of its own; what it is given stays in order.
"""

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from tapewatch.feeds.stream.decode.decoder import StreamBatch
from tapewatch.market.instruments import Market
from tapewatch.market.live_tables import LIVE_QUARANTINE, STREAM_BARS, STREAM_QUOTES, STREAM_TRADES
from tapewatch.market.tables import TIME
from tapewatch.store.durable import write_whole
from tapewatch.store.spool.quarantine import QuarantineFiles, quarantine_folder
from tapewatch.store.spool.spool import SpoolWriter
from tapewatch.streaming.collector.gathering import joined
from tapewatch.streaming.collector.live_database import RowWriter
from tapewatch.streaming.gaps.book import OVERLAP_NS, GapBook, partition_of
from tapewatch.streaming.gaps.holes import HoleFinder

_log = logging.getLogger(__name__)
_WAITING_BATCHES = 512
_FLUSH_ROWS = 250_000
#: Between two questions for what the healer has filled.
_ASK_S = 10.0
_POLL_S = 0.2
#: Batches of so long are kept as one: a small one costs as much as a large one.
_GATHER_S = 0.1
#: Every unreadable event is kept in files beside the spool; so many of a minute can be asked of the database too.
_DATABASE_ROWS_A_MINUTE = 5_000
#: Before an event in the file of the position: up to where the tape is kept was never known.
_SINCE = "since "
_CHANNELS = {STREAM_TRADES.name: "trades", STREAM_QUOTES.name: "quotes", STREAM_BARS.name: "bars"}


@dataclass(frozen=True, slots=True)
class _Batch:
    batch: StreamBatch
    #: Up to where the tape is kept with this batch, int64 ns UTC; None where that is not known yet.
    tape_ns: int | None


_Work = Callable[[], None] | _Batch


class Keeper:
    """The thread that keeps.

    Args:
        spool, gaps: of this market; used by this thread alone once it runs.
        rows: takes quarantined rows.
        flush_s: how long rows wait in memory at most before they are on disk.
    """

    def __init__(self, spool: SpoolWriter, gaps: GapBook, rows: RowWriter, *, flush_s: float) -> None:
        self.spool, self.gaps = spool, gaps
        self._rows = rows
        self._flush_s = flush_s
        self._work: queue.Queue[_Work | None] = queue.Queue(_WAITING_BATCHES)
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
        self._flushed_at = self._asked_at = time.monotonic()
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
        """Up to where earlier processes kept the tape, gaps apart, int64 ns UTC; None where none came to know it."""
        try:
            noted = int(self._position.read_text())
        except (FileNotFoundError, ValueError):
            return None
        return noted if self.spool.state.newest is None else min(noted, self.spool.state.newest)

    @property
    def since(self) -> int | None:
        """An event that came before any process knew how far the tape is kept, int64 ns UTC; None where none is noted."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            return int(self._position.read_text().removeprefix(_SINCE)) if self.last_position is None else None
        return None

    def start(self) -> None:
        """Begin to keep."""
        # From here on rows may be lost with the process: the next one has to know that there was one. A full disk says so later.
        with contextlib.suppress(OSError):
            self._position.touch()
        self._thread.start()

    def keep(self, batch: StreamBatch, tape_ns: int | None) -> None:
        """Take a batch; waits only where the disk is hundreds of batches behind, and the frame queue fills meanwhile.

        `tape_ns` is the newest event that the tape's clock believes: `last_position` answers it once the batch is on disk.
        It is None as long as nobody has said what lies between an earlier process's tape and this one's.
        """
        self._put(_Batch(batch, tape_ns))

    def open_gap(
        self, cause: str, *, start_ns: int, end_ns: int | None = None, channel: str = "all", reason: str | None = None
    ) -> None:
        """Put a gap into the book, after all that was given before."""
        now_ns = time.time_ns()
        self._put(lambda: self._open_gap(cause, start_ns, end_ns, now_ns, channel, reason))

    def bound_gaps(self, end_ns: int, *, cause: str | None = None) -> None:
        """Bound the growing gaps of a cause, or of all."""
        self._put(lambda: self._bound_gaps(end_ns, cause))

    def close(self) -> None:
        """Keep what is left, flush, and end the thread."""
        self._work.put(None)
        self._thread.join()
        self.spool.close()
        self._note_losses()
        self._flush_quarantine()
        if self.failure is None:
            # What failed may have been a gap that the book does not tell of.
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
        """Do what has come, neighbouring batches as one; False once nothing more comes."""
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
        """What comes within the time of gathering, in order."""
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
        if self.spool.error != before:
            if self.spool.error:
                _log.error("the spool takes no rows, they wait in memory: %s", self.spool.error)
            else:
                _log.info("the spool takes rows again")
        self._note_losses()
        self._flush_quarantine()
        self._note_position()
        if self.gaps.flush() and self._flushed_at - self._asked_at >= _ASK_S:
            self._asked_at = self._flushed_at
            self.gaps.forget_ended()

    def _note_position(self) -> None:
        """Follows the files, as the spool's own state does; that one also follows events whose clock is wrong.

        A disk that was filled since the files were written is asked again: the position before is not wrong, only early. It
        never goes beyond a gap that the book could not put on disk.
        """
        if self._tape_ns is None or self._tape_ns == self._noted_ns:
            return
        if self.spool.error is not None or not self.gaps.is_noted:
            return
        try:
            self._write_position(str(self._tape_ns))
        except OSError as error:
            _log.warning("how far the tape is on disk cannot be noted now: %s", error)
        else:
            self._noted_ns = self._tape_ns

    def _note_since(self) -> None:
        """Before the files: of a day of which there is one, the next process has to know."""
        if self._noted_ns is None and self._first_ns is not None and self.last_position is None and self.since is None:
            with contextlib.suppress(OSError):
                self._write_position(f"{_SINCE}{self._first_ns}")

    def _write_position(self, words: str) -> None:
        write_whole(self._position, words)

    def _note_losses(self) -> None:
        for loss in self.spool.take_losses():
            reason = f"{loss.rows:,} rows of {loss.table} found no room in the spool"
            _log.error("%s: a gap is opened", reason)
            channel = _CHANNELS.get(loss.table, "all")
            self._open_gap("spool", loss.first, loss.last + 1, time.time_ns(), channel, reason)

    def _spool(self, batches: Sequence[_Batch]) -> None:
        if not batches:
            return
        batch = joined([given.batch for given in batches])
        closed = self.spool.add(batch)
        for hole in self._holes.see(batch.trades, batch.bars):
            start, end = hole.start - OVERLAP_NS, hole.end + OVERLAP_NS
            self._open_gap("sequence", start, end, time.time_ns(), hole.channel, hole.reason, symbol=hole.symbol)
        refused = pl.concat([batch.refused, closed]) if closed.height else batch.refused
        if refused.height:
            self._quarantine(refused)
        self._tape_ns = batches[-1].tape_ns
        if self._first_ns is None:
            self._first_ns = _time_of(batches[0].batch)

    def _quarantine(self, refused: pl.DataFrame) -> None:
        self.refused_rows += refused.height
        now_ns = time.time_ns()
        entries = LIVE_QUARANTINE.conform(
            refused.select(
                entry_id=pl.format(f"{self._market}:{now_ns}:{{}}", pl.int_range(pl.len())),
                source=pl.col("source"),
                received_time=pl.lit(now_ns).cast(TIME),
                reason=pl.col("reason"),
                raw=pl.col("raw"),
            )
        )
        self.quarantine.add(entries)
        minute = int(time.monotonic() // 60)
        if minute != self._quarantine_minute:
            self._quarantine_minute, self._quarantined = minute, 0
        told = entries.head(max(0, _DATABASE_ROWS_A_MINUTE - self._quarantined))
        self._quarantined += told.height
        self._rows.put(LIVE_QUARANTINE, partition_of(self._market, now_ns), told)
        if told.height < entries.height:
            folder = self.quarantine.folder
            _log.warning("%d unreadable events are in %s only: too many came", entries.height - told.height, folder)

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
        now_ns: int,
        channel: str,
        reason: str | None,
        *,
        symbol: str | None = None,
    ) -> None:
        gap_id = self.gaps.open(
            cause, start_ns=start_ns, end_ns=end_ns, now_ns=now_ns, symbol=symbol, channel=channel, reason=reason
        )
        if symbol is None:
            # What is skipped now is this gap, not another.
            self._holes.reset()
        _log.warning(
            "gap %s %s%s", gap_id, "opened" if end_ns is not None else "grows", f": {reason}" if reason else ""
        )

    def _bound_gaps(self, end_ns: int, cause: str | None) -> None:
        for gap_id in self.gaps.close_growing(end_ns, cause=cause):
            _log.info("gap %s is bounded and can be healed", gap_id)


def _time_of(batch: StreamBatch) -> int | None:
    """The median time of a batch's trades, else quotes, else bars, int64 ns UTC; None where there are none."""
    frame = next((frame for frame in (batch.trades, batch.quotes, batch.bars) if frame.height), None)
    return None if frame is None else int(frame["time"].to_physical().median())  # type: ignore[arg-type]


def position_file(folder: Path) -> Path:
    """Where a market's collector notes how far the tape on disk reaches."""
    return folder / "collector.position"
