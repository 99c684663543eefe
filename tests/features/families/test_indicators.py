"""Indicators against TA-Lib, statsmodels, and plain programs from the literature."""

import math
import warnings

import numpy as np
import polars as pl
import pytest
import talib
from statsmodels.tsa.stattools import adfuller

from tapewatch.features.families import series
from tapewatch.features.families.indicators import indicators
from tests.features.families.conftest import MINUTES, Busy
from tests.support.tapes import stock_session

SESSION = stock_session()


@pytest.fixture(scope="module")
def prices(busy: Busy) -> dict[str, np.ndarray]:
    return {name: busy.bars[name].to_numpy() for name in ("open", "high", "low", "close", "volume", "vwap")}


def same(busy: Busy, name: str, expected: np.ndarray, first: int) -> None:
    """The column equals `expected` from bar `first` on, and is null before."""
    found = busy.column(name)
    assert np.isnan(found[:first]).all()
    np.testing.assert_allclose(found[first:], expected[first:], rtol=1e-9, atol=1e-9)


def test_rsi_atr_and_adx_are_those_of_ta_lib(busy: Busy, prices) -> None:
    bars = [prices[name] for name in ("high", "low", "close")]
    same(busy, "rsi_14", talib.RSI(prices["close"], 14), 14)
    same(busy, "atr_14_bps", 1e4 * talib.ATR(*bars, 14) / prices["close"], 14)
    same(busy, "plus_di_14", talib.PLUS_DI(*bars, 14), 14)
    same(busy, "minus_di_14", talib.MINUS_DI(*bars, 14), 14)
    same(busy, "adx_14", talib.ADX(*bars, 14), 27)


def test_macd_is_that_of_ta_lib(busy: Busy, prices) -> None:
    macd, signal, histogram = (1e4 * each / prices["close"] for each in talib.MACD(prices["close"], 12, 26, 9))
    assert np.isnan(busy.column("macd_bps")[:25]).all()
    np.testing.assert_allclose(busy.column("macd_bps")[33:], macd[33:], rtol=1e-9, atol=1e-9)
    same(busy, "macd_signal_bps", signal, 33)
    same(busy, "macd_histogram_bps", histogram, 33)


def test_bollinger_bands_and_stochastic_are_those_of_ta_lib(busy: Busy, prices) -> None:
    upper, middle, lower = talib.BBANDS(prices["close"], 20, 2, 2, talib.MA_Type.SMA)
    # TA-Lib's running sums of squares are the less exact ones.
    np.testing.assert_allclose(
        busy.column("bollinger_position")[19:], ((prices["close"] - lower) / (upper - lower))[19:], rtol=1e-6
    )
    np.testing.assert_allclose(
        busy.column("bollinger_width_bps")[19:], (1e4 * (upper - lower) / middle)[19:], rtol=1e-6
    )
    close, deviation = (
        prices["close"],
        2 * np.array([np.std(prices["close"][at - 19 : at + 1]) for at in range(19, MINUTES)]),
    )
    means = np.array([close[at - 19 : at + 1].mean() for at in range(19, MINUTES)])
    np.testing.assert_allclose(busy.column("bollinger_width_bps")[19:], 2e4 * deviation / means, rtol=1e-9)
    slow_k, slow_d = talib.STOCH(*(prices[name] for name in ("high", "low", "close")), 14, 3, 0, 3, 0)
    np.testing.assert_allclose(busy.column("stochastic_k")[17:], slow_k[17:], rtol=1e-9)
    same(busy, "stochastic_d", slow_d, 17)


def test_on_balance_volume_is_that_of_ta_lib(busy: Busy, prices) -> None:
    expected = talib.OBV(prices["close"], prices["volume"])
    same(busy, "obv", expected - expected[0], 0)


def test_returns_and_distance_from_the_mean_price(busy: Busy, prices) -> None:
    logs = np.log(prices["close"])
    for width in (5, 15, 30, 60):
        same(
            busy,
            f"return_{width}m_bps",
            1e4 * np.concatenate([np.full(width, np.nan), logs[width:] - logs[:-width]]),
            width,
        )
    mean = np.cumsum(prices["vwap"] * prices["volume"]) / np.cumsum(prices["volume"])
    same(busy, "vwap_distance_bps", 1e4 * (prices["close"] / mean - 1), 0)


def test_returns_count_minutes_by_the_clock() -> None:
    bars = bars_of([10.0, 11.0, 12.0, 13.0], minutes=[0, 3, 7, 8])
    found = indicators(bars, SESSION)["return_5m_bps"].to_list()
    assert found == [None, None, pytest.approx(1e4 * math.log(12 / 10)), pytest.approx(1e4 * math.log(13 / 11))]


def test_fractional_differences(busy: Busy, prices) -> None:
    """Weights from the binomial series, their window cut where the weight falls below 0.001."""
    weights = [1.0]
    while abs(weights[-1] * (0.4 - len(weights) + 1) / len(weights)) >= 1e-3:
        weights.append(-weights[-1] * (0.4 - len(weights) + 1) / len(weights))
    np.testing.assert_allclose(series.fractional_weights()[:4], [1, -0.4, -0.12, -0.064], rtol=1e-12)
    expected = np.full(MINUTES, np.nan)
    expected[len(weights) - 1 :] = np.convolve(np.log(prices["close"]), weights, mode="valid")
    same(busy, "fractional_difference", expected, len(weights) - 1)
    assert series.fractional_weights(1.0).tolist() == [1, -1]


