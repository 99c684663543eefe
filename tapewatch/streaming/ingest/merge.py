"""Merges deliveries of the tape: streamed, streamed again, corrected, or fetched from a source of record.

`market.copies` says which of several copies stays. Rows without identity are compared by content and time, and each stays
as often as the lake or the batches hold it. Of those that state a number, a later frame's equal row is a re-delivery. So merging
twice equals merging once.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from tapewatch.market.copies import HAS_NUMBER, has_identity, identity, is_numbered, number_the_rest
from tapewatch.market.instruments import Market
from tapewatch.market.schema import Table
from tapewatch.market.tables.stream import STREAM_BARS, STREAM_QUOTES, STREAM_TRADES
from tapewatch.market.tables.tape import QUARANTINE, QUOTES, SYMBOL, TRADES

Ints = npt.NDArray[np.int64]
#: Columns of a delivered row: its batch (position in a list), its row in it, whether it is of a source of record.
BATCH, LINE, IS_RECORD = "_batch", "_line", "_is_record"
_RANK, _COPY = "_rank", "_copy"
#: Columns that differ between deliveries of one row.
_NO_CONTENT = ("sequence_number", "received_time")
#: The fate of a delivered row.
ADDED, REVISED, REPEATED = 0, 1, 2
#: Stretches that a source of record delivered completely: symbol, start, end (ns, half-open).
INTERVALS: Final = pl.Schema({"symbol": SYMBOL, "start": pl.Int64(), "end": pl.Int64()})


@dataclass(frozen=True, slots=True)
class Merged:
    """`rows` is the lake's table, sorted; `fates` is batch and fate of each delivered row; `superseded` is `QUARANTINE` rows
    whose source is the number of the batch that replaced them."""

    rows: pl.DataFrame
    fates: pl.DataFrame
    superseded: pl.DataFrame


def lake_table(table: Table) -> Table:
    """The lake's table for a streamed one."""
    return {STREAM_TRADES.name: TRADES, STREAM_QUOTES.name: QUOTES}.get(table.name, table)


def merge(
    table: Table,
    market: Market,
    held: pl.DataFrame,
    delivered: pl.DataFrame,
    *,
    recorded: pl.DataFrame,
    healed: pl.DataFrame,
) -> Merged:
    """Merge delivered rows into those that the lake holds, of the same symbols.

    Args:
        table: the lake's table.
        held: all rows of `table` for these symbols.
        delivered: the same columns (`sequence_number` may be null where the stream has none), `BATCH`, `LINE` and
            `IS_RECORD`, in order of arrival.
        recorded: `INTERVALS` that a source of record delivered before: rows held in them outrank the stream.
        healed: `INTERVALS` that a source of record among `delivered` holds completely, and `BATCH`.
    """
    key = identity(table, market)
    has_key = has_identity(key, table, market)
    parts = [_by_content(table, held.filter(~has_key), delivered.filter(~has_key), recorded, healed)]
    if key:
        parts.insert(0, _by_identity(table, key, held.filter(has_key), delivered.filter(has_key), recorded))
    return Merged(
        _in_order(table, market, pl.concat([part.rows for part in parts])),
        pl.concat([part.fates for part in parts]),
        pl.concat([part.superseded for part in parts]),
    )


