"""The measure of each kind of anomaly over a window of the tape, and its natural 99th percentile at a time of day."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from tapewatch.labels.injection.ticks import Ticks
from tapewatch.market.instruments import NS_PER_SECOND

Floats = npt.NDArray[np.float64]

#: Rows of a grid of seconds: shares traded, trades of buyers less those of sellers, quotes, midquote (bps of the log; the last
#: price without quotes), spread (bps), seconds since the last tick.
VOLUME, NET, QUOTES, PRICE, SPREAD, AGE = range(6)
ROWS: Final = 6
_MOVE_SECONDS: Final = 10
_STEP_SECONDS: Final = 5
#: Windows that start so near to a time of day tell what is natural then.
_AROUND_SECONDS: Final = 15 * 60
_QUANTILE: Final = 0.99
_FEWEST_WINDOWS: Final = 30


def seconds_of(ticks: Ticks) -> Floats:
    """Grid (ROWS x seconds) of ticks; values of a second are those at its end. NaN prices before the first."""
    count = (ticks.end - ticks.start) // NS_PER_SECOND
    ends = ticks.start + np.arange(1, count + 1) * NS_PER_SECOND
    grid = np.zeros((ROWS, count))
    second = (ticks.trade_time - ticks.start) // NS_PER_SECOND
    grid[VOLUME] = np.bincount(second, ticks.trade_size, minlength=count)[:count]
    grid[NET] = np.bincount(second, ticks.sides(), minlength=count)[:count]
    grid[QUOTES] = np.bincount((ticks.quote_time - ticks.start) // NS_PER_SECOND, minlength=count)[:count]
    bid, ask = ticks.touch(ends)
    with np.errstate(invalid="ignore", divide="ignore"):
        middle = 0.5 * (bid + ask)
        grid[PRICE] = 1e4 * np.log(middle)
        grid[SPREAD] = np.maximum(ask - bid, 0.0) / middle * 1e4
    times = np.sort(np.append(ticks.trade_time, ticks.quote_time))
    at = np.searchsorted(times, ends, side="left")
    grid[AGE] = (ends - np.append(ticks.last, times)[at]) / NS_PER_SECOND
    return grid


def _sum(windows: Floats) -> Floats:
    return np.asarray(windows.sum(axis=-1))


def _mean(windows: Floats) -> Floats:
    return np.asarray(windows.mean(axis=-1))


def _greatest(windows: Floats) -> Floats:
    return np.asarray(windows.max(axis=-1))


def _one_sided(windows: Floats) -> Floats:
    return np.asarray(np.abs(windows.sum(axis=-1)))


def _sudden_move(windows: Floats) -> Floats:
    return np.asarray(np.abs(windows[..., _MOVE_SECONDS:] - windows[..., :-_MOVE_SECONDS]).max(axis=-1))


def _mean_move(windows: Floats) -> Floats:
    return np.asarray(np.abs(windows[..., _STEP_SECONDS:] - windows[..., :-_STEP_SECONDS]).mean(axis=-1))


def _reversal(windows: Floats) -> Floats:
    """The greatest fall that was made good, or part of a fall that was."""
    before = np.maximum.accumulate(windows, axis=-1) - windows
    after = np.maximum.accumulate(windows[..., ::-1], axis=-1)[..., ::-1] - windows
    return np.asarray(np.minimum(before, after).max(axis=-1))


def _rise_and_fall(windows: Floats) -> Floats:
    return _reversal(-windows)


def _excursion(windows: Floats) -> Floats:
    """The farthest from the first second."""
    return np.asarray(np.abs(windows - windows[..., :1]).max(axis=-1))


@dataclass(frozen=True)
class Measure:
    """What is measured in a window of seconds: a row of the grid, a function of windows (any x seconds), its unit."""

    row: int
    of: Callable[[Floats], Floats]
    unit: str


MEASURES: Final[Mapping[str, Measure]] = {
    "volume_spike": Measure(VOLUME, _sum, "shares"),
    "price_jump": Measure(PRICE, _sudden_move, "bps in 10 seconds"),
    "flash_crash": Measure(PRICE, _reversal, "bps down and up again"),
    "volatility_burst": Measure(PRICE, _mean_move, "mean bps in 5 seconds"),
    "spread_blowout": Measure(SPREAD, _mean, "mean bps"),
    "quote_stuffing": Measure(QUOTES, _sum, "quotes"),
    "one_sided_flow": Measure(NET, _one_sided, "trades, net"),
    "correlation_break": Measure(PRICE, _excursion, "bps away from a peer"),
    "pump_and_dump": Measure(PRICE, _rise_and_fall, "bps up and down again"),
    "feed_outage": Measure(AGE, _greatest, "seconds"),
}


def measured(kind: str, grid: Floats, peers: Floats | None = None) -> float:
    """The measure of one window (ROWS x seconds). A correlation break is measured against each peer; the median counts.

    Args:
        peers: weighted prices of the peers (peers x seconds), bps of the log.
    """
    measure = MEASURES[kind]
    if peers is not None:
        return float(np.median(measure.of(grid[PRICE] - peers)))
    return float(measure.of(grid[measure.row]))


def natural(kind: str, days: Sequence[Floats], second: int, width: int, peers: Sequence[Floats] | None = None) -> float:
    """The 99th percentile of a kind's measure over windows of `width` seconds that start within 15 minutes of a time of day.

    Args:
        days: grids (ROWS x seconds) of whole sessions.
        second: the time of day, seconds after the open.
        peers: of each day, as for `measured`.

    Returns:
        NaN where too few windows are known.
    """
    measure = MEASURES[kind]
    step = max(1, width // 24)
    values = []
    for at, grid in enumerate(days):
        first = max(0, second - _AROUND_SECONDS)
        last = min(grid.shape[1], second + _AROUND_SECONDS + width)
        if last - first < width:
            continue
        series = grid[measure.row, first:last]
        if peers is None:
            values.append(measure.of(np.lib.stride_tricks.sliding_window_view(series, width)[::step]))
        else:
            apart = series - peers[at][:, first:last]
            windows = np.lib.stride_tricks.sliding_window_view(apart, width, axis=1)[:, ::step]
            values.append(np.median(measure.of(windows), axis=0))
    known = np.concatenate(values) if values else np.empty(0)
    known = known[np.isfinite(known)]
    return float(np.quantile(known, _QUANTILE)) if known.size >= _FEWEST_WINDOWS else np.nan


def peer_weights(days: Mapping[str, Sequence[Floats]]) -> dict[str, list[tuple[str, float]]]:
    """Up to five peers of each symbol, the most correlated, with the slopes of one-minute changes on theirs."""
    changes = {}
    for symbol, grids in days.items():
        ends = [np.diff(grid[PRICE, 59::60]) for grid in grids]
        changes[symbol] = np.concatenate(ends) if ends else np.empty(0)
    found: dict[str, list[tuple[str, float]]] = {}
    for symbol, own in changes.items():
        rated = []
        for other, theirs in changes.items():
            both = np.isfinite(own) & np.isfinite(theirs) if own.size == theirs.size else np.zeros(1, dtype=np.bool_)
            if other == symbol or both.sum() < _FEWEST_WINDOWS or theirs[both].std() == 0 or own[both].std() == 0:
                continue
            slope = float(np.cov(own[both], theirs[both])[0, 1] / theirs[both].var(ddof=1))
            rated.append((-abs(float(np.corrcoef(own[both], theirs[both])[0, 1])), other, slope))
        found[symbol] = [(other, slope) for _, other, slope in sorted(rated)[:5]]
    return found
