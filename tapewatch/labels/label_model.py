"""Joins the votes of sources of unknown accuracy to the probability that a unit is anomalous."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Votes = npt.NDArray[np.int8]
Floats = npt.NDArray[np.float64]

#: A vote of a source that has nothing to say about a unit.
ABSTAIN = -1
_TURNS, _TOLERANCE = 500, 1e-9
#: Prior counts: they keep a rate off 0 and 1, and say that a source is better than chance.
_RIGHT, _WRONG = 2.0, 1.0


@dataclass(frozen=True, eq=False)
class LabelModel:
    """The share of anomalous units, and how each source votes on them.

    Attributes:
        prior: share of anomalous units.
        sensitivity: of each source, the share of anomalous units for which it votes 1, of those on which it votes.
        specificity: of each source, the share of ordinary units for which it votes 0, of those on which it votes.
    """

    prior: float
    sensitivity: Floats
    specificity: Floats

    def probability(self, votes: Votes) -> Floats:
        """Of each unit (a row of `votes`, see `fit`), the probability that it is anomalous."""
        odds = np.log(self.prior) - np.log1p(-self.prior)
        fires, is_silent = votes == 1, votes == 0
        evidence = fires @ np.log(self.sensitivity / (1 - self.specificity))
        evidence = evidence + is_silent @ np.log((1 - self.sensitivity) / self.specificity)
        return np.asarray(1.0 / (1.0 + np.exp(-np.clip(odds + evidence, -700, 700))))


def fit(votes: Votes) -> LabelModel:
    """The most probable model of independent sources, by expectation and maximisation (Dawid and Skene 1979).

    No truth is needed: sources that are often right agree with each other more often than chance. It takes at least three
    sources to tell their accuracies apart. It starts from the majority's votes; a weak prior keeps every rate off 0 and 1.

    Args:
        votes: units x sources: 1 anomalous, 0 ordinary, `ABSTAIN` no opinion.

    Raises:
        ValueError: no votes, or a value that is none of these.
    """
    if votes.ndim != 2 or not votes.size or not np.isin(votes, (ABSTAIN, 0, 1)).all():
        raise ValueError("votes are a table of units by sources, with 1 anomalous, 0 ordinary and -1 no opinion")
    # Many units share a row of votes.
    patterns, counts = np.unique(votes, axis=0, return_counts=True)
    weight = counts.astype(np.float64)
    fires, is_silent = (patterns == 1).astype(np.float64), (patterns == 0).astype(np.float64)
    posterior = (fires.sum(axis=1) + 0.5) / (fires.sum(axis=1) + is_silent.sum(axis=1) + 1.0)
    for _ in range(_TURNS):
        bad, good = weight * posterior, weight * (1 - posterior)
        hits, misses = bad @ fires, bad @ is_silent
        rests, alarms = good @ is_silent, good @ fires
        model = LabelModel(
            prior=float((bad.sum() + 1.0) / (weight.sum() + 2.0)),
            sensitivity=(hits + _RIGHT) / (hits + misses + _RIGHT + _WRONG),
            specificity=(rests + _RIGHT) / (rests + alarms + _RIGHT + _WRONG),
        )
        before, posterior = posterior, model.probability(patterns)
        if np.abs(posterior - before).max() < _TOLERANCE:
            break
    return model