def test_dickey_fuller_is_that_of_statsmodels(prices) -> None:
    logs = np.log(prices["close"])
    for lags in (0, 1, 3):
        assert series.dickey_fuller(logs, lags) == pytest.approx(statsmodels_adf(logs, lags), rel=1e-9)
    assert math.isnan(series.dickey_fuller(np.ones(50)))
    assert math.isnan(series.dickey_fuller(np.arange(3.0)))


def statsmodels_adf(values: np.ndarray, lags: int) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return adfuller(values, maxlag=lags, regression="c", autolag=None)[0]


def test_the_smallest_stationary_order() -> None:
    steps = np.random.default_rng(4).normal(0, 1e-3, 2000)
    orders = [0.0, 0.25, 0.5, 0.75, 1.0]
    walk = series.smallest_stationary_order(4 + np.cumsum(steps), orders)
    assert walk is not None
    assert 0 < walk < 1
    assert series.smallest_stationary_order(4 + steps, orders) == 0
    assert series.smallest_stationary_order(np.exp(np.arange(2000.0) / 50), [0.0, 0.1]) is None


def lempel_ziv(message: str) -> int:
    """Snippet 18.2 of López de Prado (2018)."""
    at, library = 1, [message[0]]
    while at < len(message):
        for end in range(at, len(message)):
            phrase = message[at : end + 1]
            if phrase not in library:
                library.append(phrase)
                break
        at = end + 1
    return len(library)


def match_length(message: str, at: int, size: int) -> int:
    """Snippet 18.3 of López de Prado (2018)."""
    longest = 0
    for length in range(size):
        if any(message[at : at + length + 1] == message[j : j + length + 1] for j in range(at - size, at)):
            longest = length + 1
    return longest + 1


def test_entropies_are_those_of_the_literatures_programs(busy: Busy, prices) -> None:
    directions = np.sign(np.diff(prices["close"])).astype(int)
    for row in (60, 61, 90, MINUTES - 1):
        message = "".join("sud"[step] for step in directions[row - 60 : row])
        shares = [message.count(letter) / 60 for letter in set(message)]
        assert busy.column("shannon_entropy")[row] == pytest.approx(-sum(p * math.log2(p) for p in shares), rel=1e-9)
        assert busy.column("lempel_ziv_complexity")[row] == pytest.approx(lempel_ziv(message) / 60)
        rate = np.mean([math.log2(at + 1) / match_length(message, at, at) for at in range(1, 31)])
        assert busy.column("kontoyiannis_entropy")[row] == pytest.approx(rate, rel=1e-9)
    assert np.isnan(busy.column("shannon_entropy")[:60]).all()


def test_a_steady_rise_has_no_entropy_and_a_coin_has_one_bit() -> None:
    found = indicators(bars_of(np.arange(100.0, 200.0)), SESSION)
    assert found["shannon_entropy"][99] == 0
    assert found["kontoyiannis_entropy"][99] < 0.5
    coin = np.cumsum(np.random.default_rng(8).choice([-1.0, 1.0], 390)) + 1000
    found = indicators(bars_of(coin), SESSION)
    assert found["shannon_entropy"][60:].mean() == pytest.approx(1, abs=0.03)


def test_sadf_is_the_largest_statistic_of_statsmodels(busy: Busy, prices) -> None:
    logs = np.log(prices["close"])
    found = busy.column("sadf")
    assert np.isnan(found[:59]).all()
    for row in (59, 88, MINUTES - 1):
        window = logs[row - 59 : row + 1]
        expected = max(statsmodels_adf(window[start:], 0) for start in range(60 - 20 + 1))
        assert found[row] == pytest.approx(expected, rel=1e-9)


def test_sadf_rises_in_a_bubble() -> None:
    noise = np.random.default_rng(3).normal(0, 1e-3, 120)
    bubble = np.cumsum(noise)
    bubble[80:] += 1e-4 * np.exp(np.arange(40) / 6)
    found = indicators(bars_of(100 * np.exp(bubble)), SESSION)["sadf"].to_numpy()
    assert found[79] < 0.5
    assert found[119] > 3


def test_cusum_of_levels(busy: Busy, prices) -> None:
    logs = np.log(prices["close"])
    for row in (59, 100, MINUTES - 1):
        window = logs[row - 59 : row + 1]
        deviation = math.sqrt(np.mean(np.diff(window) ** 2))
        expected = max(
            abs(window[-1] - window[at]) / (deviation * math.sqrt(59 - at)) / math.sqrt(4.6 + math.log(59 - at))
            for at in range(59)
        )
        assert busy.column("cusum_break")[row] == pytest.approx(expected, rel=1e-9)
    # A step from calm has all the variance of its window.
    stepped = indicators(bars_of([100.0] * 70 + [105.0]), SESSION)["cusum_break"]
    assert stepped[69] is None
    assert stepped[70] == pytest.approx(math.sqrt(59 / 4.6))


def bars_of(close, minutes=None) -> pl.DataFrame:
    """Bars of one price from the regular open on."""
    minutes = range(len(close)) if minutes is None else minutes
    time = [SESSION.regular_start + minute * 60_000_000_000 for minute in minutes]
    frame = pl.DataFrame({"time": time, "close": np.asarray(close, dtype=float)}).select(
        pl.lit("AAA").cast(pl.Categorical).alias("symbol"),
        pl.from_epoch("time", "ns").dt.replace_time_zone("UTC"),
        *(pl.col("close").alias(name) for name in ("open", "high", "low")),
        "close",
        volume=100.0,
        vwap="close",
    )
    return frame.with_columns(known_time=pl.col("time") + pl.duration(minutes=1))
