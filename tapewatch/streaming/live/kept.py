"""Frames of a day under way, kept by key. Symbols are texts: these join and follow each other at less cost than categories."""

import polars as pl

NAME = pl.col("symbol").cast(pl.String)
TEXTS = pl.selectors.categorical().cast(pl.String)


def replaced(frame: pl.DataFrame, new: pl.DataFrame, gone: pl.DataFrame, time: str) -> pl.DataFrame:
    """The frame without the rows of the keys `gone`, and with the new rows in place of those of the same key."""
    new = new.with_columns(TEXTS)
    return pl.concat([without(without(frame, gone, time), new, time), new.select(frame.columns)])


def without(frame: pl.DataFrame, keys: pl.DataFrame, time: str) -> pl.DataFrame:
    """The frame without the rows of these symbols and times."""
    if not keys.height or not frame.height:
        return frame
    return frame.join(keys.select(NAME, time), on=["symbol", time], how="anti", maintain_order="left")
