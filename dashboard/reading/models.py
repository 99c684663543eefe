"""The models in use and what they find, as far as runs left it in the lake and beside it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from tapewatch.market.instruments import Market, Partition
from tapewatch.market.schema import Table
from tapewatch.market.tables.derived import COMPARISON, DRIFT, INCIDENTS, SCAN_EVALUATION
from tapewatch.market.tables.tape import ANOMALIES, EVALUATION
from tapewatch.store.database.database import Database
from tapewatch.store.database.model_history import REFUSED, champion_of, history
from tapewatch.store.lake.lake import Lake
from tapewatch.streaming.detection.champion import file_of, published_model

#: Champion's file in the lake, by what it scores.
_CHAMPIONS = {"minutes": "champion.json", "bins of five seconds": "scan_champion.json"}
#: Tables that judge one detector each.
_JUDGED = {"isolation_forest": EVALUATION, "scan": SCAN_EVALUATION}


def champions(lake: Lake) -> list[dict[str, Any]]:
    """The models in use: scores (what), model (name and version), train and validation (the days of each, in words)."""
    found = []
    for scored, name in _CHAMPIONS.items():
        champion = _read(lake, name)
        if champion is None:
            continue
        card = _read(lake, f"{champion['name']}.json") or {}
        same = card.get("run_id") == champion.get("run_id")
        days = {part: _days(card.get(part, [])) if same else "by an earlier run" for part in ("train", "validation")}
        found.append({"scores": scored, "model": f"{champion['name']}/{champion['version']}", **days})
    return found


def evaluations(lake: Lake) -> dict[str, pl.DataFrame]:
    """What each detector finds of each kind of anomaly in the validation days; detectors that were not judged are absent."""
    found = {detector: lake.read(table) for detector, table in _JUDGED.items() if lake.exists(table)}
    if lake.exists(COMPARISON):
        rows = lake.read(COMPARISON).with_columns(pl.col("detector").cast(pl.String))
        for (detector,), part in sorted(rows.partition_by("detector", as_dict=True).items()):
            found[str(detector)] = part.drop("detector")
    return found


def recalls(judged: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """The share of anomalies that each detector finds: kind, then a column by detector; `all` first, then by kind."""
    wide = pl.DataFrame(schema={"kind": pl.String})
    for detector, table in judged.items():
        column = table.select(pl.col("kind").cast(pl.String), pl.col("recall").alias(detector))
        wide = wide.join(column, on="kind", how="full", coalesce=True)
    return wide.sort(pl.col("kind") != "all", "kind")


@dataclass(frozen=True)
class Standing:
    """A registered model: the entries of its history (`MODEL_HISTORY`, oldest first), of its champion and of its challenger.

    The challenger is the version that was judged last, where the champion stayed.
    """

    model: str
    entries: tuple[dict[str, Any], ...]
    champion: dict[str, Any] | None
    challenger: dict[str, Any] | None

    def gates(self) -> list[dict[str, Any]]:
        """What was measured of champion and challenger at their judgement: gate, champion, challenger, has_passed."""
        names = dict.fromkeys(name for entry in (self.champion, self.challenger) if entry for name in _evidence(entry))
        rows = []
        for name in names:
            ours, theirs = (_evidence(entry).get(name) if entry else None for entry in (self.champion, self.challenger))
            passed = theirs.get("has_passed") if isinstance(theirs, dict) else None
            rows.append({"gate": name, "champion": _words(ours), "challenger": _words(theirs), "has_passed": passed})
        return rows


def standings(database: Database) -> list[Standing]:
    """Every model that has a history, by name."""
    entries = history(database)
    found = []
    for model in sorted({entry["model"] for entry in entries}):
        own = tuple(entry for entry in entries if entry["model"] == model)
        version = champion_of(own, model)
        promoted = [entry for entry in own if entry["version"] == version and entry["action"] != REFUSED]
        refused = own[-1] if own[-1]["action"] == REFUSED else None
        found.append(Standing(model, own, promoted[-1] if promoted else None, refused))
    return found


def drift(lake: Lake, days: int = 30) -> dict[Market, pl.DataFrame]:
    """`DRIFT` rows of the last days of each market, with `date`; markets of which none was measured are absent."""
    found = {}
    for market in Market:
        frames = [
            lake.read(DRIFT, day).with_columns(pl.col("subject", "name").cast(pl.String), date=pl.lit(day.date))
            for day in lake.partitions(DRIFT, market)[-days:]
        ]
        if rows := [frame for frame in frames if frame.height]:
            found[market] = pl.concat(rows)
    return found


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


def _evidence(entry: Mapping[str, Any]) -> dict[str, Any]:
    return dict(json.loads(entry["evidence"]))


def _words(measured: Any) -> str:
    """What a gate measured, in words; a plain figure of those that have no gate."""
    if measured is None:
        return "–"
    if isinstance(measured, dict):
        return str(measured.get("words", measured))
    return f"{measured:.4g}" if isinstance(measured, float) else str(measured)


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
