"""The rule on volatility bursts by midquotes: the last minutes against the minutes before, robust to single jumps."""

from typing import Any

import numpy as np
import numpy.typing as npt

from tapewatch.market.instruments import NS_PER_SECOND
from tapewatch.streaming.detection.rules import state
from tapewatch.streaming.detection.rules.hours import day_per_minute
from tapewatch.streaming.detection.rules.opening import BASIS_POINTS
from tapewatch.streaming.detection.rules.settings import MarketRules

Float = npt.NDArray[np.float64]

#: Steps of ten seconds: two dozen fit a window, and the noise of the spread is small against their returns.
_STEP_NS, _STEPS = 10 * NS_PER_SECOND, 6
#: Bipower variation is this factor times the mean product of neighbouring absolute returns.
_BIPOWER = np.pi / 2
#: Mean range of a random walk over a minute, in standard deviations of the minute's return.
_RANGE = float(np.sqrt(8 / np.pi))
#: Least share of the pairs of steps that must be known, in a window and in a minute.
_LEAST_KNOWN = 0.5
_SUM, _COUNT = range(2)


class BurstRule:
    """Realised bipower variation of midquotes over a few minutes against its running mean before them.

    Bipower variation multiplies neighbouring returns, so a jump is multiplied by an ordinary return. A jump that spans two
    steps would be squared; so a step is capped at twice the multiple of the setting. Sizes are in bps, as the range in a
    minute of a random walk of this volatility, comparable with the ranges by which symbols without quotes are judged.
    """

    def __init__(self, rules: MarketRules, day_minutes: float) -> None:
        self._settings, self._warmup = rules.volatility_burst, rules.common.warmup_minutes
        self._day = day_per_minute(day_minutes)
        self._price: Float = np.zeros(0)
        self._before: Float = np.zeros(0)
        self._usual: Float = np.zeros(0)
        self._learnt: Float = np.zeros(0)
        self._minutes = np.zeros((self._settings.window_minutes + 1, 2, 0))
        self._ended = 0

    @property
    def is_on(self) -> bool:
        """Whether the rule is on and uses midquotes."""
        return self._settings.is_on and self._settings.estimator == "midquotes"

    def grow(self, capacity: int) -> None:
        more = capacity - self._price.size
        for name in ("_price", "_before", "_usual", "_learnt"):
            setattr(self, name, np.pad(getattr(self, name), (0, more)))
        self._minutes = np.pad(self._minutes, ((0, 0), (0, 0), (0, more)))

    def start_session(self) -> None:
        """Reset everything: one session's level says nothing about the next."""
        for array in (self._price, self._usual, self._learnt, self._minutes):
            array[:] = 0.0
        self._before[:] = np.nan

    def forget_prices(self) -> None:
        """Drop the last prices, so that no return spans a gap."""
        self._price[:] = 0.0

    def observe(self, book: Any, now: int) -> None:
        """Add a step's midquotes. A symbol without a quote in this step has no return in this step and the next."""
        if not self.is_on:
            return
        is_fresh = (now - book["quote_time"] < _STEP_NS) & (book["mid"] > 0)
        price = np.where(is_fresh, book["mid"], 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            moved = np.abs(np.log(price / self._price)) * BASIS_POINTS
        moved[~(is_fresh & (self._price > 0))] = np.nan
        usual_step = self._usual / (_RANGE * np.sqrt(_STEPS))
        most = np.where(
            self._learnt >= state.ENOUGH_MINUTES, 2.0 * self._settings.midquote_multiple * usual_step, np.inf
        )
        moved = np.minimum(moved, most)
        pair = moved * self._before
        is_pair = np.isfinite(pair)
        running = self._minutes[self._ended % len(self._minutes)]
        running[_SUM] += np.where(is_pair, pair, 0.0)
        running[_COUNT] += is_pair
        self._price, self._before = price, moved

    def end_minute(self) -> None:
        """Start a new minute, and update the usual size with the minute that leaves the window."""
        self._ended += 1
        leaving = self._minutes[self._ended % len(self._minutes)]
        size = _size(leaving, _STEPS)
        is_known = np.isfinite(size)
        enough = (self._learnt >= state.ENOUGH_MINUTES) & (self._usual > 0)
        size = np.where(enough, np.minimum(size, 4.0 * self._usual), size)
        weight = 1.0 / np.minimum(self._learnt + 1.0, self._settings.memory_minutes)
        self._usual += np.where(is_known, (size - self._usual) * weight, 0.0)
        self._learnt += is_known
        leaving[:] = 0.0

    def judge(self, book: Any) -> tuple[Float, Float, Float]:
        """Each symbol's recent size, usual size and threshold, in bps per minute; NaN where unknown."""
        settings = self._settings
        value = _size(self._minutes.sum(axis=0), settings.window_minutes * _STEPS)
        value[(self._learnt < self._warmup) | (self._usual <= 0)] = np.nan
        floor = np.maximum(settings.min_bps, settings.midquote_day_share * self._day * book["day_move"])
        return value, self._usual, np.maximum(settings.midquote_multiple * self._usual, floor)


def _size(sums: Float, steps: int) -> Float:
    """Range of a minute, bps, from sums over pairs of steps; NaN where too few are known."""
    total, count = sums
    with np.errstate(invalid="ignore", divide="ignore"):
        size: Float = _RANGE * np.sqrt(_STEPS * _BIPOWER * total / count)
    size[count < _LEAST_KNOWN * steps] = np.nan
    return size
