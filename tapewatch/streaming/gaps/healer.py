"""Fills gaps: fetches the missing rows from a source of record and writes them to the spool.

The rows are written before the gap is closed. A healer killed in between fills the gap again with the same rows.
"""

import datetime as dt
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from tapewatch.feeds.errors import EntitlementError, NotFoundError
from tapewatch.feeds.plans.table import TapeTable
from tapewatch.feeds.ranges import RecordSource
from tapewatch.feeds.source import SourceError
from tapewatch.market.backoff import backoff_s
from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND, Market, Partition, session_of
from tapewatch.market.schema import Table
from tapewatch.market.tables.live import GAPS
from tapewatch.market.tables.stream import STREAM_BARS, STREAM_QUOTES, STREAM_TRADES
from tapewatch.market.tables.tape import TIME
from tapewatch.store.database.database import Database, DatabaseError
from tapewatch.store.lake.lake import Lake
from tapewatch.store.spool.files import HealedInterval, waiting_for
from tapewatch.store.spool.spool import SpoolError, SpoolWriter
from tapewatch.streaming.gaps.book import HEALED, OPEN, UNHEALABLE, Row, change_gap, gap_rows, partition_of
from tapewatch.streaming.gaps.corrections import CORRECTED, day_before, held_symbols, is_as_held
from tapewatch.streaming.stop import Stop

#: Seconds between two attempts at a gap; doubled each time up to the longest.
FIRST_WAIT_S, LONGEST_WAIT_S = 30, 3600
#: Healed stretches start and end on whole seconds: the stream truncates times, and a truncated row must stay inside.
_GRAIN_NS = NS_PER_SECOND
_TABLES = {TapeTable.TRADES: STREAM_TRADES, TapeTable.QUOTES: STREAM_QUOTES, TapeTable.BARS: STREAM_BARS}
#: The symbols that a market's stream was subscribed to; empty if it was subscribed to all.
Symbols = Callable[[Partition], Sequence[str]]
#: The part of a gap that lies in one day: from, to, int64 ns UTC.
Stretch = tuple[Partition, int, int]
#: How far trades or bars were read in this round, by day, table and symbols.
ReadUntil = dict[tuple[Partition, TapeTable, tuple[str, ...]], int]
_log = logging.getLogger(__name__)


class _NotReadyError(Exception):
    """No source has the rows yet."""


class _UnhealableError(Exception):
    """No source will have the rows; the message says why and what to change."""


@dataclass
class HealSummary:
    """The result of one round: ids of gaps by outcome, and the number of rows fetched."""

    healed: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    unhealable: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    rows: int = 0


