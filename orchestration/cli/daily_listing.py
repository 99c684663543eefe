"""Impossible days of daily bars as a table, as CSV and as JSON."""

import csv
import io
import json

import polars as pl
from rich.table import Table

COLUMNS = ("date", "symbol", "kind", "field", "value", "expected", "deviation")


def as_csv(found: pl.DataFrame) -> str:
    """All columns; a header always. The deviation is the log of value over expected."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(found.select(COLUMNS).iter_rows())
    return text.getvalue()


def as_json(found: pl.DataFrame) -> str:
    """A list of objects with the CSV's fields."""
    rows = found.select(COLUMNS).with_columns(pl.col("date").cast(pl.String)).to_dicts()
    return json.dumps(rows, indent=1) + "\n"


def as_table(found: pl.DataFrame) -> Table:
    """For a person: value over expected as a multiple."""
    table = Table(title=f"{found.height:,} days with prices that cannot be, or shocks", title_justify="left")
    for heading in ("date", "symbol", "kind", "field"):
        table.add_column(heading, no_wrap=True)
    for heading in ("value", "expected", "multiple"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in found.iter_rows(named=True):
        table.add_row(
            str(row["date"]),
            row["symbol"],
            row["kind"].replace("_", " "),
            row["field"],
            f"{row['value']:g}",
            f"{row['expected']:g}",
            f"{row['value'] / row['expected']:.3g}",
        )
    return table
