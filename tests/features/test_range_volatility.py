"""Range estimators of volatility, by hand and by simulation."""

import datetime as dt
import math

import numpy as np
import polars as pl
import pytest

from tapewatch.features.range_volatility import ESTIMATORS, day_volatility

START = dt.datetime(2024, 3, 5, 14, 30, tzinfo=dt.UTC)


def bars(rows: list[tuple[float, float, float, float]], symbol: str = "AAA") -> pl.DataFrame:
    opens, high, low, close = zip(*rows, strict=True)
    times = [START + dt.timedelta(minutes=minute) for minute in range(len(rows))]
    return pl.DataFrame({"symbol": symbol, "time": times, "open": opens, "high": high, "low": low, "close": close})


def test_one_bar_by_hand() -> None:
    found = day_volatility(bars([(100.0, 102.0, 99.0, 101.0)])).row(0, named=True)
    spread, body = math.log(102 / 99), math.log(101 / 100)
    assert found["close_to_close"] == 0
    assert found["parkinson"] == pytest.approx(100 * spread / math.sqrt(4 * math.log(2)))
    assert found["garman_klass"] == pytest.approx(100 * math.sqrt(0.5 * spread**2 - (2 * math.log(2) - 1) * body**2))
    above = math.log(102 / 101) * math.log(102 / 100)
    below = math.log(99 / 101) * math.log(99 / 100)
    assert found["rogers_satchell"] == pytest.approx(100 * math.sqrt(above + below))


def test_all_find_the_volatility_of_a_random_walk() -> None:
    generator = np.random.default_rng(3)
    true = 0.02
    steps = generator.normal(0, true / math.sqrt(390 * 500), (390, 500))
    path = np.exp(np.cumsum(steps.ravel())).reshape(390, 500)
    start = np.concatenate([[1.0], path[:-1, -1]])
    rows = [
        (first, max(first, minute.max()), min(first, minute.min()), minute[-1])
        for first, minute in zip(start, path, strict=True)
    ]
    found = day_volatility(bars(rows)).row(0, named=True)
    # A path of 500 steps misses some of its extremes, so ranges fall a little short.
    assert all(found[name] == pytest.approx(100 * true, rel=0.12) for name in ESTIMATORS)


def test_symbols_are_independent_and_bars_at_zero_are_left_out() -> None:
    mixed = pl.concat(
        [bars([(1.0, 1.0, 1.0, 1.0)] * 2, "BBB"), bars([(50.0, 51.0, 0.0, 50.0), (50.0, 51.0, 49.0, 50.0)])]
    )
    found = day_volatility(mixed)
    assert found["symbol"].to_list() == ["AAA", "BBB"]
    assert found["bars"].to_list() == [1, 2]
    assert found.filter(pl.col("symbol") == "BBB").select(*ESTIMATORS).row(0) == (0, 0, 0, 0)