class Healer:
    """Fills the open gaps of all markets from `sources`, in order of preference.

    `symbols` are the symbols of a gap that affects all symbols. Days in `lake` are compared with the sources, since a
    correction of them may have come within a gap of the next day.
    """

    def __init__(
        self, database: Database, sources: Sequence[RecordSource], spool_root: Path, symbols: Symbols, lake: Lake
    ) -> None:
        self._database, self._sources, self._symbols, self._lake = database, sources, symbols, lake
        self._spool_root = Path(spool_root)
        self._next_try: dict[str, dt.datetime] = {}
        self._read_until: ReadUntil = {}
        self._compared: set[tuple[Partition, TapeTable, tuple[str, ...]]] = set()

    def run(self, stop: Stop, *, every_s: float = 30) -> None:
        """Heal until `stop` is set; retries while the database is unavailable."""
        while not stop.is_set():
            try:
                summary = self.heal_once(dt.datetime.now(dt.UTC))
            except (DatabaseError, SpoolError) as error:
                _log.warning("%s; trying again in %.0f s", error, every_s)
            else:
                if summary.healed or summary.failed or summary.unhealable:
                    _log.info("%d gap(s) healed, %d failed", len(summary.healed), len(summary.failed))
            stop.wait(every_s)

    def heal_once(self, now: dt.datetime, *, market: Market | None = None, patiently: bool = True) -> HealSummary:
        """Try every open gap once, except those that failed shortly before.

        `patiently=False` tries these too, and unhealable gaps, since a plan or a setting may have changed.

        Raises:
            DatabaseError: the gaps cannot be read or written.
            SpoolError: another process heals, or the disk is full.
        """
        summary = HealSummary()
        self._read_until.clear()
        self._compared.clear()
        statuses = (OPEN,) if patiently else (OPEN, UNHEALABLE)
        found = pl.concat(self._database.read(GAPS, market=market, where={"status": status}) for status in statuses)
        for (name,), gaps in found.group_by("market", maintain_order=True):
            with SpoolWriter(self._spool_root, Market(name), "healer") as spool:
                for gap in gap_rows(gaps):
                    if patiently and self._is_early(gap, now):
                        summary.waiting.append(gap["gap_id"])
                        continue
                    self._heal(spool, gap, now, summary)
        return summary

    def _is_early(self, gap: Row, now: dt.datetime) -> bool:
        """Whether a gap must still wait after a failure. A clock that was set back does not extend the wait."""
        next_try = self._next_try.get(gap["gap_id"], now)
        return now < next_try <= now + dt.timedelta(seconds=LONGEST_WAIT_S)

    def _heal(self, spool: SpoolWriter, gap: Row, now: dt.datetime, summary: HealSummary) -> None:
        gap_id, changes, fate = gap["gap_id"], {"attempts": gap["attempts"] + 1}, summary.healed
        try:
            rows, healed_by, reason = self._fill(spool, gap, now)
        except _NotReadyError:
            if gap["status"] == OPEN:
                summary.waiting.append(gap_id)
                return
            changes, fate = {"status": OPEN}, summary.waiting
        except _UnhealableError as error:
            if gap["status"] == OPEN:
                for _, start, end in _stretches(spool.market, gap):
                    _write_empty_batch(spool, gap, start, end)
            changes |= {"status": UNHEALABLE, "reason": str(error)}
            fate = summary.unhealable
        except SourceError as error:
            wait_s = backoff_s(gap["attempts"], FIRST_WAIT_S, LONGEST_WAIT_S)
            self._next_try[gap_id] = now + dt.timedelta(seconds=wait_s)
            changes |= {"status": OPEN, "reason": str(error)}
            fate = summary.failed
            _log.warning("gap %s is not filled yet: %s; next in %.0f s", gap_id, error, wait_s)
        else:
            healed_ns = int(now.timestamp()) * NS_PER_SECOND
            changes |= {"status": HEALED, "healed_time": healed_ns, "healed_by": healed_by, "rows_healed": rows}
            changes |= {"reason": reason or gap["reason"]}
            summary.rows += rows
        # A gap that its collector extended meanwhile waits: only part of it was filled.
        is_changed = change_gap(self._database, spool.market, gap, changes)
        (fate if is_changed else summary.waiting).append(gap_id)

    def _fill(self, spool: SpoolWriter, gap: Row, now: dt.datetime) -> tuple[int, str, str]:
        """Fetch a whole gap: number of rows, names of the sources, and what no source could deliver."""
        rows, names, lacks = 0, set(), set()
        for partition, start, end in _stretches(spool.market, gap):
            found, name, lack = self._fill_stretch(spool, gap, (partition, start, end), now)
            if not found:
                _write_empty_batch(spool, gap, start, end)
            rows += found
            names.add(name)
            lacks.update([lack] if lack else [])
        return rows, "+".join(sorted(names)) or self._sources[0].name, "; ".join(sorted(lacks))

    def _fill_stretch(self, spool: SpoolWriter, gap: Row, stretch: Stretch, now: dt.datetime) -> tuple[int, str, str]:
        """Fetch the part of a gap in one day; a source that refuses despite its plan is skipped for the next."""
        partition, _, end = stretch
        symbols = [gap["symbol"]] if gap["symbol"] else list(self._symbols(partition))
        refused: dict[str, str] = {}
        while True:
            source, tapes, lack = self._source_for(gap, partition, end, now, refused)
            if source.name == "rest" and not symbols:
                raise SourceError(f"no symbols to fetch: set TAPEWATCH_SYMBOLS_{spool.market.upper()}")
            try:
                found = sum(self._fetch(spool, source, tape, symbols, stretch) for tape in tapes)
                for tape in set(tapes) & set(CORRECTED):
                    self._correct_day_before(spool, source, tape, symbols, partition, now)
            except EntitlementError as error:
                refused[source.name] = str(error)
            else:
                return found, source.name, lack

    def _fetch(
        self, spool: SpoolWriter, source: RecordSource, tape: TapeTable, symbols: Sequence[str], stretch: Stretch
    ) -> int:
        """Write a source's rows to the spool; returns how many lie in the stretch.

        Trades and bars are read from the day's start, as any of them may have been corrected within the gap; what this round
        has read, after the gap's end, is not read again.
        """
        partition, start, end = stretch
        what, rows, since = (partition, tape, tuple(symbols)), 0, start
        if tape is not TapeTable.QUOTES:
            since = min(start, self._read_until.get(what, partition.session.day_start))
        if tape is TapeTable.BARS:
            since, end = since // NS_PER_MINUTE * NS_PER_MINUTE, -(-end // NS_PER_MINUTE) * NS_PER_MINUTE
            start = start // NS_PER_MINUTE * NS_PER_MINUTE
        for symbol, frame in _delivered(source, tape, partition, symbols, since, end):
            table = _TABLES[tape]
            spool.add_heal(table, _as_streamed(table, frame, source.name), HealedInterval(symbol, since, end))
            rows += int((frame["time"].to_physical() >= start).sum())
        self._read_until[what] = max(end, self._read_until.get(what, end))
        return rows

    def _correct_day_before(
        self,
        spool: SpoolWriter,
        source: RecordSource,
        tape: TapeTable,
        symbols: Sequence[str],
        partition: Partition,
        now: dt.datetime,
    ) -> None:
        """Write the rows of the day before a gap's for each symbol of which the source states other ones than the lake holds.

        Where batches of that day still wait for the lake, what the source states outranks them, and is written without a look.
        """
        day = day_before(partition)
        what = (day, tape, tuple(symbols))
        if what in self._compared or tape not in source.tapes(day.market, day.date, now.date())[0]:
            return
        is_waiting, session, table = bool(waiting_for(self._spool_root, day)), day.session, _TABLES[tape]
        wanted = symbols if is_waiting else held_symbols(self._lake, tape, day, symbols)
        if not wanted and not is_waiting:
            return
        for symbol, frame in _delivered(source, tape, day, wanted, session.day_start, session.day_end):
            if is_waiting or not is_as_held(self._lake, tape, day, symbol, frame):
                _log.info("%s of %s on %s are fetched again: some were corrected", tape, symbol, day.date)
                interval = HealedInterval(symbol, session.day_start, session.day_end)
                spool.add_heal(table, _as_streamed(table, frame, source.name), interval)
        self._compared.add(what)

    def _source_for(
        self, gap: Row, partition: Partition, end: int, now: dt.datetime, refused: Mapping[str, str]
    ) -> tuple[RecordSource, list[TapeTable], str]:
        """The first source that offers the missing tables, has them now, and has not refused."""
        now_ns, refusals, has_to_wait = int(now.timestamp() * NS_PER_SECOND), [], False
        for source in self._sources:
            if source.name in refused:
                refusals.append(refused[source.name])
                continue
            if source.ready_at(partition, end) > now_ns:
                has_to_wait = True
                continue
            granted, refusal = source.tapes(partition.market, partition.date, now.date())
            tapes = _wanted(gap["channel"], granted)
            if tapes:
                return source, tapes, refusal if gap["channel"] == "all" else ""
            refusals.append(refusal or f"{source.name} has no {gap['channel']} of {partition.market}")
        if has_to_wait:
            raise _NotReadyError
        raise _UnhealableError(
            "; ".join(refusals) or "no source of record: set POLYGON_API_KEY or TAPEWATCH_FLAT_FILES"
        )


