"""Makes the report about a detector as a whole, and logs it to its run. Slow to import: assets import it as they run."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import mlflow
import numpy as np
import polars as pl

from models.base import Detector
from models.ensemble.detector import EnsembleDetector
from models.importance.attributed import additivity, mean_absolute, steadiness
from models.importance.permutation import clusters, decreases, decreases_unseen
from models.plots import beeswarm
from resources.mlflow_registry import ModelRegistry
from tapewatch.reports.importance_page import Importance, importance_html

_TOP, _SAMPLE = 150, 350
_CLUSTER = " and alike"
_PAGE, _NUMBERS = "importance.html", "importance.json"


@dataclass(frozen=True)
class Report:
    """The beeswarm (PNG), and facts for the asset's metadata."""

    plot: bytes
    facts: dict[str, Any]


def report(
    registry: ModelRegistry,
    name: str,
    reference: Mapping[str, Any],
    learnt: pl.DataFrame,
    unseen: pl.DataFrame,
    *,
    refits: bool,
) -> Report:
    """Explain the most anomalous minutes and a sample, measure importance, and log page and numbers.

    Args:
        learnt, unseen: rows of the days that the detector was fitted and judged on, with `is_anomaly`: null where that is not known.
        refits: whether the decrease of accuracy is measured by fitting the detector again; else on `unseen` as it is.
    """
    detector, rows = registry.load_any(reference["model_uri"]), pl.concat([learnt, unseen])
    made = explained(detector, rows, reference["seed"])
    attributions = made.attributions
    means = mean_absolute(attributions)
    additive_to, off = additivity(attributions, made.sums)
    groups = clusters(rows, detector.features)
    # A cluster of one feature is that feature. All are measured at once, since each fold is fitted once.
    several = {f"{name}{_CLUSTER}": members for name, members in groups.items() if len(members) > 1}
    every = {f: [f] for f in detector.features} | several
    known = pl.col("is_anomaly").is_not_null()
    measured = (
        decreases(detector, rows.filter(known), every)
        if refits
        else decreases_unseen(detector, unseen.filter(known), every)
    )
    singles = {members[0] for members in groups.values() if len(members) == 1}
    found = Importance(
        model=name,
        attributions=attributions,
        mean_absolute=means,
        additive_to=additive_to,
        off=off,
        decreases=[each for each in measured if not each.name.endswith(_CLUSTER)],
        of_clusters=[each for each in measured if each.name.endswith(_CLUSTER) or each.name in singles],
        clusters=several if measured else {},
        impurity=_impurity(detector),
        refits=refits,
        steadiness=_steadiness(registry, name, reference["run_id"], means),
    )
    swarm = beeswarm(attributions)
    numbers = {
        "mean_absolute": means, "additive_to": additive_to, "off": off,
        "mda": {each.name: each.mean for each in found.decreases},
        "clustered_mda": {each.name: each.mean for each in found.of_clusters},
    }  # fmt: skip
    with registry.run(name, run_id=reference["run_id"]):
        mlflow.log_text(importance_html(found, swarm), _PAGE)
        mlflow.log_dict(numbers, _NUMBERS)
    steady = [value for value in found.steadiness.values() if np.isfinite(value)]
    facts = {
        "strongest": next(iter(means), ""),
        "additive_to": additive_to,
        "additivity_off": off,
        "minutes": attributions.height,
    }
    return Report(swarm, facts | ({"steadiness": min(steady)} if steady else {}))


@dataclass(frozen=True)
class Explained:
    """An ATTRIBUTIONS frame, and what its rows may add up to besides the score."""

    attributions: pl.DataFrame
    sums: Mapping[str, pl.DataFrame]


def explained(detector: Detector, rows: pl.DataFrame, seed: int) -> Explained:
    """Of the most anomalous minutes and a sample of the rest, each with the minutes before it that a sequence needs."""
    ranked = rows.with_columns(score=pl.Series(detector.score(rows))).sort("score", descending=True).drop("score")
    rest = ranked.slice(_TOP)
    chosen = pl.concat([ranked.head(_TOP), rest.sample(min(_SAMPLE, rest.height), seed=seed)])
    needed = _with_minutes_before(chosen, rows, detector.context_minutes)
    keys = chosen.select("symbol", "event_time")
    attributions = detector.explain(needed).join(keys, on=["symbol", "event_time"], how="semi")
    if not isinstance(detector, EnsembleDetector):
        return Explained(attributions, {})
    margins = needed.select("symbol", "event_time", value=pl.Series(detector.margin(needed)))
    return Explained(attributions, {"margin: the mean of the members' levels": margins})


def _with_minutes_before(chosen: pl.DataFrame, rows: pl.DataFrame, minutes: int) -> pl.DataFrame:
    """The chosen rows, and those of their symbols in the `minutes` before them."""
    before = [chosen.select("symbol", pl.col("event_time").dt.offset_by(f"-{back}m")) for back in range(minutes + 1)]
    return rows.join(pl.concat(before).unique(), on=["symbol", "event_time"], how="semi")


def _impurity(detector: Detector) -> Mapping[str, float]:
    """The mean decrease of impurity by feature, where the detector's trees are grown on labels."""
    measured: Mapping[str, float] = getattr(detector, "impurity_importance", {})
    return dict(sorted(measured.items(), key=lambda each: -each[1]))


def _steadiness(registry: ModelRegistry, name: str, run_id: str, means: Mapping[str, float]) -> dict[str, float]:
    """The rank correlation of importance with that of each earlier version, newest first."""
    found = {}
    for version in registry.versions(name):
        if version.run_id == run_id:
            continue
        text = registry.artifact(version.run_id, _NUMBERS)
        if text is not None:
            found[f"{name}/{version.version}"] = steadiness(means, json.loads(text)["mean_absolute"])
    return found
