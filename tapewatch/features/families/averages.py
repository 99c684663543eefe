"""Indicators of bars that are carried from bar to bar: RSI, MACD, ATR, ADX, OBV; and those of short windows.

Functions take the bars of one symbol's part of a day, float64, and return values of the same length, NaN where undefined.
"""

import numpy as np

from tapewatch.market.arrays import Array
from tapewatch.market.compiled import njit

#: Bars of Wilder's averages, of the MACD and of the Bollinger bands, and of the stochastic oscillator's means.
PERIOD, FAST, SLOW, SIGNAL, BAND, SMOOTH = 14, 12, 26, 9, 20, 3
_BAND_DEVIATIONS = 2.0

compiled = njit(cache=True, nogil=True, error_model="numpy")


@compiled
def rsi(close: Array) -> Array:
    """Relative strength index (Wilder 1978): 100 gains / (gains + losses); the averages start as the mean of 14 changes.

    NaN for 14 bars, and while there was neither gain nor loss.
    """
    out = np.full(close.size, np.nan)
    gain, loss = 0.0, 0.0
    for at in range(1, close.size):
        change = close[at] - close[at - 1]
        up, down = max(change, 0.0), max(-change, 0.0)
        if at <= PERIOD:
            gain, loss = gain + up / PERIOD, loss + down / PERIOD
        else:
            gain = (gain * (PERIOD - 1) + up) / PERIOD
            loss = (loss * (PERIOD - 1) + down) / PERIOD
        if at >= PERIOD and gain + loss > 0.0:
            # Rounding must not exceed the scale.
            out[at] = min(100.0 * gain / (gain + loss), 100.0)
    return out


@compiled
def exponential(values: Array, period: int, first: int) -> Array:
    """Exponential mean of weight 2 / (period + 1), that starts at `first` as the mean of `period` values; NaN before."""
    out = np.full(values.size, np.nan)
    if values.size <= first:
        return out
    mean = values[first - period + 1 : first + 1].sum() / period
    out[first] = mean
    for at in range(first + 1, values.size):
        mean += 2.0 / (period + 1.0) * (values[at] - mean)
        out[at] = mean
    return out


def macd(close: Array) -> tuple[Array, Array]:
    """MACD and its signal (Appel 2005), in price; both means of the MACD start with bar 26, the signal with bar 34."""
    start = SLOW - 1
    difference: Array = exponential(close, FAST, start) - exponential(close, SLOW, start)
    return difference, exponential(difference, SIGNAL, start + SIGNAL - 1)


@compiled
def true_range(high: Array, low: Array, close: Array) -> Array:
    """Largest of the bar's range and its extremes' distances from the close before; NaN for the first bar."""
    out = np.full(close.size, np.nan)
    for at in range(1, close.size):
        out[at] = max(high[at], close[at - 1]) - min(low[at], close[at - 1])
    return out


@compiled
def average_true_range(high: Array, low: Array, close: Array) -> Array:
    """Average true range (Wilder 1978), in price; starts as the mean of 14 true ranges, NaN before."""
    reach = true_range(high, low, close)
    out = np.full(close.size, np.nan)
    if close.size > PERIOD:
        mean = reach[1 : PERIOD + 1].sum() / PERIOD
        out[PERIOD] = mean
        for at in range(PERIOD + 1, close.size):
            mean = (mean * (PERIOD - 1) + reach[at]) / PERIOD
            out[at] = mean
    return out


@compiled
def directional(high: Array, low: Array, close: Array) -> tuple[Array, Array, Array]:
    """+DI, -DI and ADX (Wilder 1978), in percent; +DI and -DI from bar 15, ADX from bar 28 as the mean of 14 indices.

    NaN while the true range is 0. Where neither direction moves, the directional index counts as 0.
    """
    plus, minus, trend = np.full((3, close.size), np.nan)
    reach = true_range(high, low, close)
    up_sum, down_sum, reach_sum, index_sum = 0.0, 0.0, 0.0, 0.0
    adx = np.nan
    for at in range(1, close.size):
        rise, fall = high[at] - high[at - 1], low[at - 1] - low[at]
        up = rise if rise > fall and rise > 0.0 else 0.0
        down = fall if fall > rise and fall > 0.0 else 0.0
        kept = 1.0 if at < PERIOD else 1.0 - 1.0 / PERIOD
        up_sum, down_sum, reach_sum = up_sum * kept + up, down_sum * kept + down, reach_sum * kept + reach[at]
        if at < PERIOD:
            continue
        index = min(100.0 * abs(up_sum - down_sum) / (up_sum + down_sum), 100.0) if up_sum + down_sum > 0.0 else 0.0
        if at < 2 * PERIOD:
            index_sum += index
            adx = index_sum / PERIOD
        else:
            adx = (adx * (PERIOD - 1) + index) / PERIOD
        if reach_sum > 0.0:
            plus[at], minus[at] = min(100.0 * up_sum / reach_sum, 100.0), min(100.0 * down_sum / reach_sum, 100.0)
            if at >= 2 * PERIOD - 1:
                trend[at] = adx
    return plus, minus, trend


@compiled
def on_balance_volume(close: Array, volume: Array) -> Array:
    """Volume of rising less volume of falling closes since the first bar, which counts 0 (Granville 1963)."""
    out = np.zeros(close.size)
    for at in range(1, close.size):
        step = np.sign(close[at] - close[at - 1]) * volume[at]
        out[at] = out[at - 1] + step
    return out


@compiled
def mean_price(vwap: Array, volume: Array) -> Array:
    """Volume-weighted mean price since the first bar; a bar without volume adds nothing, NaN before the first volume."""
    out = np.full(vwap.size, np.nan)
    value, total = 0.0, 0.0
    for at in range(vwap.size):
        if volume[at] > 0.0 and not np.isnan(vwap[at]):
            value += vwap[at] * volume[at]
            total += volume[at]
        if total > 0.0:
            out[at] = value / total
    return out


@compiled
def stochastic(high: Array, low: Array, close: Array) -> tuple[Array, Array]:
    """Slow %K and %D (Lane 1984): the close within the range of 14 bars, in percent, mean of 3 bars, and its mean of 3.

    NaN until there are 16 or 18 bars, and where a range is 0.
    """
    fast = np.full(close.size, np.nan)
    for at in range(PERIOD - 1, close.size):
        top, bottom = high[at - PERIOD + 1 : at + 1].max(), low[at - PERIOD + 1 : at + 1].min()
        if top > bottom:
            fast[at] = min(100.0 * (close[at] - bottom) / (top - bottom), 100.0)
    # NaN stays NaN.
    slow = np.minimum(simple(fast, SMOOTH), 100.0)
    return slow, np.minimum(simple(slow, SMOOTH), 100.0)


@compiled
def simple(values: Array, period: int) -> Array:
    """Mean of the last `period` values; NaN where one is."""
    out = np.full(values.size, np.nan)
    for at in range(period - 1, values.size):
        out[at] = values[at - period + 1 : at + 1].sum() / period
    return out


@compiled
def bollinger(close: Array) -> tuple[Array, Array, Array]:
    """Middle, lower and upper band (Bollinger 2001): mean of 20 closes, less and plus 2 standard deviations of them."""
    middle = simple(close, BAND)
    reach = np.full(close.size, np.nan)
    for at in range(BAND - 1, close.size):
        reach[at] = _BAND_DEVIATIONS * np.sqrt(((close[at - BAND + 1 : at + 1] - middle[at]) ** 2).sum() / BAND)
    return middle, middle - reach, middle + reach
