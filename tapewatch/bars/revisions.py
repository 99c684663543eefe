"""One bar from several deliveries, and the number of its revision."""

import polars as pl

from tapewatch.market.copies import SOURCES_OF_RECORD
from tapewatch.market.tables.tape import BARS, DELIVERED_BARS

_KEY = ("symbol", "time")
_PRICES = ("open", "high", "low", "close")
#: A change of these makes a revision.
_VALUES = (*_PRICES, "volume", "vwap", "transactions", "source")


def delivered_bars(streamed: pl.DataFrame, before: pl.DataFrame, loaded_ns: int = 0) -> pl.DataFrame:
    """The vendor's minute bars known so far: `DELIVERED_BARS` and `delivered_by`.

    Of bars from REST or a flat file the one fetched last stays; a streamed bar is used where there is none.

    Args:
        streamed: `STREAM_BARS`, including those that the healer fetched; only minute bars are used.
        before: `BARS` as last written.
        loaded_ns: when the day was last loaded from a source of record, ns UTC; 0 if never.
    """
    is_record = pl.col("delivered_by").cast(pl.String).is_in(SOURCES_OF_RECORD)
    alone = pl.col("source").cast(pl.String) != "trades"
    record = before.filter(is_record, pl.col("delivered_close").is_not_null()).select(
        *_KEY,
        *(pl.col(f"delivered_{name}").alias(name) for name in (*_PRICES, "volume")),
        *(pl.when(alone).then(name).alias(name) for name in ("vwap", "transactions")),
        "delivered_by",
    )
    minutes = streamed.filter(pl.col("clock").cast(pl.String) == "1m").with_columns(
        delivered_by=pl.col("delivered_by").cast(pl.String).fill_null("stream")
    )
    wanted = {**DELIVERED_BARS.schema, "delivered_by": BARS.schema["delivered_by"]}
    is_newest = is_record & (pl.col("received_time").to_physical() > loaded_ns)
    ranked = (minutes.filter(is_newest), record, minutes.filter(~is_newest))
    both = [frame.select(pl.col(name).cast(dtype) for name, dtype in wanted.items()) for frame in ranked]
    return pl.concat(both).unique(_KEY, keep="first", maintain_order=True).sort(_KEY)


def revised(bars: pl.DataFrame, before: pl.DataFrame) -> pl.DataFrame:
    """`BARS` with their revision: 0 for a new bar, else that of the bar as last written, plus 1 if it changed."""
    known = before.select(*_KEY, *(pl.col(name).alias(f"_{name}") for name in (*_VALUES, "revision")))
    is_known = pl.col("__is_known").fill_null(value=False)
    differs = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"_{name}")) for name in _VALUES)
    joined = bars.join(known.with_columns(__is_known=True), on=_KEY, how="left", maintain_order="left")
    revision = pl.col("_revision").fill_null(0) + differs.cast(pl.Int32)
    return BARS.conform(joined.with_columns(revision=pl.when(is_known).then(revision).otherwise(0)))
