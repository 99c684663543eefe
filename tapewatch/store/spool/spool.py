"""Writes batches of streamed rows as small Arrow files, which wait in the spool until they are merged into the lake.

A file gets its name (`files.py`) once it is on disk. The numbers of a producer only grow, also after a restart.
"""

import datetime as dt
import json
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import filelock
import polars as pl

from tapewatch.market.instruments import Market, session_at
from tapewatch.market.schema import Table
from tapewatch.market.tables.stream import STREAM_BARS, STREAM_QUOTES, STREAM_TRADES
from tapewatch.market.tables.tape import QUARANTINE
from tapewatch.store.durable import process_lock, sync_folder, write_whole
from tapewatch.store.spool.files import SPOOLED, HealedInterval, SpoolFile, market_days, market_files
from tapewatch.store.spool.rows import write_rows

#: Numbers are reserved in the state file in blocks, so that none is used twice even if the process is killed.
_NUMBERS_AT_ONCE = 1024
_HELD_ROWS = 2_000_000


class SpoolError(RuntimeError):
    """The spool cannot be written; the message names the file and the way out."""


class Batch(Protocol):
    """Frames of the streamed tables, as a decoder returns them (`StreamBatch`)."""

    trades: pl.DataFrame
    quotes: pl.DataFrame
    bars: pl.DataFrame
    others: dict[str, pl.DataFrame]


@dataclass(frozen=True, slots=True)
class Loss:
    """Rows dropped because the disk refused them, and the times of their first and last event in ns."""

    table: str
    rows: int
    first: int
    last: int


@dataclass
class SpoolState:
    """How far a producer's rows are on disk: newest event by table, newest receipt; int64 ns UTC."""

    last_time: dict[str, int] = field(default_factory=dict)
    last_received: int | None = None

    @property
    def newest(self) -> int | None:
        """The newest event of all tables; None before the first."""
        return max(self.last_time.values(), default=None)


