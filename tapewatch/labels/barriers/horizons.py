"""Labels of what comes within a fixed horizon: its return, its place among the symbols, its strongest trend."""

import numpy as np
import numpy.typing as npt
import polars as pl

from tapewatch.labels.barriers.barriers import last_bars, place_events
from tapewatch.labels.barriers.events import BPS, end_times
from tapewatch.labels.barriers.volatility import usable_bars
from tapewatch.market.arrays import flat, of_one_type
from tapewatch.market.compiled import njit
from tapewatch.market.instruments import NS_PER_MINUTE, Session

Floats = npt.NDArray[np.float64]
#: A straight line has no residual; its t-value is set to this.
_STRAIGHT = 1e6


def fixed_horizon(
    bars: pl.DataFrame,
    events: pl.DataFrame,
    *,
    minutes: int = 30,
    multiple: float = 1.0,
    session: Session | None = None,
    through_ns: int | None = None,
) -> pl.DataFrame:
    """The sign of each event's return over `minutes`, 0 within `multiple` usual moves (López de Prado 2018, section 3.2).

    Args:
        bars: minute bars: symbol, time (start), open, high, low, close.
        events: symbol, event_time (end of a bar), price, volatility_bps (a minute's); `cusum_events`.
        multiple: the threshold, in volatilities of a minute times the root of `minutes`; 0 for the plain sign.
        session: keep to its regular hours; None uses every bar.
        through_ns: the tape is complete up to here; by default each symbol's last bar's end.

    Returns:
        symbol, event_time, known_time (the horizon's end), label (-1, 0, 1), return_bps (log, to the last close by then); sorted by symbol and time. Events whose horizon ends after the tape are left out, and those with a
        price of zero or below at either end.

    Raises:
        ValueError: `minutes` is not positive, or `multiple` is negative.
    """
    if minutes <= 0 or multiple < 0:
        raise ValueError(f"a horizon of {minutes} minutes and a threshold of {multiple} make no label")
    kept = usable_bars(bars, session)
    placed, ends, close = place_events(events, kept), end_times(kept), kept["close"].to_numpy()
    known = placed["event_time"].dt.epoch("ns").to_numpy() + minutes * NS_PER_MINUTE
    last = last_bars(placed, ends, known)
    first, end = placed["first_bar"].to_numpy(), placed["end_bar"].to_numpy()
    tape_end = ends[end - 1] if through_ns is None else np.full(end.size, through_ns)
    later = np.where(last >= first, close[np.maximum(last, 0)] if close.size else np.nan, placed["price"].to_numpy())
    is_defined = (later > 0) & (placed["price"].to_numpy() > 0) & (tape_end >= known)
    with np.errstate(divide="ignore", invalid="ignore"):
        move = np.log(later / placed["price"].to_numpy()) * BPS
    threshold = multiple * placed["volatility_bps"].to_numpy() * np.sqrt(minutes)
    label = np.where(np.abs(move) > threshold, np.sign(move), 0)
    return _labelled(placed, known, label, "return_bps", move).filter(pl.Series(is_defined))


def tail_sets(
    returns: pl.DataFrame, *, tail: float = 0.2, scale: str | None = "volatility_bps", fewest: int = 5
) -> pl.DataFrame:
    """Which symbols are in the upper and lower tail of all symbols at each time (Huerta, Corbacho and Elkan 2013).

    Args:
        returns: symbol, event_time, return_bps, and the column `scale` if it is given; other columns are kept.
        tail: share of the symbols in each tail; the number is rounded down, and at least one.
        scale: returns are divided by this column, so that calm symbols reach the tails too; None compares plain returns.
        fewest: a time with fewer symbols has no tails: its labels are 0.

    Returns:
        The rows, with label 1 in the upper tail, -1 in the lower and 0 between; of equal returns the first symbol by name is
        the lower. Null and non-finite returns, and scales that are not positive, have a null label and are not counted.

    Raises:
        ValueError: `tail` is not above 0 and at most one half.
    """
    if not 0.0 < tail <= 0.5:
        raise ValueError(f"a tail of {tail} of the symbols is none: choose a share above 0 and at most 0.5")
    value = pl.col("return_bps") if scale is None else pl.col("return_bps") / pl.col(scale)
    is_usable = value.is_finite() & (pl.lit(True) if scale is None else pl.col(scale) > 0)
    name, size = pl.col("symbol").cast(pl.String), pl.len().over("event_time")
    usable = returns.filter(is_usable.fill_null(False)).sort("event_time", value, name)
    rank, many = pl.int_range(pl.len()).over("event_time"), (size * tail).floor().clip(lower_bound=1)
    side = pl.when(rank < many).then(-1).when(rank >= size - many).then(1).otherwise(0)
    labelled = usable.with_columns(label=pl.when(size >= fewest).then(side).otherwise(0).cast(pl.Int8))
    rest = returns.filter(~is_usable.fill_null(False)).with_columns(label=pl.lit(None, pl.Int8))
    return pl.concat([labelled, rest]).sort(name, "event_time")


