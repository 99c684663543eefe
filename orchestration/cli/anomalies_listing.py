"""Anomalies as a table, as CSV and as JSON."""

import csv
import io
import json

import polars as pl
from rich.table import Table

from orchestration.runs.times import moment

CSV_COLUMNS = ("symbol", "start", "end", "kind", "score")


def as_csv(anomalies: pl.DataFrame) -> str:
    """Columns symbol, start, end, kind, score; a header always."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for row in anomalies.iter_rows(named=True):
        writer.writerow((row["symbol"], moment(row["start_time"]), moment(row["end_time"]), row["kind"], row["score"]))
    return text.getvalue()


def as_json(anomalies: pl.DataFrame) -> str:
    """A list of events: the CSV's fields and known, threshold, minutes, reasons, model."""
    events = [
        {
            "symbol": row["symbol"],
            "start": moment(row["start_time"]),
            "end": moment(row["end_time"]),
            "known": moment(row["known_time"]),
            "kind": row["kind"],
            "score": row["score"],
            "threshold": row["threshold"],
            "minutes": row["minutes"],
            "reasons": json.loads(row["reasons"]),
            "model": row["model"],
        }
        for row in anomalies.iter_rows(named=True)
    ]
    return json.dumps(events, indent=1) + "\n"


def as_table(anomalies: pl.DataFrame) -> Table:
    """For a person: the strongest reason instead of all."""
    table = Table(title=f"{anomalies.height:,} anomalies", title_justify="left")
    for heading in ("symbol", "from, UTC", "to", "kind"):
        table.add_column(heading, no_wrap=True)
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("strongest reason", overflow="fold")
    for row in anomalies.iter_rows(named=True):
        reasons = json.loads(row["reasons"])
        table.add_row(
            row["symbol"],
            f"{row['start_time']:%Y-%m-%d %H:%M}",
            f"{row['end_time']:%H:%M}",
            row["kind"].replace("_", " "),
            f"{row['score']:.3f}",
            reasons[0]["feature"] if reasons else "",
        )
    return table
