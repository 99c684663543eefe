"""Volatility against plain loops, pandas, arch, and the estimators of a whole day."""

import math

import numpy as np
import pandas as pd
import polars as pl
import pytest
from arch.unitroot import VarianceRatio

from tapewatch.features.families.rows import microstructure_more
from tapewatch.features.range_volatility import day_volatility
from tapewatch.market.tables.features import MICROSTRUCTURE_MORE, VOLATILITY
from tests.features.families.conftest import MINUTES, Busy
from tests.support.tapes import stock_session, tape_of

SESSION = stock_session()


def rows_of(trades) -> pl.DataFrame:
    rows = microstructure_more(*tape_of(trades), SESSION)
    MICROSTRUCTURE_MORE.check(rows)
    return rows


def grid_steps(busy: Busy) -> np.ndarray:
    """Absolute log returns on a grid of five seconds, minutes × 12; NaN before the first price."""
    prices = np.full(MINUTES * 12 + 1, np.nan)
    for at, price, _ in busy.trades:
        prices[int(at // 5) + 1 :] = price
    return np.abs(np.diff(np.log(prices))).reshape(MINUTES, 12)


def test_realised_and_bipower_volatility_and_jump_share(busy: Busy) -> None:
    steps = grid_steps(busy)
    flat = np.nan_to_num(steps.ravel())
    products = (flat * np.concatenate([[0], flat[:-1]])).reshape(MINUTES, 12)
    for row in (9, 30, 77, MINUTES - 1):
        window = slice(max(0, row - 29), row + 1)
        realised = np.nansum(steps[window] ** 2) / (window.stop - window.start)
        bipower = math.pi / 2 * products[window].sum() / (window.stop - window.start)
        # The first return in a window may follow one before it.
        assert busy.column("realised_volatility_30m_bps")[row] == pytest.approx(1e4 * math.sqrt(realised), rel=1e-9)
        assert busy.column("bipower_volatility_30m_bps")[row] == pytest.approx(1e4 * math.sqrt(bipower), rel=1e-9)
        assert busy.column("jump_share")[row] == pytest.approx(max(0, 1 - bipower / realised), rel=1e-9)


def test_a_jump_raises_the_jump_share() -> None:
    generator = np.random.default_rng(5)
    price = 100 * np.exp(np.cumsum(generator.normal(0, 1e-4, 40 * 12)))
    calm = list(zip(range(0, 2400, 5), price.tolist(), [100] * 480, strict=True))
    jumped = [(at, p * (1.02 if at >= 2100 else 1), size) for at, p, size in calm]
    share = [rows_of(each)["jump_share"][39] for each in (calm, jumped)]
    assert share[0] < 0.2
    assert share[1] > 0.9


def test_ranges_are_those_of_a_day_over_thirty_minutes(busy: Busy) -> None:
    window = busy.bars[60:90]
    day = day_volatility(window).row(0, named=True)
    for name in ("parkinson", "garman_klass", "rogers_satchell"):
        expected = day[name] / 100 / math.sqrt(30) * 1e4
        assert busy.column(f"{name}_bps")[89] == pytest.approx(expected, rel=1e-9)


def test_yang_and_zhang(busy: Busy) -> None:
    opens, high, low, close = (np.log(busy.bars[name].to_numpy()) for name in ("open", "high", "low", "close"))
    for row in (10, 40, MINUTES - 1):
        rows = np.arange(max(1, row - 29), row + 1)
        count = rows.size
        night, day = opens[rows] - close[rows - 1], close[rows] - opens[rows]
        up, down = high[rows] - opens[rows], low[rows] - opens[rows]
        drift_free = np.mean(up * (up - day) + down * (down - day))
        weight = 0.34 / (1.34 + (count + 1) / (count - 1))
        variance = np.var(night, ddof=1) + weight * np.var(day, ddof=1) + (1 - weight) * drift_free
        assert busy.column("yang_zhang_bps")[row] == pytest.approx(1e4 * math.sqrt(variance), rel=1e-9)
    assert np.isnan(busy.column("yang_zhang_bps")[:10]).all()


def test_ewma_is_that_of_pandas(busy: Busy) -> None:
    returns = np.diff(np.log(busy.column("last_price"))) * 1e4
    found = busy.column("ewma_volatility_bps")
    assert np.isnan(found[:10]).all()
    for row in (10, 50, 74, 75, MINUTES - 1):
        squares = pd.Series(returns[max(0, row - 74) : row] ** 2)
        expected = math.sqrt(squares.ewm(alpha=0.06, adjust=True).mean().iloc[-1])
        assert found[row] == pytest.approx(expected, rel=1e-9)


def test_the_variance_ratio_is_that_of_arch(busy: Busy) -> None:
    logs = np.log(busy.column("last_price"))
    found = busy.column("variance_ratio_5m")
    assert np.isnan(found[:60]).all()
    for row in (60, 99, MINUTES - 1):
        expected = VarianceRatio(logs[row - 60 : row + 1], lags=5, overlap=True, debiased=True).vr
        assert found[row] == pytest.approx(expected, rel=1e-9)


def test_drawdown_and_recovery(busy: Busy) -> None:
    logs = np.log(busy.column("last_price"))
    for row in range(30, MINUTES):
        path = logs[row - 30 : row + 1]
        falls = np.maximum.accumulate(path) - path
        size = math.sqrt(np.sum(np.diff(path) ** 2))
        assert busy.column("drawdown_score")[row] == pytest.approx(falls.max() / size, rel=1e-9)
        recovery = (path[-1] - path[falls.argmax()]) / size
        assert busy.column("recovery_score")[row] == pytest.approx(recovery, rel=1e-9, abs=1e-12)
    assert np.isnan(busy.column("drawdown_score")[:30]).all()


def test_a_crash_and_its_recovery_by_hand() -> None:
    prices = [100.0] * 40 + [98, 96, 97, 99]
    rows = rows_of([(60 * at, price, 100) for at, price in enumerate(prices)])
    steps = np.diff(np.log(prices))[-30:]
    row = rows.row(43, named=True)
    size = math.sqrt(np.sum(steps**2))
    assert row["drawdown_score"] == pytest.approx(math.log(100 / 96) / size)
    assert row["recovery_score"] == pytest.approx(math.log(99 / 96) / size)


def test_silent_minutes_have_no_range_and_no_return() -> None:
    busy = [(60 * at + 1, 100 + at % 2, 100) for at in range(0, 60, 2)]
    rows = rows_of(busy)
    found = rows.row(59, named=True)
    # Every other minute moves by a bar of one price, which is a step without a range.
    assert found["parkinson_bps"] == 0
    assert found["ewma_volatility_bps"] == 0
    assert found["variance_ratio_5m"] is None
    steps = [(60 * at + 1, 100 + at % 4, 100) for at in range(0, 60, 2)]
    found = rows_of(steps).row(59, named=True)
    assert found["yang_zhang_bps"] == pytest.approx(1e4 * math.log(1.02) / math.sqrt(2), rel=0.03)
    assert found["rogers_satchell_bps"] == 0


@pytest.mark.parametrize("price", [100.0, 1e-9, 1e12])
def test_a_constant_price_has_no_volatility_and_no_ratio(price: float) -> None:
    found = rows_of([(5 * at, price, 100) for at in range(1200)]).row(99, named=True)
    ratios = {"jump_share", "variance_ratio_5m", "drawdown_score", "recovery_score"}
    assert {name: found[name] for name in (c.name for c in VOLATILITY)} == {
        column.name: None if column.name in ratios else 0 for column in VOLATILITY
    }
