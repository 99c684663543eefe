"""Our statistics against those of `ml4t-diagnostic`. Run: python -m tests.oracles.compare_statistics PYTHON_OF_ITS_ENVIRONMENT

That library follows the revision of 2025 (López de Prado and others, "How to Use the Sharpe Ratio"), in which the ratio's variance is that
under the null hypothesis and periods are not reduced by one. Ours follows the papers of 2012 and 2014, whose examples are in
`tests/trading/statistics`. So the parts that both share are compared: the variance as a function, the expected best, and the rest.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from tapewatch.trading.statistics.evidence import Moments, expected_best_sharpe
from tapewatch.trading.statistics.overfitting import probability_of_overfitting
from tapewatch.trading.statistics.performance import performance

_TRIALS, _VARIANCE, _BLOCKS = 20, 0.002, 8
_REFERENCE = Path(__file__).with_name("statistics_reference.py")
_CONFIDENT = 1.6448536269514722


def compare(python: str, seed: int = 5) -> int:
    """Compare the figures of made-up daily returns; returns how many were compared.

    Raises:
        AssertionError: a figure differs.
        CalledProcessError: the reference failed.
    """
    rng = np.random.default_rng(seed)
    table = rng.standard_t(4, (240, 6)) * 0.01 + np.linspace(-0.0005, 0.002, 6)
    given = {"returns": table.tolist(), "trials": _TRIALS, "variance": _VARIANCE, "blocks": _BLOCKS}
    done = subprocess.run(
        [python, str(_REFERENCE)], input=json.dumps(given), capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    compared = 0
    for returns, theirs in zip(table.T, found["series"], strict=True):
        for name, value in _ours(returns).items():
            np.testing.assert_allclose(theirs[name], value, rtol=1e-9, err_msg=name)
            compared += 1
    np.testing.assert_allclose(found["overfitting"], probability_of_overfitting(table, _BLOCKS).probability)
    return compared + 1


def _ours(returns: np.ndarray) -> dict[str, float]:
    all_figures, moments = performance(returns, 252), Moments.of(returns)
    best = expected_best_sharpe(_VARIANCE, _TRIALS)
    needed = (_CONFIDENT * moments.spread(0.0) / moments.sharpe) ** 2 if moments.sharpe > 0 else float("inf")
    return {
        "annual_return": all_figures.annual_return,
        "annual_volatility": all_figures.annual_volatility,
        "max_drawdown": all_figures.max_drawdown,
        "calmar": all_figures.calmar,
        "expected_best": best,
        "z_score": (moments.sharpe - best) * np.sqrt(moments.periods) / moments.spread(best),
        "track_record": np.ceil(1.0 + needed),
    }


if __name__ == "__main__":
    print(f"{compare(sys.argv[1])} figures agree with ml4t-diagnostic")  # noqa: T201
