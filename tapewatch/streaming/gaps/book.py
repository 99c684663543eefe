"""The gap book: stretches of the tape that a stream did not deliver, recorded until they are filled.

A gap is growing while the stream is interrupted, open once its end is known, and finally healed or unhealable.
"""

import datetime as dt
import json
import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import polars as pl
import sqlalchemy as sa

from tapewatch.market.instruments import Market, Partition, day_of
from tapewatch.market.schema import Table
from tapewatch.market.tables.live import GAPS
from tapewatch.market.tables.tape import TIME
from tapewatch.store.database.database import Database, DatabaseError
from tapewatch.store.database.engine import transaction
from tapewatch.store.database.rows import keyed
from tapewatch.store.database.tables import twin
from tapewatch.store.durable import write_whole
from tapewatch.store.spool.files import HealedInterval

GROWING, OPEN, HEALED, UNHEALABLE = "growing", "open", "healed", "unhealable"
STATUSES = (GROWING, OPEN, HEALED, UNHEALABLE)
#: A gap extends this far beyond the rows on either side, to include rows that arrived out of order.
OVERLAP_NS = 2 * 10**9
_NS_PER_MICROSECOND = 1_000
_log = logging.getLogger(__name__)
_TIMES = tuple(name for name, dtype in GAPS.schema.items() if dtype == TIME)

Row = dict[str, Any]


class GapStore(Protocol):
    """The operational database as the gap book uses it."""

    def upsert(self, table: Table, partition: Partition, frame: pl.DataFrame) -> int:
        """Insert or replace rows by key."""

    def read(self, table: Table, *, market: Market, start: dt.datetime, where: Mapping[str, object]) -> pl.DataFrame:
        """Rows of a table from a time on."""


def gap_frame(rows: list[Row]) -> pl.DataFrame:
    """`GAPS` rows from dicts whose times are int64 ns UTC or null."""
    schema = {name: pl.Int64() if name in _TIMES else dtype for name, dtype in GAPS.schema.items()}
    return GAPS.conform(pl.DataFrame(rows, schema=schema).with_columns(pl.col(_TIMES).cast(TIME)))


def gap_rows(frame: pl.DataFrame) -> list[Row]:
    """Dicts with int64 ns times from `GAPS` rows; the inverse of `gap_frame`."""
    return frame.select(GAPS.schema.names()).with_columns(pl.col(_TIMES).to_physical()).to_dicts()


def partition_of(market: Market, ns: int) -> Partition:
    """The day under which a gap is filed, whether or not the market is open on it."""
    return Partition(day_of(market, ns), market)


def save_gaps(database: GapStore, market: Market, rows: list[Row]) -> None:
    """Write gaps to the database, each under the day on which it starts.

    Raises:
        DatabaseError: the database refuses or is unavailable.
    """
    by_day: dict[Partition, list[Row]] = {}
    for row in rows:
        by_day.setdefault(partition_of(market, row["start_time"]), []).append(row)
    for partition, found in by_day.items():
        database.upsert(GAPS, partition, gap_frame(found))


def change_gap(database: Database, market: Market, gap: Row, changes: Row) -> bool:
    """Change a gap in the database unless it changed since it was read; returns whether it did so.

    One statement does both, since a collector may extend the gap at any time.

    Raises:
        DatabaseError: the database refuses or is unavailable.
    """
    gaps = twin(GAPS)
    read, changed = (
        keyed(GAPS, partition_of(market, gap["start_time"]), gap_frame([row])).row(0, named=True)
        for row in (gap, gap | changes)
    )
    is_as_read = [gaps.c[name] == read[name] for name in ("market", "gap_id", "status", "end_time")]
    with transaction(database.engine) as connection:
        done = connection.execute(sa.update(gaps).where(*is_as_read).values({name: changed[name] for name in changes}))
    return done.rowcount > 0


