"""Our labels, weights, splits and some features against mlfinpy, skfolio and ml4t-engineer.

python -m tests.oracles.compare_labels PYTHON_WITH_MLFINPY PYTHON_WITH_SKFOLIO

Where definitions differ both sides get what makes them one: mlfinpy's barriers are simple returns, its labels live from the
event's own bar on, and its longest trend has one bar less than it was given.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tapewatch.features.families.series import fractional_weights, weighted_sums
from tapewatch.features.range_volatility import day_volatility
from tapewatch.labels.barriers.barriers import BarrierRules, triple_barrier
from tapewatch.labels.barriers.events import BPS, cusum_sides
from tapewatch.labels.barriers.horizons import strongest_trends
from tapewatch.labels.training.splits import CombinatorialPurgedCV, LabelSpans, purged
from tapewatch.labels.training.weights import attributed_returns, average_uniqueness, concurrency, drawn_in_turn
from tapewatch.market.instruments import NS_PER_MINUTE
from tapewatch.market.tables.tape import SYMBOL, TIME

_HERE = Path(__file__).parent
_START_NS = 1_709_649_000_000_000_000
_BARS, _VERTICAL, _TARGET, _DRAWS = 390, 30, 0.004, 40
_LOG_CUSUM, _SHORTEST, _LONGEST, _ORDER, _SMALLEST = 0.003, 5, 20, 0.4, 1e-3


def answered(python: str, script: str, given: dict[str, Any]) -> dict[str, Any]:
    """What a script answers. Raises RuntimeError if it fails."""
    done = subprocess.run(
        [python, str(_HERE / script)], input=json.dumps(given), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{script} failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def made_bars(rng: np.random.Generator) -> pl.DataFrame:
    """Minute bars of one symbol, each opening a little away from the close before."""
    steps = rng.normal(0, 5e-4, (_BARS, 4))
    opening = 100 * np.exp(np.cumsum(steps.sum(axis=1))) * np.exp(rng.normal(0, 1e-4, _BARS))
    within = opening[:, None] * np.exp(np.cumsum(steps, axis=1))
    path = np.column_stack([opening, within])
    columns = {"open": opening, "high": path.max(axis=1), "low": path.min(axis=1), "close": within[:, -1]}
    times = pl.Series(_START_NS + np.arange(_BARS) * NS_PER_MINUTE)
    return pl.DataFrame({"symbol": ["A"] * _BARS, "time": times, **columns}).cast({"symbol": SYMBOL, "time": TIME})


def our_barriers(bars: pl.DataFrame, at: np.ndarray, up: float, down: float, *, closes: bool) -> list[list[int]]:
    """Label and number of the last bar of each event, with barriers at these simple returns."""
    if closes:
        bars = bars.with_columns(pl.col("close").alias(name) for name in ("open", "high", "low"))
    usual = 10.0
    target = usual * np.sqrt(_VERTICAL) / BPS
    rules = BarrierRules(_VERTICAL, profit_multiple=np.log1p(up) / target, stop_multiple=-np.log1p(-down) / target)
    events = bars[at].select(
        "symbol", event_time=pl.col("time") + pl.duration(minutes=1), price="close", volatility_bps=pl.lit(usual)
    )
    found = triple_barrier(bars, events=events, rules=rules)
    last = (found["known_time"].dt.epoch("ns") - _START_NS) // NS_PER_MINUTE - 1
    return [list(pair) for pair in zip(found["label"], last, strict=True)]


def compare_mlfinpy(python: str, seed: int) -> int:
    """Events, barriers, weights, draws, trends, purging and fractional differences; returns how many values were compared."""
    rng = np.random.default_rng(seed)
    bars = made_bars(rng)
    close = bars["close"].to_numpy()
    at = np.sort(rng.choice(_BARS - _VERTICAL - 1, 60, replace=False))
    first = at.astype(np.int64)
    last = np.minimum(first + rng.integers(0, 25, first.size), _BARS - 1)
    uniforms = rng.random(_DRAWS)
    tests = [(0, 15), (20, 35), (45, 59)]
    spans = LabelSpans(first, last)
    given = {
        "close": close.tolist(), "threshold": _LOG_CUSUM, "order": _ORDER, "smallest": _SMALLEST,
        "barriers": [{"events": at.tolist(), "vertical": _VERTICAL, "up": _TARGET * m, "down": _TARGET / m} for m in (0.5, 1.0, 2.0)],
        "weights": {"first": first.tolist(), "last": last.tolist(), "uniforms": uniforms.tolist()},
        "trend": {"events": at.tolist(), "shortest": _SHORTEST, "longest": _LONGEST},
        "spans": {
            "starts": first.tolist(), "ends": last.tolist(),
            "tests": [[int(first[a]), int(last[a : b + 1].max())] for a, b in tests],
        },
    }  # fmt: skip
    theirs = answered(python, "labels_reference.py", given)
    whole = np.array([0, _BARS])
    sides = cusum_sides(close, _START_NS + np.arange(_BARS) * NS_PER_MINUTE, whole, np.full(_BARS, _LOG_CUSUM))
    assert np.flatnonzero(sides).tolist() == theirs["cusum"]
    for asked, found in zip(given["barriers"], theirs["barriers"], strict=True):
        assert our_barriers(bars, at, asked["up"], asked["down"], closes=True) == found
    concurrent = concurrency(first, last, _BARS)
    weights = theirs["weights"]
    assert concurrent.tolist() == weights["concurrency"]
    returns = np.append(0.0, np.diff(np.log(close)))
    np.testing.assert_allclose(average_uniqueness(first, last, concurrent), weights["uniqueness"], rtol=1e-9)
    np.testing.assert_allclose(attributed_returns(first, last, concurrent, returns), weights["returns"], rtol=1e-9)
    assert drawn_in_turn(first, last, _BARS, uniforms).tolist() == weights["drawn"]
    windows = np.column_stack([at + 1, np.full(at.size, _BARS)])
    t_values, sizes = strongest_trends(close, windows, _SHORTEST, _LONGEST)
    np.testing.assert_allclose(t_values, [t for t, _ in theirs["trend"]], rtol=1e-7)
    assert sizes.tolist() == [size for _, size in theirs["trend"]]
    for (a, b), kept in zip(tests, theirs["training"], strict=True):
        assert first[purged(spans, [np.arange(a, b + 1)])].tolist() == kept
    weighted = weighted_sums(np.log(close), fractional_weights(_ORDER, _SMALLEST))
    np.testing.assert_allclose(weighted[-len(theirs["fractional"]) :], theirs["fractional"], rtol=1e-9)
    return sum(map(len, (theirs["cusum"], weights["drawn"], theirs["trend"], theirs["fractional"]))) + 6 * at.size


def compare_splits(python: str, seed: int) -> tuple[int, int, int]:
    """Purging by skfolio, by count; returns its leaks with unequal labels, ours, and how many labels ml4t-engineer agrees on."""
    rng = np.random.default_rng(seed)
    bars = made_bars(rng)
    at = np.sort(rng.choice(_BARS - _VERTICAL - 1, 60, replace=False))
    last = np.minimum(at + rng.integers(0, 25, at.size), _BARS - 1)
    rows, length = 120, 4
    starts = np.arange(rows) * 10
    equal = LabelSpans(starts, starts + 10 * length - 5)
    lengths = np.where(rng.random(rows) < 0.1, 300, 5)
    unequal = LabelSpans(starts, starts + lengths)
    shape = {"rows": rows, "blocks": 6, "tested": 2}
    given = {
        "bars": {name: bars[name].to_list() for name in ("open", "high", "low", "close")},
        "barriers": {"events": at.tolist(), "up": _TARGET, "down": _TARGET / 2, "vertical": _VERTICAL},
        "weights": {"first": at.tolist(), "last": last.tolist()},
        "splits": [shape | {"purged": length - 1}, shape | {"purged": int(np.ceil(lengths.mean() / 10))}],
    }
    theirs = answered(python, "purging_reference.py", given)
    by_count, by_mean = theirs["splits"]
    ours = CombinatorialPurgedCV(equal, 6, 2)
    # Labels of one length on an even grid: a count of rows is right, and both sides keep the same rows.
    assert [train.tolist() for train, _ in ours.split(np.zeros((rows, 1)))] == by_count["training"]
    paths = np.array(by_count["paths"])
    tested = [[k for k, row in enumerate(paths) if path in row] for path in range(ours.n_paths)]
    assert [sorted(set(path.tolist())) for path in ours.paths()] == tested
    cv = CombinatorialPurgedCV(unequal, 6, 2)
    splits = list(cv.split(np.zeros((rows, 1))))
    leaks = sum(
        leaking(unequal, np.array(train), test) for train, (_, test) in zip(by_mean["training"], splits, strict=True)
    )
    own = sum(leaking(unequal, train, test) for train, test in splits)
    assert leaks > 0
    assert own == 0
    assert our_barriers(bars, at, _TARGET, _TARGET / 2, closes=False) == [
        [label, event + count] for event, (label, count) in zip(at.tolist(), theirs["barriers"], strict=True)
    ]
    concurrent = concurrency(at, last, _BARS)
    assert concurrent.tolist() == theirs["concurrency"]
    np.testing.assert_allclose(average_uniqueness(at, last, concurrent), theirs["uniqueness"], rtol=1e-9)
    for name, value in theirs["volatility"].items():
        # Theirs is the root of a mean, ours that of a sum, in percent.
        np.testing.assert_allclose(day_volatility(bars)[name][0], 100 * np.sqrt(_BARS) * value, rtol=1e-9)
    return leaks, own, at.size


def leaking(spans: LabelSpans, train: np.ndarray, test: np.ndarray) -> int:
    """How many training labels overlap a test label."""
    overlaps = (spans.starts[train, None] <= spans.ends[test]) & (spans.ends[train, None] >= spans.starts[test])
    return int(overlaps.any(axis=1).sum())


def main() -> None:
    mlfinpy, purging = sys.argv[1:]
    values = sum(compare_mlfinpy(mlfinpy, seed) for seed in (1, 2))
    leaks, own, labels = compare_splits(purging, 3)
    print(f"mlfinpy: {values} events, barriers, weights, draws, trends, purged rows and fractional differences agree")  # noqa: T201
    print(  # noqa: T201
        f"skfolio: the same rows for labels of one length; with unequal ones its count leaves {leaks} training labels that overlap "
        f"a test label, purging by label end {own}"
    )
    print(f"ml4t-engineer: {labels} barriers of bars, concurrency, uniqueness and three volatilities agree")  # noqa: T201


if __name__ == "__main__":
    main()
