"""How sure a Sharpe ratio is: its probability above a benchmark, the effect of many trials, the shortest record that shows it.

Sharpe ratios here are those of a period, not annual. Bailey and López de Prado: "The Sharpe Ratio Efficient Frontier" (2012) and
"The Deflated Sharpe Ratio" (2014).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Moments:
    """What the evidence rests on: Sharpe ratio of a period, periods, skewness, kurtosis (3 for a normal distribution)."""

    sharpe: float
    periods: int
    skewness: float = 0.0
    kurtosis: float = 3.0

    @classmethod
    def of(cls, returns: npt.ArrayLike) -> "Moments":
        """Those of returns: the Sharpe ratio by the sample deviation, skewness and kurtosis by population moments.

        Raises:
            ValueError: fewer than three returns, or all are equal.
        """
        found = np.asarray(returns, dtype=np.float64)
        centred = found - found.mean() if found.size else found
        variance = float(np.mean(centred**2)) if found.size else 0.0
        if found.size < 3 or variance <= 1e-24 * float(np.mean(found**2)):
            raise ValueError(f"{found.size} returns that differ are needed, at least 3: there is no Sharpe ratio")
        return cls(
            float(found.mean() / np.std(found, ddof=1)),
            found.size,
            float(np.mean(centred**3) / variance**1.5),
            float(np.mean(centred**4) / variance**2),
        )

    def spread(self, at: float) -> float:
        """√(1 − γ₃ SR + (γ₄ − 1)/4 SR²): the standard deviation of the estimate, times √(periods − 1)."""
        inside = 1.0 - self.skewness * at + (self.kurtosis - 1.0) / 4.0 * at * at
        return float(np.sqrt(max(inside, 1e-12)))


def probabilistic_sharpe(moments: Moments, benchmark: float = 0.0) -> float:
    """Probability that the true Sharpe ratio is above `benchmark` (2012, equation 11)."""
    z = (moments.sharpe - benchmark) * np.sqrt(moments.periods - 1.0) / moments.spread(moments.sharpe)
    return float(ndtr(z))


def expected_best_sharpe(variance: float, trials: int) -> float:
    """The best Sharpe ratio that `trials` independent strategies without any edge are expected to show (2014, equation 1).

    Args:
        variance: of the trials' Sharpe ratios.
        trials: their number; one has the expectation 0.

    Raises:
        ValueError: no trial, or a negative variance.
    """
    if trials < 1 or variance < 0:
        raise ValueError(f"{trials} trials with a variance of {variance} have no best one")
    if trials == 1:
        return 0.0
    first, second = ndtri(1.0 - 1.0 / trials), ndtri(1.0 - 1.0 / (trials * np.e))
    return float(np.sqrt(variance) * ((1.0 - np.euler_gamma) * first + np.euler_gamma * second))


def deflated_sharpe(moments: Moments, variance: float, trials: int) -> float:
    """Probability that the true Sharpe ratio is above what the best of `trials` shows by chance (2014, equation 2)."""
    return probabilistic_sharpe(moments, expected_best_sharpe(variance, trials))


def minimum_track_record(moments: Moments, benchmark: float = 0.0, *, confidence: float = 0.95) -> float:
    """Periods after which the Sharpe ratio would be above `benchmark` with `confidence` (2012, equation 13).

    Returns: infinity where the ratio is not above the benchmark.
    """
    if moments.sharpe <= benchmark:
        return float("inf")
    ratio = float(ndtri(confidence)) / (moments.sharpe - benchmark)
    return float(1.0 + moments.spread(moments.sharpe) ** 2 * ratio**2)