class SpoolWriter:
    """Writes one producer's batches of one market; a context manager that flushes at its end.

    Rows are held until `flush`. While the disk refuses them they stay held for the next flush; above `held_rows` the oldest
    are dropped, see `take_losses`. Not thread-safe.

    Args:
        root: the spool's folder.
        market: the market of all rows.
        producer: `collector` or `healer`; one process at a time.
        held_rows: the most rows that wait in memory while the disk is full.

    Raises:
        SpoolError: another process writes as this producer, or the folder cannot be made.
    """

    def __init__(self, root: Path, market: Market, producer: str, *, held_rows: int = _HELD_ROWS) -> None:
        self.market, self.producer = market, producer
        self.folder = Path(root) / market.value
        self._held: dict[tuple[dt.date, str], list[pl.DataFrame]] = {}
        self._max_held = held_rows
        self._losses: list[Loss] = []
        #: Counts since the start; rows in memory; why the last flush failed (None if it did not).
        self.rows_written = self.rows_dropped = self.files_written = self.rows_held = 0
        self.error: str | None = None
        self._lock = self._take_lock()
        try:
            self._remove_stale()
            self.state, self._number = self._read_state()
        except BaseException:
            self._lock.release()
            raise
        self._newest, self._received = dict(self.state.last_time), self.state.last_received
        self._reserved = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Flush and release the lock. Rows that the disk still refuses are dropped, see `take_losses`."""
        if self._lock.is_locked:
            try:
                self.flush()
                self._drop_above(0)
            finally:
                self._lock.release()

    def add(self, batch: Batch) -> pl.DataFrame:
        """Hold a decoded batch; returns the refused rows of all its tables, see `add_rows`."""
        frames = [
            (STREAM_TRADES.name, batch.trades),
            (STREAM_QUOTES.name, batch.quotes),
            (STREAM_BARS.name, batch.bars),
        ]
        refused = [self.add_rows(name, frame) for name, frame in (*frames, *batch.others.items()) if frame.height]
        return pl.concat(refused) if refused else QUARANTINE.empty()

    def add_rows(self, table: Table | str, frame: pl.DataFrame) -> pl.DataFrame:
        """Hold rows of a streamed table, in order of arrival.

        Returns: the rows of days on which the market is closed, as `QUARANTINE` rows.

        Raises:
            SchemaError: the frame has other columns than the table.
            KeyError: no such streamed table.
        """
        table = SPOOLED[table] if isinstance(table, str) else table
        if frame.schema != table.schema:
            table.check(frame)
        closed = QUARANTINE.empty()
        for day, rows in market_days(frame, self.market):
            if day is None:
                closed = _closed(self.market, table, rows)
                continue
            self._held.setdefault((day, table.name), []).append(rows)
            self.rows_held += rows.height
        if frame.height:
            self._received = max(self._received or 0, int(frame["received_time"].to_physical().max()))  # type: ignore[arg-type]
        return closed

    def add_heal(self, table: Table, frame: pl.DataFrame, interval: HealedInterval) -> list[SpoolFile]:
        """Write at once all rows that a source of record has of an interval; they outrank streamed rows.

        A frame without rows is written too: it records that there was nothing, and triggers the runs of the day.

        Raises:
            SchemaError: the frame does not fit the table.
            SpoolError: the disk refuses the rows.
        """
        written = []
        frame = table.conform(frame)
        session = session_at(self.market, interval.start)
        days = market_days(frame, self.market) if frame.height else [(session.date if session else None, frame)]
        for day, rows in days:
            if day is None:
                continue
            try:
                file = self._target(day, table.name, self._next_number(), interval)
                _write(rows, Path(file.path))
                sync_folder(Path(file.path).parent)
            except OSError as error:
                raise SpoolError(f"cannot write to {self.folder}: {error}; free some space and heal again") from error
            written.append(file)
            self.rows_written += rows.height
        return written

    def flush(self) -> int:
        """Write the held rows, one file per table and day, then the state; returns the number of files.

        If the disk refuses, `error` is set and the rows stay held.
        """
        if not self._held and self.error is None:
            return 0
        written = 0
        self.error = None
        try:
            number = self._next_number()
            for key in list(self._held):
                self._write_held(key, number)
                written += 1
            self._commit_state()
        except OSError as error:
            self.error = f"{self.folder}: {error.strerror or error}"
            self._drop_above(self._max_held)
        return written

    def take_losses(self) -> list[Loss]:
        """The losses since the last call: the caller opens a gap for each."""
        losses, self._losses = self._losses, []
        return losses

    def _write_held(self, key: tuple[dt.date, str], number: int) -> None:
        rows = pl.concat(self._held[key], rechunk=True)
        path = Path(self._target(key[0], key[1], number).path)
        _write(rows, path)
        del self._held[key]
        self.rows_held -= rows.height
        sync_folder(path.parent)
        self.rows_written += rows.height
        self.files_written += 1
        newest = int(rows["time"].to_physical().max())  # type: ignore[arg-type]
        self._newest[key[1]] = max(self._newest.get(key[1], newest), newest)

    def _drop_above(self, bound: int) -> None:
        for key in list(self._held):
            if self.rows_held <= bound:
                return
            rows = pl.concat(self._held.pop(key))
            times = rows["time"].to_physical()
            self._losses.append(Loss(key[1], rows.height, int(times.min()), int(times.max())))  # type: ignore[arg-type]
            self.rows_held -= rows.height
            self.rows_dropped += rows.height

    def _target(self, day: dt.date, table: str, number: int, heals: HealedInterval | None = None) -> SpoolFile:
        return SpoolFile.at(self.folder / day.isoformat(), self.producer, number, table, heals)

    def _next_number(self) -> int:
        number = self._number
        if number >= self._reserved:
            self._write_state(number + _NUMBERS_AT_ONCE)
            self._reserved = number + _NUMBERS_AT_ONCE
        self._number = number + 1
        return number

    def _commit_state(self) -> None:
        """The state is written after the files: if the process is killed in between, it is too old, never too new."""
        self.state = SpoolState(dict(self._newest), self._received)
        self._write_state(self._reserved)

    def _write_state(self, next_number: int) -> None:
        stated = {"next_number": next_number, "last_time": self.state.last_time}
        write_whole(self._state_path, json.dumps(stated | {"last_received": self.state.last_received}))

    def _read_state(self) -> tuple[SpoolState, int]:
        waiting = [file.number for files in market_files(self.folder).values() for file in files]
        beyond = 1 + max(waiting, default=0)
        try:
            stated = json.loads(self._state_path.read_text())
            number = max(int(stated["next_number"]), beyond)
            return SpoolState(stated["last_time"], stated["last_received"]), number
        except FileNotFoundError:
            return SpoolState(), beyond
        except (ValueError, KeyError, TypeError) as error:
            raise SpoolError(f"{self._state_path} is damaged ({error}): remove it once the spool is merged") from error

    @property
    def _state_path(self) -> Path:
        return self.folder / f"{self.producer}.state.json"

    def _take_lock(self) -> filelock.BaseFileLock:
        try:
            lock = process_lock(self.folder / f"{self.producer}.lock")
            lock.acquire(timeout=0)
        except filelock.Timeout as error:
            raise SpoolError(
                f"another process writes to {self.folder} as {self.producer}: stop it first (`tapewatch status`)"
            ) from error
        except OSError as error:
            raise SpoolError(f"cannot make the spool {self.folder} ({error.strerror}): set TAPEWATCH_HOME") from error
        return lock

    def _remove_stale(self) -> None:
        for path in self.folder.glob(f"*/.{self.producer}-*.tmp"):
            path.unlink(missing_ok=True)


def _write(rows: pl.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, partial(write_rows, rows))


def _closed(market: Market, table: Table, rows: pl.DataFrame) -> pl.DataFrame:
    return QUARANTINE.conform(
        rows.select(
            source=pl.lit(f"stream of {market}, {table.name}"),
            line=pl.int_range(1, pl.len() + 1, dtype=pl.Int64),
            reason=pl.format("time {} is on no trading day of the market", pl.col("time")),
            raw=pl.struct(pl.all()).struct.json_encode(),
        )
    )
