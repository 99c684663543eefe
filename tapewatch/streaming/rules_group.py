"""A symbol that leaves its usual company while the others stay together.

Belongs here: co-movement across symbols, minute by minute. Not here: anything of one symbol alone.
"""

import numpy as np
import numpy.typing as npt

from tapewatch.streaming.rules_settings import CorrelationBreak

Float = npt.NDArray[np.float64]

_CLIP = 5.0
_PRESENT = 0.7
#: The others stay while the middle one of them has moved less than this.
_OTHERS_SCORE = 2.0


class CorrelationRule:
    """Compares each symbol's correlation with the mean of the others, recent minutes against the minutes before.

    Returns are in units of the symbol's usual move and clipped, so that one jump makes no correlation. The test is Fisher's
    z: `(atanh r_before - atanh r_recent) / sqrt(1 / (n - 3) + 1 / (m - 3))`.
    """

    def __init__(self, settings: CorrelationBreak) -> None:
        self.settings = settings
        rows = settings.window_minutes + settings.memory_minutes
        self._returns = np.full((rows, 0), np.nan)
        self._price: Float = np.zeros(0)
        self._price_time: npt.NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._groups: npt.NDArray[np.int64] = np.zeros(0, dtype=np.int64)

    def grow(self, capacity: int) -> None:
        """Make room for more symbols."""
        more = capacity - self._price.size
        self._returns = np.pad(self._returns, ((0, 0), (0, more)), constant_values=np.nan)
        self._price = np.pad(self._price, (0, more))
        self._price_time = np.pad(self._price_time, (0, more))
        self._groups = np.pad(self._groups, (0, more))

    def join(self, symbol: int, name: str) -> None:
        """Put a symbol into its group: the number of the list that names it, -1 where lists are given and none does."""
        groups = self.settings.groups
        self._groups[symbol] = next((k for k, group in enumerate(groups) if name in group), -1 if groups else 0)

    def start_session(self) -> None:
        """Forget prices: no return crosses the night."""
        self._price[:] = 0

    def observe(self, price: Float, price_time: npt.NDArray[np.int64], usual_move: Float) -> None:
        """Take a minute's prices. A symbol without a new price has no return in that minute."""
        is_new = (price > 0) & (price_time > self._price_time)
        with np.errstate(divide="ignore", invalid="ignore"):
            moved = np.log(price / self._price) * 1e4 / np.maximum(usual_move, 0.1)
        moved[~(is_new & (self._price > 0) & (usual_move > 0))] = np.nan
        self._returns = np.roll(self._returns, -1, axis=0)
        self._returns[-1] = np.clip(moved, -_CLIP, _CLIP)
        self._price = np.where(is_new, price, self._price)
        self._price_time = np.where(is_new, price_time, self._price_time)

    def judge(self) -> tuple[Float, Float, Float]:
        """Of each symbol the recent correlation, the usual one, and the score of the difference; NaN where unknown."""
        recent, usual, score = np.full((3, self._price.size), np.nan)
        if not self.settings.is_on:
            return recent, usual, score
        for group in np.unique(self._groups[self._groups >= 0]):
            members = np.flatnonzero((self._groups == group) & (self._price > 0))
            if members.size >= self.settings.min_symbols:
                recent[members], usual[members], score[members] = self._judge_group(members)
        return recent, usual, score

    def _judge_group(self, members: npt.NDArray[np.int64]) -> tuple[Float, Float, Float]:
        returns = self._returns[:, members]
        window = self.settings.window_minutes
        usual, usual_count = _with_others(returns[:-window])
        recent, recent_count = _with_others(returns[-window:])
        with np.errstate(invalid="ignore", divide="ignore"):
            deviation = np.sqrt(1 / (usual_count - 3) + 1 / (recent_count - 3))
            score = (np.arctanh(usual) - np.arctanh(recent)) / deviation
        is_known = (usual_count >= max(30, 0.5 * self.settings.memory_minutes)) & (recent_count >= _PRESENT * window)
        score[~is_known] = np.nan
        return recent, usual, score

    def broken(self, recent: Float, usual: Float, score: Float) -> npt.NDArray[np.bool_]:
        """Which symbols left while the others stayed together."""
        settings = self.settings
        is_broken = (score >= settings.score) & (usual >= settings.usual_correlation)
        is_broken &= recent <= settings.broken_correlation
        for symbol in np.flatnonzero(is_broken):
            others = (self._groups == self._groups[symbol]) & np.isfinite(score)
            others[symbol] = False
            if not others.any() or np.median(score[others]) >= _OTHERS_SCORE:
                is_broken[symbol] = False
        return is_broken


def _with_others(returns: Float) -> tuple[Float, Float]:
    """Correlation of each column with the mean of the others, and the rows in which both are known."""
    is_known = np.isfinite(returns)
    filled = np.where(is_known, returns, 0.0)
    others_count = is_known.sum(axis=1, keepdims=True) - is_known
    others = (filled.sum(axis=1, keepdims=True) - filled) / np.maximum(others_count, 1)
    both = is_known & (others_count > 0)
    count = both.sum(axis=0).astype(np.float64)
    x, y = np.where(both, filled, 0.0), np.where(both, others, 0.0)
    safe = np.maximum(count, 1)
    x, y = np.where(both, x - x.sum(axis=0) / safe, 0.0), np.where(both, y - y.sum(axis=0) / safe, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = (x * y).sum(axis=0) / np.sqrt((x * x).sum(axis=0) * (y * y).sum(axis=0))
    return np.clip(correlation, -0.999, 0.999), count
