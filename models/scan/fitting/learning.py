"""Fits what the statistics say together, on copies of training days with anomalies in them."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.scan.calibration import fit_tail
from models.scan.incidents import incidents
from models.scan.layout import KINDS, STATISTICS
from models.scan.learned import BENDS, Additive, Learned, bent
from models.scan.tail import Tail

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

#: Parts of the days, each left out once.
_FOLDS = 3
#: Bins of ordinary days that train lie so far apart, and begin half an hour after the open; those of anomalies lie two apart.
_ORDINARY_STEP, _ORDINARY_FROM, _ANOMALOUS_STEP = 7, 360, 2
#: An anomaly shows some bins after it begins, and windows of two minutes hold it after its end.
_EARLY, _LATE = 3, 24
#: Fewer events of a kind teach nothing.
_FEWEST = 6
#: Inverse strength of the penalty on squared weights.
_PENALTY_ODDS, _PENALTY_NAMES = 0.3, 0.3


@dataclass(frozen=True)
class Copy:
    """A copy of a training day, and the anomalies put into it.

    `values`: inputs, or rarities of statistics, symbols x ... x bins. `events` (rows x 4): symbol, kind, first and last bin.
    """

    values: Floats
    events: Integers


@dataclass(frozen=True)
class HeldOut:
    """What was learnt, and the surprise by it (symbols x KINDS x bins) of days and their copies, by weights that left them out."""

    odds: Additive
    tails: tuple[Tail, ...]
    days: list[Floats]
    copies: list[list[Floats]]


def fit_odds(days: Sequence[Floats], copies: Sequence[Sequence[Copy]]) -> HeldOut | None:
    """Log odds of kinds against ordinary bins; None where the copies teach nothing.

    Each part of the days is judged by weights of the others, which calibrates; the weights kept are the mean.

    Args:
        days: rarities (symbols x STATISTICS x bins) of ordinary days.
        copies: of each day.
    """
    number = min(_FOLDS, len(days))
    fold = [at % number for at in range(len(days))]
    parts = [
        _fit([each for at, each in enumerate(days) if fold[at] != part],
             [each for at, of in enumerate(copies) if fold[at] != part for each in of])
        for part in range(number)
    ]  # fmt: skip
    fitted = [part for part in parts if part is not None]
    if len(fitted) < number:
        return None
    scores = [fitted[part].scores(day) for part, day in zip(fold, days, strict=True)]
    for score, day in zip(scores, days, strict=True):
        score.transpose(0, 2, 1)[np.isnan(day).all(axis=1)] = np.nan
    odds = Additive(
        np.mean([part.weight for part in fitted], axis=0), np.sum([part.offset for part in fitted], axis=0) / number
    )
    tails = tuple(
        fit_tail([row for day in scores for row in day[:, kind]] if kind in odds.kinds else [])
        for kind in range(len(KINDS))
    )
    by_part = [Learned(part, tails, Additive.nothing()) for part in fitted]
    return HeldOut(
        odds,
        tails,
        [by_part[part].surprise(day) for part, day in zip(fold, days, strict=True)],
        [[by_part[part].surprise(copy.values) for copy in of] for part, of in zip(fold, copies, strict=True)],
    )


def fit_names(copies: Sequence[Copy], surprises: Sequence[Floats], threshold: float) -> Additive:
    """Scores of kinds by which incidents found in copies have the names of the anomalies that they meet.

    Args:
        copies: rarities, and events.
        surprises: of each copy, of all kinds together.
        threshold: at which an incident opens.
    """
    rows, kinds = [], []
    for copy, judged in zip(copies, surprises, strict=True):
        for symbol, first, last in incidents(judged, threshold).spans():
            of = copy.events[copy.events[:, 0] == symbol]
            met = of[(of[:, 2] <= last) & (of[:, 3] + _LATE >= first)]
            if len(met):
                overlap = np.minimum(met[:, 3], last) - np.maximum(met[:, 2], first)
                reached = copy.values[symbol, :, first : last + 1]
                rows.append(np.where(np.isnan(reached), -np.inf, reached).max(axis=1))
                kinds.append(int(met[overlap.argmax(), 1]))
    found = np.array(kinds, dtype=np.int64)
    enough = [kind for kind in range(len(KINDS)) if (found == kind).sum() >= _FEWEST]
    if len(enough) < 3:
        return Additive.nothing()
    kept = np.isin(found, enough)
    weight = np.ones(kept.sum()) / np.bincount(found[kept])[found[kept]]
    return _logistic(bent(np.array(rows)[kept]), found[kept], weight, _PENALTY_NAMES)


def _fit(days: Sequence[Floats], copies: Sequence[Copy]) -> Additive | None:
    """Log odds by days and copies; None without three kinds."""
    rows = [_flat(day[:, :, _ORDINARY_FROM::_ORDINARY_STEP]) for day in days]
    kinds = [np.zeros(len(each), dtype=np.int64) for each in rows]
    weights = [np.ones(len(each)) for each in rows]
    for copy in copies:
        for symbol, kind, first, last in copy.events.tolist():
            own = copy.values[symbol, :, first + _EARLY : last + _LATE : _ANOMALOUS_STEP].T
            rows.append(own)
            kinds.append(np.full(len(own), kind + 1))
            weights.append(np.full(len(own), 1.0 / max(len(own), 1)))
    # A bin of which nothing is known teaches nothing.
    found, kind, weight = np.concatenate(rows), np.concatenate(kinds), np.concatenate(weights)
    known = np.isfinite(found).any(axis=1)
    events = np.concatenate([copy.events[:, 1] for copy in copies]) if copies else np.empty(0, dtype=np.int64)
    enough = [at + 1 for at in range(len(KINDS)) if (events == at).sum() >= _FEWEST]
    known &= np.isin(kind, [0, *enough])
    found, kind, weight = found[known], kind[known], weight[known]
    if len(enough) < 2 or not (kind == 0).any():
        return None
    # Ordinary bins weigh as much as all kinds, which weigh alike.
    for at in (0, *enough):
        of = kind == at
        weight[of] *= (1.0 if at == 0 else 1.0 / len(enough)) / weight[of].sum()
    scores = _logistic(bent(found), kind, weight, _PENALTY_ODDS, size=len(KINDS) + 1)
    return Additive(scores.weight[1:] - scores.weight[0], scores.offset[1:] - scores.offset[0])


def _logistic(rows: Floats, kinds: Integers, weight: Floats, penalty: float, size: int = len(KINDS)) -> Additive:
    """A multinomial logistic regression as scores of `size` kinds; weights are scaled to a mean of 1."""
    from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415 - as below
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - takes seconds, and a collector fits nothing
    from threadpoolctl import threadpool_limits  # noqa: PLC0415

    middle, width = rows.mean(axis=0), rows.std(axis=0) + 0.02
    model: Any = LogisticRegression(C=penalty, max_iter=100, tol=1e-3)
    with threadpool_limits(limits=1), warnings.catch_warnings():
        # Weights that still change a little name and rank alike.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit((rows - middle) / width, kinds, sample_weight=weight * len(rows) / weight.sum())
    coefficients = model.coef_ / width
    out = Additive(np.zeros((size, len(STATISTICS), len(BENDS))), np.full(size, -np.inf))
    out.weight[model.classes_] = coefficients.reshape(len(model.classes_), len(STATISTICS), len(BENDS))
    out.offset[model.classes_] = model.intercept_ - coefficients @ middle
    return out


def _flat(values: Floats) -> Floats:
    """Symbols x STATISTICS x bins as rows x STATISTICS."""
    return np.asarray(values.transpose(0, 2, 1).reshape(-1, values.shape[1]))
