"""Columns of a frame as fields of JSON objects. No Python object is made for a row.

Each field begins with a comma; a null value leaves the field out.
"""

import polars as pl

_NEEDS_ESCAPE = r'["\\\x00-\x1f]'


def optional(name: str, value: pl.Expr) -> pl.Expr:
    """A field of numbers, or of text that is JSON already."""
    return (pl.lit(f',"{name}":') + value.cast(pl.String)).fill_null("")


def field(name: str, column: str | None = None) -> pl.Expr:
    """A field of a column of numbers without nulls, by default of the same name."""
    return pl.lit(f',"{name}":') + pl.col(column or name).cast(pl.String)


def number(frame: pl.DataFrame, name: str, column: str | None = None) -> pl.Expr:
    """A field of a column of amounts, by default of the same name; integers if all are whole, as the vendor writes them."""
    amount = pl.col(column or name)
    is_whole = frame.select((amount == amount.floor()).all()).item()
    return optional(name, amount.cast(pl.Int64) if is_whole else amount)


def whole(name: str, column: str | None = None) -> pl.Expr:
    """A field of a column of amounts without their fraction, by default of the same name."""
    return optional(name, pl.col(column or name).floor().cast(pl.Int64))


def decimal(name: str, column: str) -> pl.Expr:
    """A field of a column of amounts as text, with their fraction: `"100.0"`."""
    return optional(name, quoted(pl.col(column).cast(pl.String)))


def epoch(name: str, column: str = "time", unit_ns: int = 1) -> pl.Expr:
    """A field of times as whole units since 1970."""
    ns = pl.col(column).dt.epoch("ns")
    return optional(name, ns if unit_ns == 1 else ns // unit_ns)


def codes(name: str, column: str | None = None) -> pl.Expr:
    """A field of comma-separated codes as a list, left out if there are none."""
    text = pl.col(column or name).cast(pl.String)
    return optional(name, pl.when(text != "").then(pl.lit("[") + text + pl.lit("]")))


def quoted(text: pl.Expr) -> pl.Expr:
    return pl.lit('"') + text + pl.lit('"')


def escaped(frame: pl.DataFrame, column: str) -> pl.Expr:
    """A column of text as it stands between quotes in JSON; control characters are dropped."""
    text = pl.col(column)
    if frame[column].str.contains(_NEEDS_ESCAPE).any():
        return text.str.replace_all(r'(["\\])', r"\$1").str.replace_all(r"[\x00-\x1f]", "")
    return text
