"""Resumes the current day after a restart: plays its rows in lake and spool through a fresh live tape."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from tapewatch.bars.information.live import LiveInformationBars
from tapewatch.market.instruments import NS_PER_MINUTE, Partition, Session
from tapewatch.market.schema import Table
from tapewatch.market.tables.stream import STREAM_QUOTES, STREAM_TRADES
from tapewatch.market.tables.tape import QUOTES, TRADES
from tapewatch.store.lake.lake import Lake
from tapewatch.store.spool.files import waiting_for
from tapewatch.store.spool.rows import DamagedFileError, read_rows
from tapewatch.streaming.live.families import LiveFamilies
from tapewatch.streaming.live.tape import HORIZON_MINUTES, LiveTape

_log = logging.getLogger(__name__)
#: Rows to play back at most: more would delay the stream too long, and features of such a day start afresh.
MOST_ROWS = 8_000_000
_STEP_NS = 10 * NS_PER_MINUTE


def resumed_tape(
    session: Session,
    until_ns: int,
    spool_root: Path,
    lake: Lake | None,
    *,
    symbols: tuple[str, ...] = (),
    families: LiveFamilies | None = None,
    information: LiveInformationBars | None = None,
) -> LiveTape:
    """A live tape with every row of a session up to `until_ns` that lake and spool hold.

    It emits again the rows of the last horizon before that time, which an earlier process may not have written. With more
    than `MOST_ROWS` to play back it is empty and starts with the first whole minute after that time.
    """
    emit_from = max(session.day_start, until_ns - HORIZON_MINUTES * NS_PER_MINUTE)
    emit_from -= (emit_from - session.day_start) % NS_PER_MINUTE
    tape = LiveTape(session, symbols=symbols, emit_from_ns=emit_from, families=families, information=information)
    partition = Partition(session.date, session.market)
    trades, quotes = (
        tape_of(streamed, table, partition, spool_root, lake).filter(pl.col("time").to_physical() <= until_ns)
        for streamed, table in ((STREAM_TRADES, TRADES), (STREAM_QUOTES, QUOTES))
    )
    if trades.height + quotes.height > MOST_ROWS:
        _log.warning("%s: %d rows are too many to play back", partition, trades.height + quotes.height)
        # The minutes before are unknown: they must not be emitted as silent.
        known_from = until_ns + (session.day_start - until_ns) % NS_PER_MINUTE
        return LiveTape(session, symbols=symbols, emit_from_ns=known_from, families=families, information=information)
    for end, some_trades, some_quotes in _steps(session, trades, quotes, until_ns):
        tape.push(some_trades, some_quotes)
        # Rows to emit again come with the first advance after the playback.
        if end <= emit_from:
            tape.advance(end)
    _log.info("%s is resumed: %d trades, %d quotes", partition, trades.height, quotes.height)
    return tape


def tape_of(streamed: Table, table: Table, partition: Partition, spool_root: Path, lake: Lake | None) -> pl.DataFrame:
    """The rows of a table in lake and spool as streamed ones, in order of time."""
    spooled = []
    # The spool first: rows merged meanwhile are in the lake then, and duplicates are dropped.
    for file in waiting_for(spool_root, partition):
        if file.table == streamed.name:
            try:
                spooled.append(read_rows(streamed, [file])[0])
            except (FileNotFoundError, DamagedFileError) as error:
                # Merged meanwhile, so the lake has it, or damaged.
                _log.debug("%s: %s", file.name, error)
    merged = lake.read(table, partition) if lake is not None and lake.exists(table, partition) else table.empty()
    frames = [merged.with_columns(pl.col("time").alias("received_time")), *spooled]
    return pl.concat([streamed.conform(frame) for frame in frames]).sort("time", maintain_order=True)


def _steps(
    session: Session, trades: pl.DataFrame, quotes: pl.DataFrame, until_ns: int
) -> Iterator[tuple[int, pl.DataFrame, pl.DataFrame]]:
    """The rows in steps of ten minutes, each with its end."""
    ends = range(session.day_start + _STEP_NS, until_ns + _STEP_NS + 1, _STEP_NS)
    cuts = [np.searchsorted(frame["time"].to_physical().to_numpy(), ends) for frame in (trades, quotes)]
    trade, quote = 0, 0
    for end, trade_end, quote_end in zip(ends, *(cut.tolist() for cut in cuts), strict=True):
        yield end, trades[trade:trade_end], quotes[quote:quote_end]
        trade, quote = trade_end, quote_end
