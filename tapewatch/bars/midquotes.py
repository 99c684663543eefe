"""Bars of a market without trades, from the midpoints of its quotes."""

import polars as pl

from tapewatch.bars.time_bars import minute_bars
from tapewatch.market.instruments import Session
from tapewatch.market.tables.tape import TRADES


def middles(quotes: pl.DataFrame) -> pl.DataFrame:
    """Mid-quotes as trades of size 1 (`TRADES`), for the bars of a market without trades."""
    is_whole = (pl.col("bid_price") > 0) & (pl.col("ask_price") > 0)
    return TRADES.conform(
        quotes.filter(is_whole).select(
            "symbol",
            "time",
            "sequence_number",
            ((pl.col("bid_price") + pl.col("ask_price")) / 2).round(7).alias("price"),
            pl.lit(1.0).alias("size"),
            pl.lit(0).alias("exchange"),
            pl.lit("").alias("conditions"),
        )
    )


def midquote_bars(quotes: pl.DataFrame, session: Session) -> pl.DataFrame:
    """Minute bars (`DELIVERED_BARS`) of midquotes; the volume is the number of two-sided quotes, as in the vendor's forex bars.

    Args:
        quotes: `QUOTES` rows of whole symbols, sorted as the table says; of their columns only the key, time and prices are
            read.
        session: the day they belong to.
    """
    return minute_bars(middles(quotes), session)
