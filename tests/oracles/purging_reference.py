"""Purging by skfolio, and labels, weights and volatilities by ml4t-engineer: JSON on standard input and output.

Runs in an environment of its own; it imports nothing of this repository. `tests/oracles/compare_labels.py` starts it.
"""

import json
import sys
from typing import Any

import numpy as np
import polars as pl
from ml4t.engineer.config.labeling import LabelingConfig
from ml4t.engineer.features.volatility.garman_klass_volatility import garman_klass_volatility
from ml4t.engineer.features.volatility.parkinson_volatility import parkinson_volatility
from ml4t.engineer.features.volatility.rogers_satchell_volatility import rogers_satchell_volatility
from ml4t.engineer.labeling.triple_barrier import triple_barrier_labels
from ml4t.engineer.labeling.uniqueness import build_concurrency, calculate_label_uniqueness
from skfolio.model_selection import CombinatorialPurgedCV

_VOLATILITIES = {
    "garman_klass": garman_klass_volatility,
    "rogers_satchell": rogers_satchell_volatility,
}


def splits(given: dict[str, Any]) -> dict[str, Any]:
    """Training rows of each split, with the path of each tested block."""
    cv = CombinatorialPurgedCV(n_folds=given["blocks"], n_test_folds=given["tested"], purged_size=given["purged"])
    rows = np.zeros((given["rows"], 1))
    return {"training": [train.tolist() for train, _ in cv.split(rows)], "paths": cv.get_path_ids().tolist()}


def barriers(bars: pl.DataFrame, given: dict[str, Any]) -> list[tuple[int, int]]:
    """Label of each event, and after how many bars it was known."""
    at = pl.Series(
        "event_time", [bars["timestamp"][k] if k in set(given["events"]) else None for k in range(bars.height)]
    )
    config = LabelingConfig.triple_barrier(
        upper_barrier=given["up"], lower_barrier=given["down"], max_holding_period=given["vertical"]
    )
    found = triple_barrier_labels(
        bars.with_columns(at),
        config,
        price_col="close",
        open_col="open",
        high_col="high",
        low_col="low",
        timestamp_col="timestamp",
    ).filter(pl.col("event_time").is_not_null())
    return found.select("label", "label_bars").rows()


def main() -> None:
    given = json.load(sys.stdin)
    bars = pl.DataFrame(given["bars"])
    bars = bars.with_columns(timestamp=pl.datetime(2024, 3, 5, 14, 30) + pl.duration(minutes=pl.int_range(pl.len())))
    first, last = (np.array(given["weights"][name]) for name in ("first", "last"))
    options = {"period": bars.height, "annualize": False}
    volatility = {name: each("open", "high", "low", "close", **options) for name, each in _VOLATILITIES.items()}
    volatility["parkinson"] = parkinson_volatility("high", "low", **options)
    found = {
        "splits": [splits(each) for each in given["splits"]],
        "barriers": barriers(bars, given["barriers"]),
        "concurrency": build_concurrency(first, last, bars.height).tolist(),
        "uniqueness": calculate_label_uniqueness(first, last, bars.height).tolist(),
        "volatility": {name: bars.select(each.alias(name))[name][-1] for name, each in volatility.items()},
    }
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