def _delivered(
    source: RecordSource, tape: TapeTable, partition: Partition, symbols: Sequence[str], start: int, end: int
) -> Iterator[tuple[str, pl.DataFrame]]:
    """Each symbol's rows, where there are any; a symbol that the source does not list is left out."""
    for wanted in [[symbol] for symbol in symbols] if source.name == "rest" else [list(symbols)]:
        try:
            for symbol, frame in source.between(tape, partition, wanted, start, end):
                if frame.height:
                    yield symbol, frame
        except NotFoundError as error:
            _log.warning("%s: skipped while filling a gap", error)


def _wanted(channel: str, granted: Sequence[TapeTable]) -> list[TapeTable]:
    """The tables that fill a gap. Bars only without trades: otherwise they are built from the trades."""
    if channel in list(TapeTable):
        return [tape for tape in granted if tape == channel or (channel == TapeTable.BARS and tape is TapeTable.TRADES)]
    return [tape for tape in granted if tape is not TapeTable.BARS or TapeTable.TRADES not in granted]


def _stretches(market: Market, gap: Row) -> Iterator[Stretch]:
    """The parts of a gap that lie in its market's days, in whole seconds."""
    start = gap["start_time"] // _GRAIN_NS * _GRAIN_NS
    end = -(-gap["end_time"] // _GRAIN_NS) * _GRAIN_NS
    first = partition_of(market, start).date - dt.timedelta(days=1)
    last = partition_of(market, end).date + dt.timedelta(days=1)
    for offset in range((last - first).days + 1):
        day = first + dt.timedelta(days=offset)
        session = session_of(market, day)
        if session and max(start, session.day_start) < min(end, session.day_end):
            yield Partition(day, market), max(start, session.day_start), min(end, session.day_end)


def _write_empty_batch(spool: SpoolWriter, gap: Row, start: int, end: int) -> None:
    """Write a batch without rows, so that the day's certificate and checks are computed again."""
    spool.add_heal(STREAM_TRADES, STREAM_TRADES.empty(), HealedInterval(gap["symbol"] or "", start, end))


def _as_streamed(table: Table, frame: pl.DataFrame, source: str) -> pl.DataFrame:
    now = pl.lit(dt.datetime.now(dt.UTC)).cast(TIME).alias("received_time")
    of_bar = {"clock": pl.lit("1m"), "delivered_by": pl.lit(source)} if table is STREAM_BARS else {}
    return table.conform(frame.with_columns(now, **of_bar))