def trend_scan(
    bars: pl.DataFrame,
    events: pl.DataFrame,
    *,
    shortest: int = 5,
    longest: int = 30,
    session: Session | None = None,
) -> pl.DataFrame:
    """The sign of the strongest trend that begins at each event (López de Prado 2019, "Ten Applications of Financial ML").

    From the event's bar on, log closes are regressed on their number, over `shortest` to `longest` bars; the t-value of the
    slope that is greatest in size decides.

    Args:
        bars: minute bars: symbol, time (start), open, high, low, close.
        events: symbol and event_time (end of a bar); `cusum_events`.
        shortest, longest: number of bars of a regression.
        session: keep to its regular hours; None uses every bar.

    Returns:
        symbol, event_time, known_time, label (-1, 0, 1), t_value, bars (of the strongest trend); sorted by symbol and time.
        `known_time` is the end of the last bar of the LONGEST regression: only then is it known which was the strongest.
        Events with fewer bars, or a price of zero or below among them, are left out. The t-value of a straight line is ±1e6.

    Raises:
        ValueError: fewer than three bars, or `longest` below `shortest`.
    """
    if not 3 <= shortest <= longest:
        raise ValueError(f"regressions of {shortest} to {longest} bars: choose at least 3, and the longest not below")
    kept = usable_bars(bars, session)
    placed, ends = place_events(events, kept), end_times(kept)
    windows = of_one_type(placed.select("first_bar", "end_bar").to_numpy())
    t_value, size = strongest_trends(flat(kept["close"]), windows, shortest, longest)
    is_whole = size > 0
    last = np.where(is_whole, windows[:, 0] + longest - 2, 0)
    known = ends[last] if ends.size else last
    found = _labelled(placed, known, np.sign(t_value), "t_value", t_value)
    return found.with_columns(bars=pl.Series(size)).filter(pl.Series(is_whole))


@njit(cache=True)
def strongest_trends(
    close: Floats, windows: npt.NDArray[np.int64], shortest: int, longest: int
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """t-value and bars of the strongest trend from the bar before `windows[k, 0]`; 0 bars where there are too few."""
    t_values, sizes = np.zeros(windows.shape[0]), np.zeros(windows.shape[0], dtype=np.int64)
    for k in range(windows.shape[0]):
        begin = windows[k, 0] - 1
        if begin < 0 or begin + longest > windows[k, 1]:
            continue
        base = close[begin]
        y_sum = y_squares = xy_sum = 0.0
        strongest, size, is_defined = 0.0, shortest, True
        for i in range(longest):
            if close[begin + i] <= 0.0:
                is_defined = False
                break
            y = np.log(close[begin + i] / base)
            y_sum += y
            y_squares += y * y
            xy_sum += i * y
            n = i + 1
            if n < shortest:
                continue
            x_spread = n * (n * n - 1.0) / 12.0
            slope = (xy_sum - y_sum * (n - 1) / 2.0) / x_spread
            y_spread = y_squares - y_sum * y_sum / n
            residual = y_spread - slope * slope * x_spread
            if slope == 0.0:
                t = 0.0
            elif residual <= 1e-12 * y_spread:
                t = _STRAIGHT if slope > 0 else -_STRAIGHT
            else:
                t = slope / np.sqrt(residual / (n - 2.0) / x_spread)
            if abs(t) > abs(strongest):
                strongest, size = t, n
        if is_defined:
            t_values[k], sizes[k] = strongest, size
    return t_values, sizes


def _labelled(
    placed: pl.DataFrame, known: npt.NDArray[np.int64], label: Floats, name: str, value: Floats
) -> pl.DataFrame:
    return placed.select(
        "symbol",
        "event_time",
        known_time=pl.Series(known).cast(pl.Datetime("ns", "UTC")),
        label=pl.Series(label).cast(pl.Int8),
        **{name: pl.Series(value)},
    )
