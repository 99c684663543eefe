"""Frames as files for people: CSV that no spreadsheet runs as a formula, and Parquet."""

import io

import polars as pl

#: Media type of each form.
FORMATS = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}
#: How a spreadsheet recognises a formula (OWASP, CSV injection).
_FORMULA = r"^[=+\-@\t\r]"


def exported(rows: pl.DataFrame, form: str) -> bytes:
    """A frame as a file of one of `FORMATS`. In CSV an apostrophe precedes text that a spreadsheet would run."""
    sink = io.BytesIO()
    if form == "parquet":
        rows.write_parquet(sink)
    else:
        rows.with_columns(_harmless(rows)).write_csv(sink)
    return sink.getvalue()


def _harmless(rows: pl.DataFrame) -> list[pl.Expr]:
    texts = [name for name, kind in rows.schema.items() if kind in (pl.String, pl.Categorical)]
    return [
        pl.when(pl.col(name).cast(pl.String).str.contains(_FORMULA))
        .then(pl.format("'{}", pl.col(name).cast(pl.String)))
        .otherwise(pl.col(name).cast(pl.String))
        .alias(name)
        for name in texts
    ]
