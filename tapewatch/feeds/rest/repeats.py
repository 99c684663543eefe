"""Rows that REST delivers twice, records of corrections, and the numbers of rows that come without one."""

from typing import Final

import polars as pl

from tapewatch.feeds.plans.table import TapeTable
from tapewatch.feeds.rest.decode import LINE
from tapewatch.feeds.rest.kinds import Kind, Numbering, numbering
from tapewatch.market.copies import HAS_NUMBER, IS_CORRECTION_RECORD, has_identity, identity, number_the_rest
from tapewatch.market.instruments import Market
from tapewatch.market.tables.tape import QUARANTINE

_ROW: Final = "_row"
#: Tells rows apart whose number several trades share and which state no id.
_CONTENT: Final = "_content"


def without_repeats(
    kind: Kind, market: Market, what: str, frame: pl.DataFrame
) -> tuple[pl.DataFrame, int, pl.DataFrame]:
    """`frame` with each row once, the number of exact re-deliveries, and the rows contradicted as `QUARANTINE`.

    `market.copies` says what is a copy. Where a market's numbers are shared by several trades (options, futures), trades
    without an id are copies only if they agree in everything. A record of a correction goes if its trade is there.

    Args:
        what: names the request in the quarantine.
        frame: rows in order of delivery.
    """
    key, known = _key(kind, market)
    if not key or not frame.height:
        return frame, 0, QUARANTINE.empty()
    first = [key[0]] if key[0] == "sequence_number" else key
    tied = frame.with_row_index(_ROW).filter(known & pl.struct(first).is_duplicated())
    if tied.is_empty():
        return frame, 0, QUARANTINE.empty()
    values = [name for name in frame.columns if name != LINE]
    tied = tied.with_columns(pl.struct(values).hash().alias(_CONTENT))
    if "id" in frame.columns and not _is_numbered(kind, market):
        tied = tied.with_columns(pl.when(pl.col("id").is_null()).then(_CONTENT).alias(_CONTENT))
    is_record = pl.sql_expr(IS_CORRECTION_RECORD) if "correction" in frame.columns else pl.lit(value=False)
    tied = tied.with_columns(is_record=is_record).sort("is_record", descending=True, maintain_order=True)
    has_trade = (~pl.col("is_record")).any().over(first)
    judged = tied.with_columns(
        is_dropped=~pl.struct(key).is_last_distinct() | (pl.col("is_record") & has_trade),
        differs=pl.struct(values).is_last_distinct(),
    )
    dropped = judged.filter("is_dropped")
    conflicts = dropped.filter("differs")
    named = pl.struct(name for name in key if name != _CONTENT).struct.json_encode()
    refused = conflicts.select(
        pl.lit(f"{what}, repeated keys").alias("source"),
        pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias("line"),
        pl.when("is_record")
        .then(
            pl.format(
                "a correction record, not a trade: the trade with the same {} stays",
                pl.struct(first).struct.json_encode(),
            )
        )
        .otherwise(pl.format("replaced by a later row, which has the same {} and other content", named))
        .alias("reason"),
        pl.struct(values).struct.json_encode().alias("raw"),
    )
    kept = frame.with_row_index(_ROW).join(dropped.select(_ROW), on=_ROW, how="anti", maintain_order="left").drop(_ROW)
    return kept, dropped.height - conflicts.height, QUARANTINE.conform(refused)


def numbered(kind: Kind, market: Market, frame: pl.DataFrame) -> pl.DataFrame:
    """Each row with a number that no other has, unless they are trades that share the tape's number.

    Where the market numbers its rows, those without a number get one below zero (`market.copies`). Elsewhere the stated
    numbers stay if every row has one of its own; if not, rows are numbered from 1 by time, exchange and id.
    """
    if "sequence_number" not in kind.table.by_name:
        return frame
    if market is not Market.FOREX and "bid_size" in frame.columns:
        frame = frame.with_columns(pl.col("bid_size", "ask_size").fill_null(0.0))
    rule, number = numbering(kind.tape, market), frame["sequence_number"]
    if rule is Numbering.WHERE_STATED and frame.select(HAS_NUMBER.all()).item() and number.is_unique().all():
        return frame
    if rule is Numbering.ALWAYS and frame.select(HAS_NUMBER.all()).item():
        return (
            _in_order(frame, ["time", "sequence_number", "exchange", "id"]) if number.is_duplicated().any() else frame
        )
    ordered = _in_order(frame, ["time", "exchange", "id"])
    if rule is Numbering.ALWAYS:
        return number_the_rest(ordered, over=None)
    return ordered.with_columns(pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias("sequence_number"))


def _in_order(frame: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    return frame.sort([name for name in names if name in frame.columns], maintain_order=True)


def _is_numbered(kind: Kind, market: Market) -> bool:
    return numbering(kind.tape, market) is Numbering.ALWAYS


def _key(kind: Kind, market: Market) -> tuple[list[str], pl.Expr]:
    """The columns in which copies agree, the number first, and whether a row states them; no columns where nothing identifies."""
    if "sequence_number" not in kind.table.by_name or numbering(kind.tape, market) is not Numbering.WHERE_STATED:
        key = [name for name in identity(kind.table, market) if name != "symbol"]
        return key, has_identity(key, kind.table, market)
    if market is Market.FUTURES and kind.tape is TapeTable.TRADES:
        return ["sequence_number", "report_sequence"], HAS_NUMBER & (pl.col("report_sequence") > 0).fill_null(
            value=False
        )
    if kind.tape is TapeTable.TRADES:
        return ["sequence_number", "exchange", "id", _CONTENT], HAS_NUMBER
    return ["sequence_number", _CONTENT], HAS_NUMBER
