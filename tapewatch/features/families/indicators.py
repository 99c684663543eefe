"""Indicators of minute bars."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import polars as pl

from tapewatch.features.families import averages, series
from tapewatch.features.families.rows import known
from tapewatch.features.sums import ratio
from tapewatch.market.arrays import Array, flat
from tapewatch.market.instruments import NS_PER_MINUTE, Session
from tapewatch.market.tables.features import INDICATORS, RETURN_MINUTES

_BASIS_POINTS = 1e4
_PRICES = ("open", "high", "low", "close")
#: The indicators that need closes alone.
CLOSE_INDICATORS = ("rsi_14", "macd_bps", "bollinger_position")


def close_indicators(bars: pl.DataFrame, session: Session) -> pl.DataFrame:
    """symbol, event_time and the columns `CLOSE_INDICATORS` of `INDICATORS`, with the same values.

    Arguments and nulls as in `indicators`; of `bars` no volume and no known time is needed.
    """
    found = _by_part(bars, session, _of_closes)
    columns = {name: found.get(name, np.full(bars.height, np.nan)) for name in CLOSE_INDICATORS}
    return bars.select("symbol", event_time="time").with_columns(**known(columns))


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
    keys = bars.select("symbol", "known_time", event_time="time")
    return INDICATORS.conform(keys.with_columns(**known(_by_part(bars, session, _of_part, ("volume", "vwap")))))


def _by_part(
    bars: pl.DataFrame,
    session: Session,
    compute: Callable[[dict[str, Array]], dict[str, Array]],
    names: Sequence[str] = (),
) -> dict[str, Array]:
    """What `compute` gives of each symbol's part of the day, from its prices, times and the columns `names`."""
    columns = {name: flat(bars[name], null=np.nan) for name in (*_PRICES, *names)}
    columns["time"] = flat(bars["time"])
    values: dict[str, Array] = {}
    for rows in _parts(bars, session, columns):
        part = {name: np.ascontiguousarray(column[rows]) for name, column in columns.items()}
        # What overflows becomes null.
        with np.errstate(over="ignore", invalid="ignore"):
            found = compute(part)
        for name, column in found.items():
            values.setdefault(name, np.full(bars.height, np.nan))[rows] = column
    return values


def _of_closes(bars: dict[str, Array]) -> dict[str, Array]:
    close = bars["close"]
    _, lower, upper = averages.bollinger(close)
    return {
        "rsi_14": averages.rsi(close),
        "macd_bps": _BASIS_POINTS * ratio(averages.macd(close)[0], close),
        "bollinger_position": ratio(close - lower, upper - lower),
    }


def _parts(bars: pl.DataFrame, session: Session, columns: dict[str, Array]) -> Iterator[Array]:
    """The rows with sound prices of each symbol's part of the day."""
    time = columns["time"]
    part = (time >= session.regular_start).astype(np.int64) + (time >= session.regular_end)
    is_new = np.diff(flat(bars["symbol"]).astype(np.int64), prepend=-1) != 0
    segment = np.cumsum(is_new) * 3 + part
    sound = np.flatnonzero(np.all([np.isfinite(columns[name]) for name in _PRICES], axis=0))
    if sound.size:
        yield from np.split(sound, np.flatnonzero(np.diff(segment[sound])) + 1)


def _of_part(bars: dict[str, Array]) -> dict[str, Array]:
    """Every indicator of one part of a symbol's day."""
    high, low, close = bars["high"], bars["low"], bars["close"]
    volume = np.nan_to_num(bars["volume"])
    logs = np.log(np.where(close > 0, close, np.nan))
    macd, signal = averages.macd(close)
    middle, lower, upper = averages.bollinger(close)
    mean_price = averages.mean_price(bars["vwap"], volume)
    percent_k, percent_d = averages.stochastic(high, low, close)
    plus, minus, trend = averages.directional(high, low, close)
    shannon, complexity, rate = series.entropies(logs)
    cusum, sadf = series.breaks(logs)
    return {
        **_returns(bars["time"], logs),
        **_of_closes(bars),
        "macd_signal_bps": _BASIS_POINTS * ratio(signal, close),
        "macd_histogram_bps": _BASIS_POINTS * ratio(macd - signal, close),
        "bollinger_width_bps": _BASIS_POINTS * ratio(upper - lower, middle),
        "atr_14_bps": _BASIS_POINTS * ratio(averages.average_true_range(high, low, close), close),
        "obv": averages.on_balance_volume(close, volume),
        "vwap_distance_bps": _BASIS_POINTS * ratio(close - mean_price, mean_price),
        "stochastic_k": percent_k,
        "stochastic_d": percent_d,
        "plus_di_14": plus,
        "minus_di_14": minus,
        "adx_14": trend,
        "fractional_difference": series.weighted_sums(logs, series.fractional_weights()),
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