def _by_identity(
    table: Table, key: tuple[str, ...], held: pl.DataFrame, delivered: pl.DataFrame, recorded: pl.DataFrame
) -> Merged:
    keys = delivered.select(key).unique()
    contested = held.join(keys, on=key, how="semi", nulls_equal=True)
    untouched = held.join(keys, on=key, how="anti", nulls_equal=True) if contested.height else held
    known = contested.with_columns(
        pl.lit(None, pl.UInt32).alias(BATCH),
        pl.lit(None, pl.Int64).alias(LINE),
        _within(contested, recorded).alias(IS_RECORD),
    )
    every = pl.concat([known, delivered.select(known.columns)]).with_row_index(_RANK)
    every = every.sort(*key, IS_RECORD, _RANK)
    content = [name for name in table.schema if name not in (*key, *_NO_CONTENT)]
    # An id may be null; the symbol never is, so the first row follows nothing.
    follows = pl.all_horizontal(pl.col(name).eq_missing(pl.col(name).shift(1)) for name in key)
    differs = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift(1)) for name in content)
    judged = every.with_columns(
        follows=follows,
        differs=differs,
        outranks=pl.col(IS_RECORD) != pl.col(IS_RECORD).shift(1),
        is_held=pl.col(BATCH).is_null(),
    ).with_columns(
        is_last=~pl.col("follows").shift(-1).fill_null(value=False),
        # The lake's row may be sorted behind a streamed one, which it outranks.
        is_known=pl.col("is_held").any().over(key) if contested.height else pl.lit(value=False),
    )
    fate = (
        pl.when(~pl.col("follows") & ~pl.col("is_known"))
        .then(ADDED)
        .when("follows", "differs")
        .then(REVISED)
        .otherwise(REPEATED)
        .cast(pl.Int8)
    )
    is_revision = pl.col("follows") & pl.col("differs") & ~pl.col("outranks") & ~pl.col("is_held")
    stays = judged.filter("is_last").select(untouched.columns)
    fates = judged.filter(~pl.col("is_held")).select(BATCH, fate.alias("fate"))
    if table is STREAM_BARS:
        superseded = QUARANTINE.empty()
    else:
        superseded = _superseded(table, judged, is_revision, stays, [*key, *content])
    return Merged(pl.concat([untouched, stays]), fates, superseded)


def _superseded(
    table: Table, judged: pl.DataFrame, is_revision: pl.Expr, stays: pl.DataFrame, content: list[str]
) -> pl.DataFrame:
    """The replaced rows, without a row of the lake that stays after all: after a kill its batches are merged again."""
    columns = table.schema.names()
    replaced = judged.select(
        *(pl.col(name).shift(1) for name in columns),
        pl.col(BATCH).cast(pl.String).alias("source"),
        pl.col(LINE).alias("line"),
        was_held=pl.col("is_held").shift(1),
        is_revision=is_revision,
    ).filter("is_revision")
    if replaced["was_held"].any():
        held = replaced.filter("was_held").join(stays, on=content, how="anti", nulls_equal=True)
        replaced = pl.concat([held, replaced.filter(~pl.col("was_held"))])
    return QUARANTINE.conform(
        replaced.select(
            "source",
            "line",
            reason=pl.format("{}: superseded by a later revision", pl.lit(table.name)),
            raw=pl.struct(columns).struct.json_encode(),
        )
    )


def _by_content(
    table: Table, held: pl.DataFrame, delivered: pl.DataFrame, recorded: pl.DataFrame, healed: pl.DataFrame
) -> Merged:
    is_record = pl.col(IS_RECORD)
    streamed, records = delivered.filter(~is_record), delivered.filter(is_record)
    whole = pl.concat([recorded, healed.drop(BATCH)])
    is_covered = _within(streamed, whole)
    covered, streamed = streamed.filter(is_covered), streamed.filter(~is_covered)
    again = _delivered_again(table, streamed)
    covered, streamed = pl.concat([covered, streamed.filter(again)]), streamed.filter(~again)
    if records.height:
        # A source of record replaces all rows of its stretch; of two such deliveries the later stays.
        held = held.filter(~_within(held, healed))
        records = _latest(records, healed)
    new = _not_yet_held(table, held, streamed)
    fates = pl.concat(
        [
            covered.select(BATCH, fate=pl.lit(REPEATED, pl.Int8)),
            streamed.select(BATCH, fate=pl.when(new).then(ADDED).otherwise(REPEATED).cast(pl.Int8)),
            delivered.filter(is_record).select(BATCH, fate=pl.lit(ADDED, pl.Int8)),
        ]
    )
    columns = table.schema.names()
    rows = pl.concat([held.select(columns), records.select(columns), streamed.filter(new).select(columns)])
    return Merged(rows, fates, QUARANTINE.empty())


