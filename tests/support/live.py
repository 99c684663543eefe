"""Feeds a live tape as a stream does, and collects its final output."""

from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl
from polars.testing import assert_frame_equal

from tapewatch.bars.time_bars import minute_bars, time_bars
from tapewatch.features.families.indicators import indicators
from tapewatch.features.market_minutes import market_minutes
from tapewatch.features.microstructure import microstructure
from tapewatch.market.instruments import NS_PER_SECOND, Session
from tapewatch.market.schema import Table
from tapewatch.market.tables.features import MARKET_MICROSTRUCTURE
from tapewatch.market.tables.live import LIVE_BARS, LIVE_MICROSTRUCTURE
from tapewatch.market.tables.stream import STREAM_QUOTES, STREAM_TRADES
from tapewatch.streaming.live.kept import Change
from tapewatch.streaming.live.tape import LiveRows, LiveTape

Chunk = tuple[pl.DataFrame, pl.DataFrame]


def streamed(trades: pl.DataFrame, quotes: pl.DataFrame) -> Chunk:
    """Table rows in the form of the stream, in order of time."""
    return tuple(
        table.conform(frame.with_columns(received_time="time").sort("time", maintain_order=True))
        for table, frame in ((STREAM_TRADES, trades), (STREAM_QUOTES, quotes))
    )


def chunks(trades: pl.DataFrame, quotes: pl.DataFrame, size: int) -> Iterable[Chunk]:
    """Streamed rows in pieces of `size` rows, trades and quotes together, in order of time."""
    times = [frame["time"].to_physical().to_numpy() for frame in (trades, quotes)]
    bounds = [*np.sort(np.concatenate(times))[::size][1:], np.iinfo(np.int64).max]
    at = [0, 0]
    for bound in bounds:
        ends = [int(np.searchsorted(time, bound)) for time in times]
        yield trades[at[0] : ends[0]], quotes[at[1] : ends[1]]
        at = ends


def fed(tape: LiveTape, pieces: Iterable[Chunk], lateness_ns: int = 0) -> list[LiveRows]:
    """Push pieces one by one, with the tape complete up to `lateness_ns` before its latest tick, and close it."""
    outputs = []
    for trades, quotes in pieces:
        tape.push(trades, quotes)
        outputs.append(tape.advance(tape.last_time_ns - lateness_ns))
    return [*outputs, tape.close()]


def final(outputs: list[LiveRows]) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """The last revisions of second bars, minute bars and microstructure rows, without withdrawn rows, in order."""
    bars = [_last([(getattr(rows, name), rows.withdrawn_bars) for rows in outputs], LIVE_BARS.key) for name in _BARS]
    rows = _last([(rows.microstructure, rows.withdrawn_rows) for rows in outputs], LIVE_MICROSTRUCTURE.key)
    return bars[0], bars[1], rows


_BARS = ("second_bars", "minute_bars")


def _last(outputs: list[tuple[pl.DataFrame, pl.DataFrame]], key: tuple[str, ...]) -> pl.DataFrame:
    rows = pl.concat([frame.with_columns(step=pl.lit(step)) for step, (frame, _) in enumerate(outputs)])
    gone = pl.concat([frame.select(key).with_columns(gone=pl.lit(step)) for step, (_, frame) in enumerate(outputs)])
    if "revision" in rows.columns:
        assert rows.select(pl.struct(*key, "revision").is_duplicated().any()).item() is False or gone.height
    last = rows.unique(key, keep="last", maintain_order=True)
    last_gone = gone.group_by(key).agg(pl.col("gone").max())
    kept = last.join(last_gone, on=key, how="left").filter(pl.col("gone").is_null() | (pl.col("step") > pl.col("gone")))
    return kept.drop("step", "gone").sort(pl.col("symbol").cast(pl.String), key[-1])


def last_of(table: Table, steps: Iterable[Sequence[Change]]) -> pl.DataFrame:
    """The rows of a further table that a reader holds who applies the changes in their order; categories as text."""
    text = pl.selectors.categorical().cast(pl.String)
    key, held = list(table.key), table.empty().with_columns(text)
    for change in (change for changes in steps for change in changes if change.table is table):
        table.check(change.rows)
        assert table.duplicates(change.rows) == 0
        new, gone = change.rows.with_columns(text), change.withdrawn.select(key).with_columns(text)
        held = pl.concat(
            [held.join(pl.concat([new.select(key), gone]), on=key, how="anti", maintain_order="left"), new]
        )
    return held


def assert_as_batch(
    outputs: list[LiveRows], trades: pl.DataFrame, quotes: pl.DataFrame, session: Session, **options
) -> None:
    """The last revisions equal the batch functions' results bit for bit."""
    second_bars, minutes, rows = final(outputs)
    expected = time_bars(trades, session, NS_PER_SECOND)
    assert_frame_equal(second_bars.select(expected.columns), expected, check_exact=True)
    expected = minute_bars(trades, session)
    assert_frame_equal(minutes.select(expected.columns), expected, check_exact=True)
    expected = microstructure(trades, quotes, session, **options)
    assert_frame_equal(rows.drop("revision"), expected, check_exact=True)
    bars = minute_bars(trades, session).with_columns(known_time=pl.col("time"))
    found = _last([(rows.market_minutes, rows.withdrawn_rows) for rows in outputs], MARKET_MICROSTRUCTURE.key)
    assert_frame_equal(found, market_minutes(expected, indicators(bars, session)), check_exact=True)
