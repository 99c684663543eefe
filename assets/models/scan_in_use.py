"""Which registered scan is in use: promotion, the file of the collectors, and what it finds. Slow to import: assets import it as they run."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from models.base import DetectorError
from models.scan.detector import ScanDetector
from resources.mlflow_registry import ModelRegistry, RegisteredModel
from resources.promotion import Promoter
from tapewatch.market.instruments import Partition
from tapewatch.market.tables.derived import INCIDENTS
from tapewatch.store.database.database import Database
from tapewatch.streaming.detection.champion import publish, published_model

#: Differences that count as chance: in the share of anomalies found, and in false alerts in 390 minutes.
_LESS_FOUND, _MORE_FALSE = 0.02, 0.2


def promote(
    registry: ModelRegistry, database: Database, name: str, reference: Mapping[str, Any]
) -> tuple[RegisteredModel, str]:
    """The champion after the new scan was registered, and why it is the champion."""
    run_id = reference["run_id"]
    metrics = registry.metrics(run_id)
    registered = registry.register(name, reference["model_uri"], run_id)
    candidate, current = RegisteredModel(name, int(registered.version), run_id), registry.champion(name)
    recall, recall_before = metrics.get("event_recall"), metrics.get("champion_event_recall")
    false, false_before = (metrics.get(f"{who}false_alerts_per_390_minutes", 0.0) for who in ("", "champion_"))
    reason = "there was no champion" if current is None else "no worse than the champion on the same days"
    if recall is not None and recall_before is not None and recall < recall_before - _LESS_FOUND:
        reason = f"kept: the new scan finds {recall:.2f} of the anomalies, the champion {recall_before:.2f}"
    elif recall_before is not None and false > false_before + _MORE_FALSE:
        reason = f"kept: the new scan raises {false:.2f} false alerts in 390 minutes, the champion {false_before:.2f}"
    promoter, over = Promoter(registry, database, "dagster"), current.version if current else None
    measured = {key: value for key, value in metrics.items() if "recall" in key or "false_alerts" in key}
    if current is None or not reason.startswith("kept"):
        promoter.promote(candidate, over=over, reason=reason, evidence=measured)
    else:
        promoter.refuse(candidate, over=over, reason=reason, evidence=measured)
    champion = registry.champion(name)
    if champion is None:
        raise DetectorError(
            f"MLflow holds no champion of {name} although version {registered.version} was made champion"
        )
    return champion, reason


def hand_over(registry: ModelRegistry, champion: RegisteredModel, path: Path | None) -> bool:
    """Put the champion where collectors look for it, unless it is there; returns whether it was put there."""
    if path is None or published_model(path) == str(champion):
        return False
    publish(loaded(registry, champion.uri), str(champion), path)
    return True


def finder(
    registry: ModelRegistry, name: str, model: str = "", *, collectors: Path | None = None
) -> Callable[[pl.DataFrame, Partition], pl.DataFrame] | None:
    """Finds the incidents of a day's bins with a registered scan, `scan/3`, or by default the champion; None without one.

    A market on which the scan was not fitted has no incidents. The champion is put in the file `collectors`, unless it is there:
    its alias may have been moved by hand.
    """
    champion = registry.champion(name)
    if champion is not None:
        hand_over(registry, champion, collectors)
    model = model or str(champion or "")
    if not model:
        return None
    detector = loaded(registry, f"models:/{model}")

    def find(bins: pl.DataFrame, day: Partition) -> pl.DataFrame:
        if day.market not in detector.markets:
            return INCIDENTS.empty()
        return detector.incidents(bins, day.session, model=model)

    return find


def loaded(registry: ModelRegistry, uri: str) -> ScanDetector:
    """The scan at an address of MLflow."""
    with registry.files(uri) as folder:
        return ScanDetector.load(folder)
