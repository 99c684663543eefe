"""The models in use and what they find, as far as runs left it in the lake and beside it."""

import json
from pathlib import Path
from typing import Any

import polars as pl

from tapewatch.market.derived_tables import INCIDENTS, SCAN_EVALUATION
from tapewatch.market.instruments import Partition
from tapewatch.market.schema import Table
from tapewatch.market.tables import ANOMALIES, EVALUATION
from tapewatch.store.database.database import Database
from tapewatch.store.lake.lake import Lake
from tapewatch.streaming.detection.champion import file_of, published_model

#: Champion's file in the lake, and the table that judges it.
_JUDGED = {"Isolation Forest": ("champion.json", EVALUATION), "Scan": ("scan_champion.json", SCAN_EVALUATION)}


def champions(lake: Lake) -> list[dict[str, Any]]:
    """The models in use: detector, model (name and version), train and validation (the days of each, in words)."""
    found = []
    for detector, (name, _) in _JUDGED.items():
        champion = _read(lake, name)
        if champion is None:
            continue
        card = _read(lake, f"{champion['name']}.json") or {}
        same = card.get("run_id") == champion.get("run_id")
        days = {part: _days(card.get(part, [])) if same else "by an earlier run" for part in ("train", "validation")}
        found.append({"detector": detector, "model": f"{champion['name']}/{champion['version']}", **days})
    return found


def evaluations(lake: Lake) -> dict[str, pl.DataFrame]:
    """What each detector finds of each kind of anomaly in the validation days; detectors that were not judged are absent."""
    return {detector: lake.read(table) for detector, (_, table) in _JUDGED.items() if lake.exists(table)}


def live_model(champions_folder: Path) -> str | None:
    """The scan that collectors use, such as `scan/3`; None without one."""
    return published_model(file_of(champions_folder, "scan"))


def found_by_day(database: Database, most: int = 20_000) -> pl.DataFrame:
    """How many events each model found on each day of late: date, market, model, kind, events."""
    tables: tuple[Table, ...] = (ANOMALIES, INCIDENTS)
    rows = [
        database.read(table, newest_first=True, limit=most).select(
            "date", "market", pl.col("model").cast(pl.String), pl.col("kind").cast(pl.String)
        )
        for table in tables
    ]
    every = pl.concat(rows)
    return every.group_by(every.columns).agg(events=pl.len()).sort(every.columns)


def _days(keys: list[str]) -> str:
    """`stocks and crypto, 2024-06-03 to 2024-06-05` of partition keys."""
    days = sorted(Partition.parse(key) for key in keys)
    if not days:
        return ""
    return f"{' and '.join(sorted({str(day.market) for day in days}))}, {days[0].date} to {days[-1].date}"


def _read(lake: Lake, name: str) -> dict[str, Any] | None:
    path = lake.root / "models" / name
    if not path.exists():
        return None
    content: dict[str, Any] = json.loads(path.read_text())
    return content
