"""Indicators of minute bars."""

from collections.abc import Iterator

import numpy as np
import polars as pl

from tapewatch.features.families import averages, series
from tapewatch.features.families.rows import known
from tapewatch.features.sums import ratio
from tapewatch.market.arrays import Array, flat
from tapewatch.market.instruments import NS_PER_MINUTE, Session
from tapewatch.market.tables.features import INDICATORS, RETURN_MINUTES

_BASIS_POINTS = 1e4
_WEIGHTS = series.fractional_weights()
PRICES = ("open", "high", "low", "close")
#: What the indicators need of a bar besides its times.
AMOUNTS = (*PRICES, "volume", "vwap")
NAMES = tuple(column.name for column in INDICATORS.columns if column.name not in (*INDICATORS.key, "known_time"))


def indicators(bars: pl.DataFrame, session: Session) -> pl.DataFrame:
    """`INDICATORS` rows of minute bars, one a bar.

    Each symbol's bars before, in and after regular hours are series of their own, and no bar depends on later ones. A minute
    without a bar is none of the bars that a period counts; returns count minutes by the clock. A bar with a price that is not
    finite gets nulls, and the others are computed as if it were not there. A ratio to a price of zero or below is null, and
    so are fractional differences, entropies and breaks of windows that hold one.

    Args:
        bars: rows with the columns symbol, time, known_time, open, high, low, close, volume and vwap of `BARS`, sorted by
            symbol and time.
        session: the day they belong to.
    """
    columns = {name: flat(bars[name], null=np.nan) for name in AMOUNTS}
    columns["time"] = flat(bars["time"])
    values = {name: np.full(bars.height, np.nan) for name in NAMES}
    for rows in _parts(bars, session, columns):
        found = part_indicators({name: np.ascontiguousarray(column[rows]) for name, column in columns.items()})
        for name, column in found.items():
            values[name][rows] = column
    keys = bars.select("symbol", "known_time", event_time="time")
    return INDICATORS.conform(keys.with_columns(**known(values)))


def _parts(bars: pl.DataFrame, session: Session, columns: dict[str, Array]) -> Iterator[Array]:
    """The rows with sound prices of each symbol's part of the day."""
    part = part_of_day(columns["time"], session)
    is_new = np.diff(flat(bars["symbol"]).astype(np.int64), prepend=-1) != 0
    segment = np.cumsum(is_new) * 3 + part
    sound = np.flatnonzero(np.isfinite([columns[name] for name in PRICES]).all(axis=0))
    if sound.size:
        yield from np.split(sound, np.flatnonzero(np.diff(segment[sound])) + 1)


def part_of_day(time: Array, session: Session) -> Array:
    """0 before, 1 in and 2 after regular hours, of times in ns UTC."""
    part: Array = (time >= session.regular_start).astype(np.int64) + (time >= session.regular_end)
    return part


def part_indicators(bars: dict[str, Array], begin: int = 0) -> dict[str, Array]:
    """The columns `NAMES` of one part of a symbol's day; NaN or infinite where undefined.

    Args:
        bars: `AMOUNTS`, contiguous, float64, with finite prices, and `time`, int64 ns UTC.
        begin: values of bars before this one may be left out as NaN, which saves their cost.
    """
    # What overflows becomes null.
    with np.errstate(over="ignore", invalid="ignore"):
        return _of_part(bars, begin)


def _of_part(bars: dict[str, Array], begin: int) -> dict[str, Array]:
    high, low, close = bars["high"], bars["low"], bars["close"]
    volume = np.nan_to_num(bars["volume"])
    logs = np.log(np.where(close > 0, close, np.nan))
    macd, signal = averages.macd(close)
    middle, lower, upper = averages.bollinger(close)
    mean_price = averages.mean_price(bars["vwap"], volume)
    percent_k, percent_d = averages.stochastic(high, low, close)
    plus, minus, trend = averages.directional(high, low, close)
    shannon, complexity, rate = series.entropies(logs, begin)
    cusum, sadf = series.breaks(logs, begin)
    return {
        **_returns(bars["time"], logs),
        "rsi_14": averages.rsi(close),
        "macd_bps": _BASIS_POINTS * ratio(macd, close),
        "macd_signal_bps": _BASIS_POINTS * ratio(signal, close),
        "macd_histogram_bps": _BASIS_POINTS * ratio(macd - signal, close),
        "bollinger_position": ratio(close - lower, upper - lower),
        "bollinger_width_bps": _BASIS_POINTS * ratio(upper - lower, middle),
        "atr_14_bps": _BASIS_POINTS * ratio(averages.average_true_range(high, low, close), close),
        "obv": averages.on_balance_volume(close, volume),
        "vwap_distance_bps": _BASIS_POINTS * ratio(close - mean_price, mean_price),
        "stochastic_k": percent_k,
        "stochastic_d": percent_d,
        "plus_di_14": plus,
        "minus_di_14": minus,
        "adx_14": trend,
        "fractional_difference": series.weighted_sums(logs, _WEIGHTS, begin),
        "shannon_entropy": shannon,
        "lempel_ziv_complexity": complexity,
        "kontoyiannis_entropy": rate,
        "cusum_break": cusum,
        "sadf": sadf,
    }


def _returns(time: Array, logs: Array) -> dict[str, Array]:
    """Log returns in bps against the last close at least so many minutes older."""
    returns = {}
    for width in RETURN_MINUTES:
        before = np.searchsorted(time, time - width * NS_PER_MINUTE, side="right") - 1
        base = np.where(before >= 0, logs[before], np.nan)
        returns[f"return_{width}m_bps"] = _BASIS_POINTS * (logs - base)
    return returns
