"""One row and many: detectors' ONNX graphs and NumPy beside scikit-learn's and Keras' own predictions.

Run: python -m benchmarks.detectors.single_rows [--rows N]. Needs the extra `deep`. The graphs start from scaled inputs, and so do their peers.
"""

import argparse
import datetime as dt
import time
from collections.abc import Callable

import numpy as np
import polars as pl

from models.isolation_forest.detector import IsolationForestDetector
from models.isolation_forest.onnx_graph import forest_graph
from models.lstm_autoencoder.forward import restored
from models.lstm_autoencoder.inputs import INPUTS, minutes_of, with_mid_return
from models.lstm_autoencoder.network import Network, Shape
from models.lstm_autoencoder.onnx_graph import autoencoder_graph
from models.lstm_autoencoder.training import AutoencoderParameters
from models.onnx_files import session
from models.profile import Profile
from tapewatch.market.instruments import Market
from tests.support.synthetic_days import synthetic_day

_DAYS = (dt.date(2024, 3, 4), dt.date(2024, 3, 5), dt.date(2024, 3, 6))
_ONE, _MANY = 30, 3


def median_ms(call: Callable[[], object], times: int) -> float:
    """The median time of a call, after one that does not count."""
    call()
    spent = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        spent.append(time.perf_counter() - start)
    return 1e3 * float(np.median(spent))


def show(name: str, calls: dict[str, tuple[Callable[[], object], Callable[[], object]]], rows: int) -> None:
    """Print each call's times for one row and for many; the first is the peer."""
    times = {who: (median_ms(one, _ONE), median_ms(many, _MANY)) for who, (one, many) in calls.items()}
    peer = next(iter(times.values()))
    print(f"\n{name:24}{'one row, ms':>12}{'times':>8}{f'{rows:,} rows, ms':>20}{'times':>8}")
    for who, (one, many) in times.items():
        print(f"{who:24}{one:12.4f}{peer[0] / one:8.0f}{many:20.0f}{peer[1] / many:8.1f}")


def forest(rows: pl.DataFrame, count: int) -> None:
    """The Isolation Forest's score of its evidence."""
    detector = IsolationForestDetector().fit(rows)
    inputs = np.resize(detector.inputs(rows).astype(np.float32), (count, detector.forest.n_features_in_))
    graph = session(forest_graph(detector.forest))
    calls: dict[str, Callable[..., object]] = {
        "scikit-learn": detector.forest.score_samples,
        "ONNX Runtime": lambda some: graph.run(None, {"evidence": some}),
    }
    show("Isolation Forest", {who: (_of(call, inputs[:1]), _of(call, inputs)) for who, call in calls.items()}, count)


def autoencoder(rows: pl.DataFrame, count: int) -> None:
    """The last minute of a window, restored."""
    sizes = AutoencoderParameters()
    minutes = minutes_of(rows, Profile.fit(with_mid_return(rows), INPUTS), sizes.window)
    values, mask = minutes.windows(np.resize(np.arange(rows.height), count))
    shape = Shape(sizes.window, len(INPUTS), sizes.units, sizes.code)
    network = Network(shape, seed=1, learning_rate=sizes.learning_rate, backend="tensorflow")
    weights = network.weights()
    graph = session(autoencoder_graph(weights, sizes.window))
    calls: dict[str, Callable[..., object]] = {
        "Keras predict": network.predict,
        "ONNX Runtime": lambda v, m: graph.run(None, {"values": v, "mask": m}),
        "NumPy": lambda v, m: restored(weights, v, m),
    }
    show(
        "LSTM autoencoder",
        {who: (_of(call, values[:1], mask[:1]), _of(call, values, mask)) for who, call in calls.items()},
        count,
    )


def _of(call: Callable[..., object], *arguments: object) -> Callable[[], object]:
    return lambda: call(*arguments)


def main() -> None:
    """Time both detectors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000, help="rows of the large batch")
    count = parser.parse_args().rows
    rows = pl.concat(synthetic_day(Market.STOCKS, day).regular for day in _DAYS)
    forest(rows, count)
    autoencoder(rows, count)


if __name__ == "__main__":
    main()
