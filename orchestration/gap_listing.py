"""Gaps and coverage as tables, as CSV and as JSON.

Belongs here: how they are written out. Not here: where they come from (`tapewatch/store/database.py`).
"""

import csv
import datetime as dt
import io
import json
from collections.abc import Callable, Mapping
from typing import Any

import polars as pl
from rich.table import Table

from orchestration.listing import moment

COVERAGE_COLUMNS = ("symbol", "date", "expected", "received", "healed", "missing")
GAP_COLUMNS = (
    *("market", "symbol", "channel", "cause", "start", "end", "status", "healed_by", "rows", "attempts"),
    *("reason", "gap_id"),
)
Row = Mapping[str, Any]
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
    """For a person: when, whose, what became of it."""
    table = Table(title=f"{rows.height:,} gaps", title_justify="left")
    for heading in ("market", "from, UTC", "to", "of", "cause", "status"):
        table.add_column(heading, no_wrap=True)
    table.add_column("what is known", overflow="fold")
    for row in rows.iter_rows(named=True):
        end: dt.datetime | None = row["end_time"]
        table.add_row(
            row["market"],
            f"{row['start_time']:%Y-%m-%d %H:%M:%S}",
            "grows" if end is None else f"{end:%H:%M:%S}",
            f"{row['symbol'] or 'all'}, {row['channel']}",
            row["cause"].replace("_", " "),
            f"[{_STYLES[row['status']]}]{row['status']}[/]",
            _known(row),
        )
    return table


def _known(row: Row) -> str:
    if row["status"] == "healed":
        return f"{row['rows_healed']:,} row(s) by {row['healed_by'].replace('_', ' ')}"
    tried = f"tried {row['attempts']}×: " if row["attempts"] else ""
    return tried + (row["reason"] or "")
