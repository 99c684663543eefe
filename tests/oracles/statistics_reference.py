"""The figures of `ml4t-diagnostic` for returns on standard input, as JSON. Runs in an environment of its own (ml4t-diagnostic==0.2.0).

It imports nothing of this repository: `tests/oracles/compare_statistics.py` starts it and compares.
"""

import json
import sys
from itertools import combinations

import numpy as np
from ml4t.diagnostic.evaluation.portfolio_analysis import metrics
from ml4t.diagnostic.evaluation.stats.backtest_overfitting import compute_pbo
from ml4t.diagnostic.evaluation.stats.deflated_sharpe_ratio import deflated_sharpe_ratio_from_statistics
from ml4t.diagnostic.evaluation.stats.minimum_track_record import compute_min_trl
from scipy import stats


def of_returns(returns: np.ndarray, trials: int, variance: float) -> dict[str, float]:
    """Ratios, drawdown and evidence of one series of daily returns."""
    ratio = float(returns.mean() / returns.std(ddof=1))
    shape = {"skewness": float(stats.skew(returns)), "excess_kurtosis": float(stats.kurtosis(returns))}
    given = {"observed_sharpe": ratio, "n_samples": returns.size, **shape}
    best = deflated_sharpe_ratio_from_statistics(**given, n_trials=trials, variance_trials=variance).expected_max_sharpe
    return {
        "annual_return": float(metrics.annual_return(returns)),
        "annual_volatility": float(metrics.annual_volatility(returns)),
        "max_drawdown": -float(metrics.max_drawdown(returns)),
        "calmar": float(metrics.calmar_ratio(returns)),
        "expected_best": best,
        "z_score": deflated_sharpe_ratio_from_statistics(**given, benchmark_sharpe=best).z_score,
        "track_record": compute_min_trl(observed_sharpe=ratio, **shape).min_trl,
    }


def overfitting(table: np.ndarray, blocks: int) -> float:
    """Probability of backtest overfitting, from Sharpe ratios of each half."""
    parts = np.array_split(table, blocks)
    sides: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for half in combinations(range(blocks), blocks // 2):
        for side, chosen in zip(sides, (half, [k for k in range(blocks) if k not in half]), strict=True):
            rows = np.vstack([parts[k] for k in chosen])
            side.append(rows.mean(axis=0) / rows.std(axis=0, ddof=1))
    return float(compute_pbo(np.array(sides[0]), np.array(sides[1])).pbo)


def main() -> None:
    given = json.load(sys.stdin)
    table = np.array(given["returns"])
    found = {
        "series": [of_returns(column, given["trials"], given["variance"]) for column in table.T],
        "overfitting": overfitting(table, given["blocks"]),
    }
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
