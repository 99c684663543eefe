"""Fits a Gaussian hidden Markov model of one variance with hmmlearn, whose own tied covariance is slow on many series."""

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
from hmmlearn.hmm import GaussianHMM

from tapewatch.market.arrays import Array

_STEPS, _LEAST_VARIANCE = 60, 1e-2
#: Where the means of three states start.
_QUANTILES = (0.25, 0.6, 0.95)
_STAYS = 0.9


class OneVariance(GaussianHMM):  # type: ignore[misc]
    """All states have the same variance: the mean of theirs, weighted by how often each is occupied."""

    def _do_mstep(self, stats: Mapping[str, Array]) -> None:
        super()._do_mstep(stats)
        self._covars_[:] = (stats["post"] @ self._covars_ / stats["post"].sum()).item()


def fitted(series: Sequence[Array], states: int) -> GaussianHMM:
    """The model of several series of one feature by at most 60 steps of expectation and maximisation; deterministic."""
    observations = np.concatenate(series)[:, None]
    model = OneVariance(
        states, covariance_type="spherical", n_iter=_STEPS, init_params="sc", min_covar=_LEAST_VARIANCE, random_state=0
    )
    model.means_ = np.quantile(observations, _QUANTILES)[:, None]
    model.transmat_ = np.full((states, states), (1 - _STAYS) / (states - 1))
    np.fill_diagonal(model.transmat_, _STAYS)
    with warnings.catch_warnings():
        # It warns of a likelihood that no longer rises, which ends the fit.
        warnings.simplefilter("ignore")
        model.fit(observations, [len(each) for each in series])
    return model
