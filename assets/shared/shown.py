"""Frames and counts as metadata of the UI."""

import dagster as dg
import polars as pl


def table_of(frame: pl.DataFrame) -> dg.MetadataValue:
    """A frame of texts and numbers as a table; nulls are empty."""
    numeric = {name for name, dtype in frame.schema.items() if dtype.is_numeric()}
    columns = [dg.TableColumn(name, "number" if name in numeric else "string") for name in frame.columns]
    rows = frame.with_columns(pl.selectors.float().round(4)).to_dicts()
    records = [dg.TableRecord({name: _cell(value) for name, value in row.items()}) for row in rows]
    return dg.MetadataValue.table(records, dg.TableSchema(columns))


def counts_of(values: pl.Series) -> dict[str, int]:
    """How often each value occurs, the most frequent first."""
    return {str(name): int(rows) for name, rows in values.cast(pl.String).value_counts(sort=True).iter_rows()}


def _cell(value: object) -> str | int | float:
    return "" if value is None else value if isinstance(value, int | float) else str(value)