def until_merged(gaps: pl.DataFrame, waiting: Iterable[HealedInterval]) -> pl.DataFrame:
    """`GAPS` as they stand in the lake: a healed gap is open while any of its rows wait in the spool.

    Args:
        gaps: rows of `GAPS` of one market.
        waiting: intervals of the healer's batches in the spool; an empty symbol means every symbol.
    """
    waits = pl.lit(value=False)
    for heal in waiting:
        touches = (pl.col("start_time").to_physical() < heal.end) & (pl.col("end_time").to_physical() > heal.start)
        waits |= touches & (pl.col("symbol").is_null() | (heal.symbol == "") | (pl.col("symbol") == heal.symbol))
    status = pl.when(pl.col("status") == HEALED, waits).then(pl.lit(OPEN)).otherwise("status")
    return gaps.with_columns(status=status)


class GapBook:
    """One market's gaps: written to a journal at once, and to the database as soon as it is available.

    A gap that is growing when the process ends is growing in the next process. The same gap is one row. Not thread-safe.

    Args:
        database: where gaps are stored; None keeps them in the journal until `database` is set.
        journal: a file of this book alone, one JSON line per change.
    """

    def __init__(self, database: GapStore | None, journal: Path, market: Market) -> None:
        self.database = database
        self.market = market
        self._journal = Path(journal)
        self._rows: dict[str, Row] = {}
        self._unsaved: set[str] = set()
        #: Why the last write to the database failed; None if it succeeded.
        self.error: str | None = None
        #: Whether the journal is complete. After a failed write each flush tries again.
        self.is_noted = True
        self._replay()
        self._note(None)

    def open(
        self,
        cause: str,
        *,
        start_ns: int,
        now_ns: int,
        end_ns: int | None = None,
        symbol: str | None = None,
        channel: str = "all",
        reason: str | None = None,
    ) -> str:
        """Open a gap, growing without `end_ns`; returns its id. Opening the same gap again can only extend it.

        Args:
            cause: `disconnect`, `dropped`, `malformed`, `sequence`, `late_start`, `restart` or `spool`.
            start_ns: first time on the tape at which rows may be missing; the caller subtracts `OVERLAP_NS`.
            now_ns: this machine's time.
            end_ns: last such time.
            symbol: the only symbol affected; None for all.
            channel: `trades`, `quotes`, `bars` or `all`.
            reason: details for people.
        """
        start_ns = _whole_microseconds(start_ns)
        subject = "" if symbol is None and channel == "all" else f":{symbol or '*'}:{channel}"
        gap_id = f"{self.market}:{cause}:{_iso(start_ns)}{subject}"
        known = self._rows.get(gap_id)
        if known is not None and (known["status"] == GROWING or (end_ns is not None and end_ns <= known["end_time"])):
            return gap_id
        row = {
            "gap_id": gap_id,
            "symbol": symbol,
            "channel": channel,
            "cause": cause,
            "start_time": start_ns,
            "end_time": None,
            "opened_time": now_ns,
            "healed_time": None,
            "status": GROWING,
            "healed_by": None,
            "rows_healed": None,
            "attempts": 0,
            "reason": reason,
        }
        if end_ns is not None:
            _bound(row, end_ns)
        self._change([row])
        return gap_id

    def close_growing(self, end_ns: int, *, cause: str | None = None) -> list[str]:
        """Set the end of every growing gap (of `cause`, or of any) to `end_ns`; they are open from now on.

        A gap that would end before it starts ends where it starts.
        """
        closed = [row for row in self._rows.values() if row["status"] == GROWING and cause in (None, row["cause"])]
        for row in closed:
            _bound(row, end_ns)
        self._change(closed)
        return [row["gap_id"] for row in closed]

    @property
    def count(self) -> int:
        """Number of gaps that are growing, or wait to be saved or healed, as of the last `forget_ended`."""
        return len(self._rows)

    def open_gaps(self) -> pl.DataFrame:
        """The gaps that `count` counts, as `GAPS` rows."""
        return gap_frame(list(self._rows.values())).sort("start_time")

    def flush(self) -> bool:
        """Write unsaved gaps to the database; False where the database (see `error`) or the journal refuses."""
        if not self.is_noted and not self._note(None):
            return False
        if not self._unsaved or self.database is None:
            return not self._unsaved
        saved = sorted(self._unsaved)
        try:
            save_gaps(self.database, self.market, [self._rows[gap_id] for gap_id in saved])
        except DatabaseError as error:
            self.error = str(error)
            return False
        self.error = None
        self._unsaved.clear()
        self._note([{"saved": saved}])
        return True

    def forget_ended(self) -> None:
        """Drop the gaps that the healer ended, so that a collector can run for months. Does nothing without a database.

        A gap that was extended while the healer filled it is written to the database again.
        """
        saved = {i: row for i, row in self._rows.items() if row["status"] == OPEN and i not in self._unsaved}
        if not saved or self.database is None:
            return
        first = dt.datetime.fromtimestamp(min(row["start_time"] for row in saved.values()) // 10**9, dt.UTC)
        try:
            ended = self.database.read(GAPS, market=self.market, start=first, where={"status": (HEALED, UNHEALABLE)})
        except DatabaseError:
            return
        ends = {row["gap_id"]: row["end_time"] for row in gap_rows(ended) if row["gap_id"] in saved}
        outgrown = {gap_id for gap_id, end in ends.items() if end < saved[gap_id]["end_time"]}
        if outgrown:
            self._unsaved |= outgrown
            self.flush()
        if forgotten := ends.keys() - outgrown:
            self._rows = {i: row for i, row in self._rows.items() if i not in forgotten}
            self._note(None)

    def _change(self, rows: list[Row]) -> None:
        """Record changed rows: in the journal first, so that they survive the process."""
        if not rows:
            return
        for row in rows:
            self._rows[row["gap_id"]] = row
            self._unsaved.add(row["gap_id"])
        self._note([{"gap": row} for row in rows])
        self.flush()

    def _note(self, entries: list[Mapping[str, Any]] | None) -> bool:
        """Append changes to the journal, or rewrite it (None); False where the disk refuses."""
        try:
            if entries is None or not self.is_noted:
                # A refused write may have left half a line.
                self._compact()
            else:
                self._append(entries)
        except OSError as error:
            if self.is_noted:
                _log.error("cannot write the journal of gaps, trying again later: %s", error)
            self.is_noted = False
        else:
            self.is_noted = True
        return self.is_noted

    def _append(self, entries: list[Mapping[str, Any]]) -> None:
        with self._journal.open("a") as stream:
            stream.writelines(json.dumps(entry) + "\n" for entry in entries)
            stream.flush()
            os.fsync(stream.fileno())

    def _replay(self) -> None:
        self._journal.parent.mkdir(parents=True, exist_ok=True)
        if not self._journal.exists():
            return
        for line in self._journal.read_text().splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                # The process was killed while it wrote this line, before the change took effect.
                continue
            if "gap" in entry:
                self._rows[entry["gap"]["gap_id"]] = entry["gap"]
                self._unsaved.add(entry["gap"]["gap_id"])
            else:
                self._unsaved.difference_update(entry["saved"])

    def _compact(self) -> None:
        """Rewrite the journal without dropped gaps."""
        lines = [json.dumps({"gap": row}) for row in self._rows.values()]
        lines += [json.dumps({"saved": sorted(set(self._rows) - self._unsaved)})]
        write_whole(self._journal, "\n".join(lines) + "\n")


def _bound(row: Row, end_ns: int) -> None:
    row["end_time"] = max(_whole_microseconds(end_ns + _NS_PER_MICROSECOND - 1), row["start_time"])
    row["status"] = OPEN


def _whole_microseconds(ns: int) -> int:
    """Rounded down to the database's resolution, so that a gap read back is equal."""
    return ns // _NS_PER_MICROSECOND * _NS_PER_MICROSECOND


def _iso(ns: int) -> str:
    return dt.datetime.fromtimestamp(ns // 10**9, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{ns % 10**9 // 1000:06d}Z"
