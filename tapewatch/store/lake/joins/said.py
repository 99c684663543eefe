"""What people say of a moment: the label whose stretch holds it, of several the one said last."""

import datetime as dt
from collections.abc import Mapping

import polars as pl
from upath import UPath

from tapewatch.market.tables.labels import HUMAN_LABELS
from tapewatch.store.lake.joins.objects import as_type
from tapewatch.store.lake.lake import Lake

#: A stretch lasts at most the day of its partition, and a day's rows may be those before and after its date.
_MARGIN = dt.timedelta(days=2)


def label_at(
    lake_root: UPath, rows: pl.DataFrame, columns: Mapping[str, pl.DataType], *, known_by: dt.datetime | None = None
) -> pl.DataFrame:
    """The label of each row's symbol whose stretch ends at or after the row's time and starts before it.

    Features known at the end of a minute so meet the label of that minute. A label is an answer, not an input: when it was
    said does not matter, unless `known_by` says until when it counts.

    Args:
        lake_root: the lake with `HUMAN_LABELS`.
        rows: symbol and `time` (ns UTC), in any order.
        columns: what to return, with types; a time as Int64 is in µs since the epoch.
        known_by: leave out what was said later.

    Returns:
        A frame of `columns`, one row for each of `rows`, in their order; null where nobody says anything.
    """
    numbered = rows.select(pl.col("symbol").cast(pl.String), "time").with_row_index("number")
    said = _labels(lake_root, numbered)
    if known_by is not None:
        said = said.filter(pl.col("known_time") <= known_by)
    said = said.rename({name: f"label_{name}" for name in said.columns})
    held = numbered.join_where(
        said,
        pl.col("symbol") == pl.col("label_symbol"),
        pl.col("time") > pl.col("label_start_time"),
        pl.col("time") <= pl.col("label_end_time"),
    ).sort("label_known_time", "label_label_id")
    last = held.unique("number", keep="last", maintain_order=True)
    values = [
        as_type(pl.col(f"label_{name}"), said.schema[f"label_{name}"], dtype).alias(name)
        for name, dtype in columns.items()
    ]
    found = numbered.select("number").join(
        last.select("number", *values), on="number", how="left", maintain_order="left"
    )
    return found.drop("number")


def _labels(lake_root: UPath, rows: pl.DataFrame) -> pl.DataFrame:
    """The labels of the days around the rows."""
    lake, empty = Lake(lake_root), HUMAN_LABELS.empty()
    dates = rows.select(first=pl.col("time").min().dt.date() - _MARGIN, last=pl.col("time").max().dt.date() + _MARGIN)
    first, last = dates.row(0)
    days = [day for day in lake.partitions(HUMAN_LABELS) if first is not None and first <= day.date <= last]
    return pl.concat([empty, *(lake.read(HUMAN_LABELS, day) for day in days)]).with_columns(
        pl.col("symbol").cast(pl.String)
    )
