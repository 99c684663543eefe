"""Boosted trees grown fold by fold, and probabilities calibrated on the days that each fold left out."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from models.anomaly_classifier.boosting import boosted
from models.anomaly_classifier.trees import Trees
from models.base import DetectorError
from tapewatch.labels.training.splits import LabelSpans, purged

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]

#: A row that begins so soon after a held-out block does not train.
EMBARGO_NS: Final = 5 * 60 * 1_000_000_000
#: Fewer anomalous minutes than this teach nothing.
FEWEST: Final = 30
#: A kind with fewer minutes is not named.
_FEWEST_OF_KIND = 8
#: Ordinary minutes that a booster is grown on: more cost time and teach little.
_MOST_ORDINARY = 8_000
#: Share of anomalous minutes for which probabilities are calibrated: what a desk expects, not what was injected.
PRIOR: Final = 0.01


@dataclass(frozen=True, slots=True)
class Growth:
    """How trees are grown."""

    iterations: int = 80
    leaves: int = 12
    rate: float = 0.1
    kind_iterations: int = 20


@dataclass(frozen=True)
class Grown:
    """A tree ensemble with an output for each fold, and `margin`: of each row, by the fold's trees that left it out."""

    trees: Trees
    margin: Floats


@threadpool_limits.wrap(limits=1)
def grow(
    inputs: Floats, is_anomaly: Flags, weight: Floats, fold: Indices, spans: LabelSpans, growth: Growth, seed: int
) -> Grown:
    """One booster for each fold, grown on the rows of the other folds that no label of the fold overlaps.

    Args:
        inputs: rows x features.
        is_anomaly, weight, fold: one a row.
        spans: of the rows' labels.
        growth: how trees are grown.
        seed: of their choices.

    Raises:
        DetectorError: a fold has no anomaly or nothing else, or is all there is to learn from.
    """
    models, margin = [], np.zeros(len(inputs))
    for each in np.unique(fold):
        held_out = np.flatnonzero(fold == each)
        learnt = purged(spans, [held_out], EMBARGO_NS)
        for rows in (learnt, held_out):
            anomalous = int(is_anomaly[rows].sum())
            if not 0 < anomalous < rows.size:
                raise DetectorError(
                    f"{anomalous} of {rows.size} minutes are anomalous in one part of the training days, and each part needs "
                    "both kinds: train on more days, or on symbols with more trades or quotes"
                )
        chosen, scaled = _fewer(learnt, is_anomaly, weight, seed)
        model = HistGradientBoostingClassifier(
            max_iter=growth.iterations,
            max_leaf_nodes=growth.leaves,
            learning_rate=growth.rate,
            min_samples_leaf=20,
            l2_regularization=1.0,
            early_stopping=False,
            random_state=seed,
        )
        models.append(boosted(model, inputs[chosen], is_anomaly[chosen], scaled))
        margin[held_out] = Trees.of([model]).margins(inputs[held_out])[:, 0]
    return Grown(Trees.of(models), margin)


def _fewer(rows: Indices, is_anomaly: Flags, weight: Floats, seed: int) -> tuple[Indices, Floats]:
    """All anomalous of `rows` and at most `_MOST_ORDINARY` of the others, whose weights keep their sum."""
    plain = rows[~is_anomaly[rows]]
    if plain.size <= _MOST_ORDINARY:
        return rows, weight[rows]
    drawn = np.random.default_rng(seed).choice(plain, _MOST_ORDINARY, replace=False)
    chosen = np.sort(np.concatenate([rows[is_anomaly[rows]], drawn]))
    factor = weight[plain].sum() / weight[drawn].sum()
    return chosen, np.where(is_anomaly[chosen], weight[chosen], weight[chosen] * factor)


@threadpool_limits.wrap(limits=1)
def grow_kinds(
    inputs: Floats, kinds: pl.Series, weight: Floats, growth: Growth, seed: int
) -> tuple[Trees | None, tuple[str, ...]]:
    """Trees that tell kinds of anomalous rows apart, with an output for each of the kinds returned; None below two kinds."""
    counts = kinds.value_counts().filter(pl.col("count") >= _FEWEST_OF_KIND)
    names = tuple(sorted(str(name) for name in counts[kinds.name]))
    if len(names) < 3:  # scikit-learn gives two classes one output
        return None, ()
    chosen = kinds.is_in(list(names)).to_numpy()
    model = HistGradientBoostingClassifier(
        max_iter=growth.kind_iterations,
        max_leaf_nodes=8,
        learning_rate=0.2,
        min_samples_leaf=5,
        l2_regularization=1.0,
        early_stopping=False,
        random_state=seed,
    )
    boosted(model, inputs[chosen], kinds.filter(chosen).to_numpy(), weight[chosen])
    return Trees.of([model]), tuple(str(each) for each in model.classes_)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Log odds as `slope` times the margin plus `offset` (Platt 1999), where `PRIOR` of the minutes are anomalous."""

    slope: float
    offset: float

    @classmethod
    def fit(cls, margin: Floats, is_anomaly: Flags, weight: Floats) -> "Calibration":
        """Fit on margins of held-out rows.

        Raises:
            DetectorError: anomalies have no higher margins than the rest.
        """
        share = np.where(is_anomaly, PRIOR, 1.0 - PRIOR) / np.where(
            is_anomaly, weight[is_anomaly].sum(), weight[~is_anomaly].sum()
        )
        model = LogisticRegression(C=1e6).fit(margin[:, None], is_anomaly, sample_weight=weight * share * margin.size)
        slope = float(model.coef_[0, 0])
        if not slope > 0:
            raise DetectorError(
                "on held-out days the classifier does not tell anomalies from the rest: train on more days"
            )
        return cls(slope, float(model.intercept_[0]))

    def log_odds(self, margin: Floats) -> Floats:
        """Calibrated log odds."""
        return np.asarray(self.slope * margin + self.offset)


def probability(log_odds: Floats) -> Floats:
    """Of log odds."""
    return np.asarray(1.0 / (1.0 + np.exp(-log_odds)))
