"""Alerts as a table, as CSV and as JSON."""

import csv
import io
import json
from typing import Any

import polars as pl
from rich.markup import escape
from rich.table import Table

from orchestration.runs.times import moment

COLUMNS = (
    *("market", "symbol", "rule", "severity", "start", "end", "detected", "value", "baseline", "multiple", "peak"),
    *("observations", "message", "alert_id"),
)
_STYLES = {"critical": "bold red", "warning": "yellow", "info": ""}
_MOMENT = "%Y-%m-%d %H:%M:%S"
_TIMES = {"start": "start_time", "end": "end_time", "detected": "detected_time"}


def as_csv(alerts: pl.DataFrame) -> str:
    """All columns; a header always. Times are ISO 8601 in UTC; the end of one that lasts is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in alerts.iter_rows(named=True):
        writer.writerow("" if value is None else value for value in _fields(row).values())
    return text.getvalue()


def as_json(alerts: pl.DataFrame) -> str:
    """A list of objects with the CSV's fields; null where there is nothing."""
    return json.dumps([_fields(row) for row in alerts.iter_rows(named=True)], indent=1) + "\n"


def as_table(alerts: pl.DataFrame) -> Table:
    """For a person: when, what rule, how bad, and the sentence, which gets what room there is."""
    table = Table(title=f"{alerts.height:,} alert{'' if alerts.height == 1 else 's'}", title_justify="left")
    for heading in ("from, to; UTC", "market, rule", "severity"):
        table.add_column(heading, no_wrap=True)
    table.add_column("what was seen", overflow="fold")
    for row in alerts.iter_rows(named=True):
        table.add_row(
            f"{row['start_time']:{_MOMENT}}\n{_end(row)}",
            f"{row['market']}\n{row['rule'].replace('_', ' ')}",
            row["severity"],
            escape(row["message"]),
            style=_STYLES[row["severity"]],
        )
    return table


def _end(row: dict[str, Any]) -> str:
    start, end = row["start_time"], row["end_time"]
    if end is None:
        return "lasts"
    return f"{end:%H:%M:%S}".rjust(19) if end.date() == start.date() else f"{end:{_MOMENT}}"


def _fields(row: dict[str, Any]) -> dict[str, Any]:
    moments = {name: None if row[column] is None else moment(row[column]) for name, column in _TIMES.items()}
    return {name: moments[name] if name in moments else row[name] for name in COLUMNS}
