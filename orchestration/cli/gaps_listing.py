"""Gaps and coverage as tables, as CSV and as JSON."""

import csv
import datetime as dt
import io
import json
from collections.abc import Callable, Mapping
from typing import Any

import polars as pl
from rich.markup import escape
from rich.table import Table

from orchestration.runs.times import moment

COVERAGE_COLUMNS = ("symbol", "date", "expected", "received", "healed", "missing")
GAP_COLUMNS = (
    *("market", "symbol", "channel", "cause", "start", "end", "status", "healed_by", "rows", "attempts"),
    *("reason", "gap_id"),
)
Row = Mapping[str, Any]
_MOMENT = "%Y-%m-%d %H:%M:%S"
_STYLES = {"growing": "bold red", "open": "yellow", "healed": "green", "unhealable": "red"}


def as_csv(rows: pl.DataFrame, columns: tuple[str, ...], fields: Callable[[Row], dict[str, Any]]) -> str:
    """All columns; a header always; nothing where a value is not known."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows.iter_rows(named=True):
        writer.writerow("" if value is None else value for value in fields(row).values())
    return text.getvalue()


def as_json(rows: pl.DataFrame, fields: Callable[[Row], dict[str, Any]]) -> str:
    """A list of objects with the CSV's fields; null where a value is not known."""
    return json.dumps([fields(row) for row in rows.iter_rows(named=True)], indent=1) + "\n"


def coverage_fields(row: Row) -> dict[str, Any]:
    """Minutes of one symbol's regular session: those expected, and of these received, healed and missing."""
    counts = {name: row[f"{name}_minutes"] for name in COVERAGE_COLUMNS[2:]}
    return {"symbol": row["symbol"], "date": row["date"].isoformat(), **counts}


def gap_fields(row: Row) -> dict[str, Any]:
    """One gap; `end` is null while it grows, `symbol` where all are concerned."""
    return {
        "market": row["market"],
        "symbol": row["symbol"],
        "channel": row["channel"],
        "cause": row["cause"],
        "start": moment(row["start_time"]),
        "end": moment(row["end_time"]) if row["end_time"] else None,
        "status": row["status"],
        "healed_by": row["healed_by"],
        "rows": row["rows_healed"],
        "attempts": row["attempts"],
        "reason": row["reason"],
        "gap_id": row["gap_id"],
    }


def coverage_table(rows: pl.DataFrame) -> Table:
    """For a person: the silent minutes too, and the certificate."""
    title = f"{rows.height:,} symbol days, {rows['is_complete'].sum():,} complete"
    # Without lines it fits the 80 columns of a plain terminal.
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in ("market", "symbol", "date"):
        table.add_column(heading, no_wrap=True)
    for heading in ("expected", "received", "healed", "silent", "missing", "gaps"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("whole", no_wrap=True)
    for row in rows.iter_rows(named=True):
        minutes = [row[f"{name}_minutes"] for name in ("expected", "received", "healed", "silent", "missing")]
        counts = [f"{count:,}" for count in (*minutes, row["open_gaps"])]
        verdict = "[green]yes[/]" if row["is_complete"] else "[red]no[/]"
        table.add_row(row["market"], row["symbol"], row["date"].isoformat(), *counts, verdict)
    return table


def gap_table(rows: pl.DataFrame) -> Table:
    """For a person: when, whose, what became of it; within eighty columns."""
    table = Table(title=f"{rows.height:,} gap{'' if rows.height == 1 else 's'}", title_justify="left")
    for heading in ("from, to; UTC", "market, of"):
        table.add_column(heading, no_wrap=True)
    table.add_column("cause, status", no_wrap=True)
    table.add_column("what is known", overflow="fold")
    for row in rows.iter_rows(named=True):
        table.add_row(
            f"{row['start_time']:{_MOMENT}}\n{_end(row)}",
            f"{row['market']}\n{row['symbol'] or 'all'}, {row['channel']}",
            f"{row['cause'].replace('_', ' ')}\n[{_STYLES[row['status']]}]{row['status']}[/]",
            escape(_known(row)),
        )
    return table


def _end(row: Row) -> str:
    start: dt.datetime = row["start_time"]
    end: dt.datetime | None = row["end_time"]
    if end is None:
        return "grows"
    return f"{end:%H:%M:%S}".rjust(19) if end.date() == start.date() else f"{end:{_MOMENT}}"


def _known(row: Row) -> str:
    if row["status"] == "healed":
        return f"{row['rows_healed']:,} row(s) by {row['healed_by'].replace('_', ' ')}"
    tried = f"tried {row['attempts']}×: " if row["attempts"] else ""
    return tried + (row["reason"] or "")