def _delivered_again(table: Table, streamed: pl.DataFrame) -> pl.Series:
    """Which rows repeat one of an earlier frame, number included. Equal rows of one frame are separate trades: several trades
    of a packet share its number."""
    if "sequence_number" not in table.schema or not streamed.select(HAS_NUMBER.any()).item():
        return pl.repeat(value=False, n=streamed.height, eager=True, dtype=pl.Boolean())
    same = ["sequence_number", *(name for name in table.schema if name not in _NO_CONTENT)]
    turn = pl.int_range(pl.len()).over(*same, "received_time")
    first = pl.struct(*same, "_turn").is_first_distinct()
    return streamed.with_columns(_turn=turn).select(HAS_NUMBER & ~first).to_series()


def _latest(records: pl.DataFrame, healed: pl.DataFrame) -> pl.DataFrame:
    """The records without those in a stretch that a later heal holds as well."""
    stale = np.zeros(records.height, dtype=np.bool_)
    if records[BATCH].n_unique() > 1:
        for (batch,), spans in healed.group_by(BATCH):
            stale |= (records[BATCH] < batch).to_numpy() & _within(records, spans).to_numpy()
    return records.filter(~pl.Series(stale))


def _not_yet_held(table: Table, held: pl.DataFrame, streamed: pl.DataFrame) -> pl.Series:
    """Which streamed rows are new: of three equal rows the third, where two are held."""
    content = [name for name in table.schema if name not in _NO_CONTENT]
    times = streamed["time"]
    near = held.filter(pl.col("time").is_between(times.min(), times.max())).select(content)
    if near.is_empty():
        return pl.repeat(value=True, n=streamed.height, eager=True)
    copies = near.group_by(content).agg(pl.len().alias(_COPY))
    ranked = streamed.select(*content, _RANK=pl.int_range(pl.len()).over(content))
    joined = ranked.join(copies, on=content, how="left", nulls_equal=True, maintain_order="left")
    return joined.select(pl.col("_RANK") >= pl.col(_COPY).fill_null(0)).to_series()


def _within(rows: pl.DataFrame, intervals: pl.DataFrame) -> pl.Series:
    """Whether each row's time lies in an interval of its symbol."""
    inside = np.zeros(rows.height, dtype=np.bool_)
    spans = intervals.group_by("symbol").agg("start", "end")
    places = rows.select("symbol", place=pl.int_range(pl.len())).join(spans.select("symbol"), on="symbol", how="semi")
    of_symbols = places.group_by("symbol").agg("place").join(spans, on="symbol")
    times = rows["time"].to_physical().to_numpy()
    for _, place, start, end in of_symbols.iter_rows():
        where = np.array(place)
        starts, ends = _disjoint(np.array(start), np.array(end))
        own = times[where]
        at = np.searchsorted(starts, own, side="right") - 1
        inside[where] = (at >= 0) & (own < ends[np.maximum(at, 0)])
    return pl.Series(inside)


def _disjoint(starts: Ints, ends: Ints) -> tuple[Ints, Ints]:
    """Spans with overlapping ones joined: starts and ends, ascending."""
    order = np.argsort(starts)
    starts, ends = starts[order], np.maximum.accumulate(ends[order])
    begins = np.append(True, starts[1:] > ends[:-1])
    return starts[begins], ends[np.append(begins[1:], True)]


def _in_order(table: Table, market: Market, rows: pl.DataFrame) -> pl.DataFrame:
    """Sorted in the table's order, and numbered by position where the vendor has no numbers; there, or below zero where a row
    of a numbered tape has none."""
    names = sorted(rows["symbol"].unique().cast(pl.String))
    by_name = rows.with_columns(_name=pl.col("symbol").cast(pl.String).cast(pl.Enum(names)))
    is_positioned = table in (TRADES, QUOTES) and not is_numbered(table, market)
    if table in (TRADES, QUOTES) and not is_positioned:
        number = pl.when(HAS_NUMBER).then("sequence_number").otherwise(0)
        ordered = by_name.sort("_name", "time", number, *(pl.col(key) for key in table.key[2:]), maintain_order=True)
        return number_the_rest(ordered.drop("_name"))
    order = [name for name in (("time", "exchange", "id") if is_positioned else table.sort) if name in table.schema]
    ordered = by_name.sort(["_name", *(name for name in order if name != "symbol")], maintain_order=True).drop("_name")
    if not is_positioned:
        return ordered
    return ordered.with_columns(sequence_number=pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over("symbol"))
