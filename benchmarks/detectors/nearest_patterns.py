"""The five nearest of a million past events by 32 numbers: our exact index, and scikit-learn's KD-tree and brute force.

Run: python -m benchmarks.detectors.nearest_patterns [--events N]. All three give the same neighbours.
"""

import argparse
import datetime as dt

import numpy as np
import polars as pl
from sklearn.neighbors import KDTree, NearestNeighbors

from benchmarks.measuring import median_seconds
from models.patterns.index import PatternIndex
from models.patterns.shape import SHAPE
from tapewatch.market.tables.derived import ANOMALY_PATTERNS


def made_up(events: int, seed: int = 0) -> pl.DataFrame:
    """Events around a thousand centres, with heavy tails."""
    noise = np.random.default_rng(seed)
    centres = 2 * noise.standard_t(4, (1000, len(SHAPE)))
    points = centres[noise.integers(0, 1000, events)] + noise.standard_normal((events, len(SHAPE)))
    start = dt.datetime(2024, 6, 3, 14, tzinfo=dt.UTC)
    frame = pl.DataFrame(
        {
            "symbol": ["AAPL"] * events,
            "start_time": [start] * events,
            **{name: points[:, at] for at, name in enumerate(SHAPE)},
        }
        | {"pattern_id": np.arange(events).astype(str)}
    )
    return ANOMALY_PATTERNS.conform(
        frame.with_columns(
            end_time="start_time",
            known_time="start_time",
            kind=pl.lit("price_jump"),
            score=pl.lit(0.6),
            model=pl.lit("m/1"),
        )
    )


def main() -> None:
    """Time one query of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    events = parser.parse_args().events
    index = PatternIndex.of(made_up(events))
    tree = KDTree(index.points, leaf_size=400)
    brute = NearestNeighbors(n_neighbors=5, algorithm="brute").fit(index.points)
    sought = np.random.default_rng(1).standard_t(4, len(SHAPE)).astype(np.float32)
    rows = index.nearest(sought)["distance"].to_numpy()
    assert np.allclose(rows, tree.query(sought[None], k=5)[0][0], atol=1e-4)  # noqa: S101
    taken = median_seconds(
        {
            "ours": lambda: index.nearest(sought),
            "KD-tree": lambda: tree.query(sought[None], k=5),
            "brute force": lambda: brute.kneighbors(sought[None]),
        },
        15,
        warms_up=True,
    )
    print(f"{events:,} events of {len(SHAPE)} numbers, one query:")
    for name, seconds in taken.items():
        print(f"  {name:12} {1e3 * seconds:8.1f} ms  {seconds / taken['ours']:5.1f} times ours")


if __name__ == "__main__":
    main()
