"""What the ensemble finds in a day's minutes, as the scan reports it: one row an incident, with its hours and reasons in words."""

import json
from typing import Any

import polars as pl

from models.calibration.levels import MINUTES
from models.ensemble.detector import EnsembleDetector
from models.events import merge_anomalies
from models.reasons import worded
from tapewatch.market.tables.derived import INCIDENTS

#: Stands for more.
_MOST_HOURS = 10_000.0


def incidents_of(detector: EnsembleDetector, rows: pl.DataFrame, model: str) -> pl.DataFrame:
    """INCIDENTS of MICROSTRUCTURE rows of a day's regular minutes; `model` is the registered name and version."""
    if rows.is_empty():
        return INCIDENTS.empty()
    scored = detector.scored(rows)
    attributions = detector.explain(rows.filter(scored["score"] >= detector.threshold))
    found = merge_anomalies(scored, attributions, rows, threshold=detector.threshold, model=model)
    hours = pl.col("score") / (1.0 - pl.col("score")) * MINUTES / 60
    return INCIDENTS.conform(
        found.with_columns(
            surprise=(hours * 60 / MINUTES).log10(),
            hours=hours.clip(0.0, _MOST_HOURS),
            reasons=pl.struct("kind", "reasons").map_elements(_in_words, pl.String),
        )
    )


def _in_words(row: dict[str, Any]) -> str:
    return json.dumps(
        [
            {"kind": str(row["kind"]), "statistic": each["feature"], "value": each["value"], "words": words}
            for each, words in worded(json.loads(row["reasons"]))
        ]
    )
