"""Labels and their weights by mlfinpy: JSON on standard input and output. Runs in an environment of its own.

It imports nothing of this repository: `tests/oracles/compare_labels.py` starts it and compares. Times are whole minutes.
"""

import json
import sys
from typing import Any

import numpy as np
import pandas as pd
from mlfinpy.cross_validation.cross_validation import ml_get_train_times
from mlfinpy.filters.filters import cusum_filter
from mlfinpy.labeling.labeling import triple_barriers
from mlfinpy.labeling.trend_scanning import trend_scanning_labels
from mlfinpy.sample_weights.attribution import _apply_weight_by_return
from mlfinpy.sampling.bootstrapping import get_ind_matrix, seq_bootstrap
from mlfinpy.sampling.concurrent import _get_average_uniqueness, num_concurrent_events
from mlfinpy.util.frac_diff import frac_diff_ffd


class Drawn:
    """Draws by given uniform numbers."""

    def __init__(self, uniforms: list[float]) -> None:
        self._left = list(uniforms)

    def choice(self, numbers: range, p: np.ndarray) -> int:
        return min(int(np.searchsorted(np.cumsum(p), self._left.pop(0), side="right")), len(numbers) - 1)


def barriers(close: pd.Series, given: dict[str, Any]) -> list[list[int]]:
    """Label and minute of the touch of each event."""
    events = close.index[given["events"]]
    ends = pd.Series(close.index[[event + given["vertical"] for event in given["events"]]], index=events)
    frame = pd.DataFrame({"t1": ends, "trgt": 1.0, "side": 1.0})
    touched = triple_barriers(close, frame, [given["up"], given["down"]], events)
    found = []
    for end, profit, stop in touched[["t1", "pt", "sl"]].itertuples(index=False):
        first = min(time for time in (end, profit, stop) if not pd.isna(time))
        label = 1 if first == profit else -1 if first == stop else 0
        found.append([label, int((first - close.index[0]) / pd.Timedelta(minutes=1))])
    return found


def weights(close: pd.Series, given: dict[str, Any]) -> dict[str, Any]:
    """Concurrency, uniqueness and attributed returns of labels by their first and last minute, and draws."""
    ends = pd.Series(close.index[given["last"]], index=close.index[given["first"]], name="t1")
    concurrent = num_concurrent_events(close.index, ends, ends.index).reindex(close.index).fillna(0)
    matrix = get_ind_matrix(ends, close.to_frame())
    return {
        "concurrency": concurrent.astype(int).tolist(),
        "uniqueness": _get_average_uniqueness(ends, concurrent, ends.index).tolist(),
        "returns": _apply_weight_by_return(ends, concurrent, close, ends.index).tolist(),
        "drawn": [
            int(k)
            for k in seq_bootstrap(matrix, sample_length=len(given["uniforms"]), random_state=Drawn(given["uniforms"]))
        ],
    }


def main() -> None:
    given = json.load(sys.stdin)
    index = pd.date_range("2024-03-05 14:30", periods=len(given["close"]), freq="min", tz="UTC")
    close = pd.Series(given["close"], index=index)
    minute = pd.Timedelta(minutes=1)
    trend = given["trend"]
    scanned = trend_scanning_labels(
        np.log(close),
        index[trend["events"]],
        look_forward_window=trend["longest"] + 1,
        min_sample_length=trend["shortest"],
    )
    spans = pd.Series(given["spans"]["ends"], index=given["spans"]["starts"])
    found = {
        "cusum": [int((time - index[0]) / minute) for time in cusum_filter(close, given["threshold"])],
        "barriers": [barriers(close, each) for each in given["barriers"]],
        "weights": weights(close, given["weights"]),
        "trend": [
            [float(t), int((end - begin) / minute) + 1] for begin, end, t in scanned[["t1", "t_value"]].itertuples()
        ],
        "training": [
            sorted(ml_get_train_times(spans, pd.Series([last], index=[first])).index.tolist())
            for first, last in given["spans"]["tests"]
        ],
        "fractional": frac_diff_ffd(np.log(close).to_frame("log"), given["order"], given["smallest"])["log"].tolist(),
    }
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
