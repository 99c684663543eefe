"""Mean decrease of accuracy (López de Prado 2018, 8.3.2), of features and of clusters of them (2020, 6.5)."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score

from models.base import Detector
from tapewatch.features.catalog import BY_NAME, NAMES, matrix
from tapewatch.labels.training.splits import LabelSpans, PurgedKFold

_FOLDS = 3
#: The longest window of a feature: a training row so near to a test row would share its minutes.
_EMBARGO_NS = 30 * 60 * 10**9
#: So many rows are fitted on: more change the order of the features little, and take long.
_MOST_ROWS, _MOST_UNSEEN = 8000, 4000
_DISTANCE = 0.5


@dataclass(frozen=True, slots=True)
class Decrease:
    """By how much average precision falls if these columns are shuffled: mean and standard deviation over the folds."""

    name: str
    mean: float
    deviation: float


def decreases(
    detector: Detector, rows: pl.DataFrame, groups: Mapping[str, Sequence[str]], *, seed: int = 0, folds: int = _FOLDS
) -> list[Decrease]:
    """The mean decrease of each group, greatest first.

    For each fold a copy of the detector is fitted on the rows of other times, purged of those within half an hour of the fold.

    Args:
        detector: its parameters are used, not its state.
        rows: with `is_anomaly`, not null.
        groups: columns by name; a group of one column is a feature.
        seed: of the shuffles and of the sample that is fitted on.
        folds: how many; a fold without an anomaly is left out.

    Returns:
        Nothing where no fold holds both ordinary and anomalous minutes.
    """
    if not _has_both(rows):
        return []
    rng = np.random.default_rng(seed)
    ordered = rows.sort("event_time", pl.col("symbol").cast(pl.String))
    found: dict[str, list[float]] = {name: [] for name in groups}
    for learnt, test in PurgedKFold(LabelSpans.of(ordered), folds, embargo_ns=_EMBARGO_NS).split(ordered):
        judged = ordered[test]
        if not _has_both(judged):
            continue
        chosen = np.sort(rng.permutation(learnt)[:_MOST_ROWS])
        _add_losses(found, copy.copy(detector).fit(ordered[chosen]), judged, groups, rng)
    return _summed(found)


def decreases_unseen(
    detector: Detector, rows: pl.DataFrame, groups: Mapping[str, Sequence[str]], *, seed: int = 0, folds: int = _FOLDS
) -> list[Decrease]:
    """The same of a detector as it is fitted, on days that come after those: for detectors that are slow to fit.

    Args:
        detector: fitted.
        rows: of later days, with `is_anomaly`, not null. Whole days of symbols that have an anomaly are used, up to 4,000 minutes.
        groups: columns by name; a group of one column is a feature.
        seed: of the shuffles, and of which days are used.
        folds: parts of those days, over which mean and standard deviation are taken.

    Returns:
        Nothing where no day holds an anomaly.
    """
    rng = np.random.default_rng(seed)
    place = [pl.col("symbol").cast(pl.String), pl.col("event_time").dt.date().alias("date")]
    of_days = (
        rows.sort("event_time")
        .with_columns(*place)
        .partition_by("symbol", "date", maintain_order=True, include_key=True)
    )
    days = sorted((day for day in of_days if _has_both(day)), key=lambda day: (day["date"][0], day["symbol"][0]))
    chosen: list[pl.DataFrame] = []
    size = 0
    for at in rng.permutation(len(days)):
        if chosen and size + days[at].height > _MOST_UNSEEN:
            continue
        chosen.append(days[at])
        size += days[at].height
    found: dict[str, list[float]] = {name: [] for name in groups}
    for fold in range(min(folds, len(chosen))):
        _add_losses(found, detector, pl.concat(chosen[fold::folds]), groups, rng)
    return _summed(found)


def _has_both(rows: pl.DataFrame) -> bool:
    return 0 < int(rows["is_anomaly"].sum()) < rows.height


def _add_losses(
    found: Mapping[str, list[float]],
    fitted: Detector,
    judged: pl.DataFrame,
    groups: Mapping[str, Sequence[str]],
    rng: np.random.Generator,
) -> None:
    """Add to `found` what each group's shuffling costs on `judged` rows."""
    truth = judged["is_anomaly"].to_numpy()
    whole = average_precision_score(truth, fitted.score(judged))
    for name, columns in groups.items():
        shuffled = judged.with_columns(judged.select(columns)[rng.permutation(judged.height)])
        found[name].append(float(whole - average_precision_score(truth, fitted.score(shuffled))))


def _summed(found: Mapping[str, Sequence[float]]) -> list[Decrease]:
    results = [Decrease(name, float(np.mean(each)), float(np.std(each))) for name, each in found.items() if each]
    return sorted(results, key=lambda each: (-each.mean, each.name))


def clusters(rows: pl.DataFrame, features: Sequence[str]) -> dict[str, list[str]]:
    """Features in groups that say alike, by the rank correlation of their values; each named by its first member.

    Average linkage of 1 - |Spearman's correlation|; groups are at least 0.5 apart. Shuffling one of two alike features costs
    nothing, since the other still says it: so groups are shuffled together.
    """
    known = [name for name in features if name in NAMES]
    values = np.nan_to_num(matrix(rows, [BY_NAME[name] for name in known]))
    if len(known) < 2:
        return {name: [name] for name in features}
    # A constant column correlates with none.
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = np.corrcoef(np.apply_along_axis(rankdata, 0, values), rowvar=False)
    distance = 1 - np.abs(np.nan_to_num(correlation))
    np.fill_diagonal(distance, 0.0)
    labels = fcluster(linkage(squareform(distance, checks=False), "average"), _DISTANCE, "distance")
    grouped: dict[int, list[str]] = {}
    for name, label in zip(known, labels, strict=True):
        grouped.setdefault(int(label), []).append(name)
    others = {name: [name] for name in features if name not in NAMES}
    return {members[0]: members for members in grouped.values()} | others
