"""The rule on correlation: one symbol stops moving with its group while the others still move together."""

from typing import Any

import numpy as np
import numpy.typing as npt

from tapewatch.market.instruments import NS_PER_MINUTE
from tapewatch.streaming.detection.rules import state
from tapewatch.streaming.detection.rules.settings import CorrelationBreak

Float = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

_CLIP = 5.0
_PRESENT, _PRESENT_BEFORE = 0.7, 0.5
#: The others still move together while their median score is below this.
_OTHERS_SCORE = 2.0
_ENOUGH, _LEAST_MOVE = 10, 1e-6
#: The sums behind a correlation: count, own returns, others' returns, their squares and their product.
_SUMS = 6


class CorrelationRule:
    """Compares each symbol's correlation with the mean of the others, recent minutes against the minutes before.

    Returns are divided by the symbol's usual size and clipped, so that one jump makes no correlation. The test is Fisher's
    z: `(atanh r_before - atanh r_recent) / sqrt(1 / (n - 3) + 1 / (m - 3))`. Only sums by minute are kept.

    Args:
        settings: thresholds and groups.
        window_minutes: length of the recent window.
        steps: returns per minute.
    """

    def __init__(self, settings: CorrelationBreak, window_minutes: int, steps: int) -> None:
        self.settings, self.window_minutes, self._steps = settings, window_minutes, steps
        self._minutes = np.zeros((window_minutes + settings.memory_minutes, _SUMS, 0))
        self._running = np.zeros((_SUMS, 0))
        self._ended = 0
        self._price: Float = np.zeros(0)
        self._usual: Float = np.zeros(0)
        self._seen: Float = np.zeros(0)
        self._groups: npt.NDArray[np.int64] = np.zeros(0, dtype=np.int64)

    def grow(self, capacity: int) -> None:
        more = capacity - self._price.size
        for name in ("_price", "_usual", "_seen", "_groups"):
            setattr(self, name, np.pad(getattr(self, name), (0, more)))
        self._minutes = np.pad(self._minutes, ((0, 0), (0, 0), (0, more)))
        self._running = np.pad(self._running, ((0, 0), (0, more)))

    def join(self, symbol: int, name: str) -> None:
        """Put a symbol into its group: the index of the list that names it, -1 where lists are given and none names it."""
        groups = self.settings.groups
        self._groups[symbol] = next((k for k, group in enumerate(groups) if name in group), -1 if groups else 0)

    def forget_prices(self) -> None:
        """Drop the last prices, so that no return spans a night or a gap."""
        self._price[:] = 0

    def observe(self, price: Float, is_fresh: Bool) -> None:
        """Add a step's prices. A symbol without a fresh price has no return in this step and the next."""
        is_known = is_fresh & (self._price > 0) & (self._groups >= 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            moved = np.where(is_known, np.log(price / self._price), 0.0)
        self._price = np.where(is_fresh, price, 0.0)
        own = np.where(is_known, np.clip(moved / np.maximum(self._usual, _LEAST_MOVE), -_CLIP, _CLIP), 0.0)
        self._learn(np.abs(moved), is_known)
        is_known &= self._seen > _ENOUGH
        own[~is_known] = 0.0
        groups = np.maximum(self._groups, 0)
        count = np.bincount(groups, weights=is_known)[groups]
        others = (np.bincount(groups, weights=own)[groups] - own) / np.maximum(count - 1, 1)
        both = is_known & (count >= self.settings.min_symbols)
        self._running += np.where(both, (np.ones_like(own), own, others, own * own, others * others, own * others), 0.0)

    def _learn(self, size: Float, is_known: Bool) -> None:
        capped = np.where(self._seen >= _ENOUGH, np.minimum(size, 4.0 * self._usual + _LEAST_MOVE), size)
        weight = 1.0 / np.minimum(self._seen + 1.0, 60.0 * self._steps)
        self._usual += np.where(is_known, (capped - self._usual) * weight, 0.0)
        self._seen += is_known

    def end_minute(self) -> None:
        """Store the sums of the minute that ended."""
        self._minutes[self._ended % len(self._minutes)] = self._running
        self._running[:] = 0.0
        self._ended += 1

    def judge(self) -> tuple[Float, Float, Float]:
        """Each symbol's recent correlation, usual correlation and score of the difference; NaN where unknown."""
        rows = len(self._minutes)
        latest = np.arange(self._ended - self.window_minutes, self._ended) % rows
        recent_sums = self._minutes[latest].sum(axis=0)
        recent, recent_count = _correlation(recent_sums)
        usual, usual_count = _correlation(self._minutes.sum(axis=0) - recent_sums)
        with np.errstate(invalid="ignore", divide="ignore"):
            deviation = np.sqrt(1 / (usual_count - 3) + 1 / (recent_count - 3))
            score = (np.arctanh(usual) - np.arctanh(recent)) / deviation
        least = max(30.0, _PRESENT_BEFORE * self.settings.memory_minutes * self._steps)
        is_known = (usual_count >= least) & (recent_count >= _PRESENT * self.window_minutes * self._steps)
        score[~is_known] = np.nan
        return recent, usual, score

    def broken(self, recent: Float, usual: Float, score: Float) -> Bool:
        """Symbols whose correlation broke while the others still moved together."""
        settings = self.settings
        is_broken = (score >= settings.score) & (usual >= settings.usual_correlation)
        is_broken &= recent <= settings.broken_correlation
        for symbol in np.flatnonzero(is_broken):
            others = (self._groups == self._groups[symbol]) & np.isfinite(score)
            others[symbol] = False
            if not others.any() or np.median(score[others]) >= _OTHERS_SCORE:
                is_broken[symbol] = False
        return is_broken


def tick_prices(book: Any, now: int) -> tuple[Float, Bool]:
    """Each symbol's price for `observe`, and whether it is fresh: the midquote, or the last print where there is none.

    Prints bounce between bid and ask, which lowers their correlation.
    """
    is_quoted = now - book["quote_time"] < NS_PER_MINUTE
    price = np.where(is_quoted, book["mid"], book["tick_price"])
    is_fresh = (is_quoted | (now - book["price_time"] < NS_PER_MINUTE)) & (price > 0)
    return price, is_fresh & (book["source"] != state.FROM_BARS)


def bar_prices(book: Any, now: int) -> tuple[Float, Bool]:
    """The same for symbols that have bars only."""
    is_new = (now - book["price_time"] < NS_PER_MINUTE) & (book["price"] > 0)
    return book["price"].copy(), is_new & (book["source"] == state.FROM_BARS)


def _correlation(sums: Float) -> tuple[Float, Float]:
    """Each symbol's correlation with the others from its sums, and the number of returns in it."""
    count, x, y, xx, yy, xy = sums
    safe = np.maximum(count, 1.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = (xy - x * y / safe) / np.sqrt((xx - x * x / safe) * (yy - y * y / safe))
    return np.clip(correlation, -0.999, 0.999), count
