"""The levels of an ensemble as arrays: the numbers of `models/calibration/levels.py`, all members at once."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from models.base import Scores
from models.calibration.levels import Level, Levels, hours_of_level, score_of, unbounded
from models.calibration.rarity import stored_levels
from models.ensemble.storage import WHOLE
from models.profile import EVERY_MARKET, group_name
from models.scan.tail import RATES
from models.served.minutes import Indices, Minutes

#: The level of each height that is stored: 1 at the commonest peaks.
_LEVELS = 1.0 + np.log10(RATES[0] / np.array(RATES))


class LevelArrays:
    """Calibrated members and their ensemble, laid out for single rows and batches.

    Args:
        levels: of each member by name, and of WHOLE.
        members: their names, in the order of the scores' columns.
    """

    def __init__(self, levels: Mapping[str, Levels], members: Sequence[str]) -> None:
        whole = levels[WHOLE].by_market
        own = [levels.get(name, Levels({})).by_market for name in members]
        markets = sorted({market for each in (whole, *own) for market in each} - {EVERY_MARKET})
        #: The last stands for all other markets: members do not judge them, the ensemble's is that of all.
        self._market = {name: at for at, name in enumerate(markets)}
        self._elsewhere = len(markets)
        self._members = _Table([[each.get(market) for each in own] for market in markets] + [[None] * len(own)])
        pooled = whole[EVERY_MARKET]
        self._whole = _Table([[whole.get(market, pooled)] for market in markets] + [[pooled]])

    def scores(self, members: Scores, minutes: Minutes) -> Scores:
        """The ensemble's score of its members' (members x rows; a probability as log odds)."""
        at = self._markets_of(minutes)
        judges = self._members.is_known[:, at]
        total = np.add.reduce(np.where(judges, self._members.of(members, at), 0.0), axis=0)
        margin = total / np.maximum(np.add.reduce(judges, axis=0, dtype=np.int64), 1)
        return score_of(self._whole.of(margin[None], at)[0])

    def member_levels(self, members: Scores, minutes: Minutes) -> Scores:
        """The level of each member's score (members x rows); NaN where it does not judge the market."""
        at = self._markets_of(minutes)
        return np.asarray(np.where(self._members.is_known[:, at], self._members.of(members, at), np.nan))

    def _markets_of(self, minutes: Minutes) -> Indices:
        """The place of each row's market; of one row, which stands for all, if they are of one market."""
        found = np.array([self._market.get(group_name(name), self._elsewhere) for name in minutes.names])
        return found[:1] if (found == found[0]).all() else found[minutes.of_name]


class HourTable:
    """A detector's own levels (`models/calibration/rarity.py`), as hours of ordinary tape between scores as high.

    Args:
        name: of the detector.
        levels: by market; other markets take that of all.
    """

    def __init__(self, name: str, levels: Levels) -> None:
        self._name = name
        self._pieces = {market: _pieces(level) for market, level in levels.by_market.items()}

    @classmethod
    def stored(cls, folder: Path, name: str) -> "HourTable | None":
        """The table of the detector saved in `folder`; None if its training was too short for a calibration."""
        levels = stored_levels(folder, name)
        return cls(name, levels) if levels else None

    def of(self, scores: Scores, minutes: Minutes) -> Scores:
        """The hours of each row's score; a million stands for more."""
        plain = unbounded(self._name, scores)
        markets = [group_name(name) for name in minutes.names]
        known = [market if market in self._pieces else EVERY_MARKET for market in markets]
        if len(set(known)) == 1:
            return _hours(plain, self._pieces[known[0]])
        own = np.array(known)[minutes.of_name]
        found = np.empty(plain.shape)
        for market in set(known):
            mine = own == market
            found[mine] = _hours(plain[mine], self._pieces[market])
        return found


#: A level as a line of straight pieces: its knots, their levels, and the slope beyond the last.
_Pieces = tuple[Scores, Scores, float]


def _pieces(level: Level) -> _Pieces:
    knots = np.array([level.median, *level.tail.heights])
    return (
        np.minimum(knots, level.tail.heights[-1]),
        np.array([0.0, *_LEVELS]),
        1.0 / (level.tail.excess * np.log(10.0)),
    )


def _hours(scores: Scores, pieces: _Pieces) -> Scores:
    knots, levels, slope = pieces
    return hours_of_level(np.interp(scores, knots, levels) + slope * np.maximum(scores - knots[-1], 0.0))


class _Table:
    """Levels by market and column: medians, heights, and the slopes that follow each height. Arrays are columns x markets."""

    def __init__(self, levels: Sequence[Sequence[Level | None]]) -> None:
        self.is_known = np.array([[level is not None for level in row] for row in levels]).T
        blank = np.arange(len(RATES), dtype=np.float64)
        heights = np.array([[blank if level is None else level.tail.heights for level in row] for row in levels])
        median = [[-1.0 if level is None else level.median for level in row] for row in levels]
        excess = [[1.0 if level is None else level.tail.excess for level in row] for row in levels]
        with np.errstate(divide="ignore", invalid="ignore"):
            steps = np.nan_to_num(np.diff(_LEVELS) / np.diff(heights, axis=2), posinf=0.0)
        end = 1.0 / (np.array(excess) * np.log(10.0))
        slopes = np.concatenate([steps, end[:, :, None]], axis=2)
        last = np.full((*end.shape, 1), np.inf)
        lengths = np.concatenate([np.diff(heights, axis=2), last], axis=2)
        self._median, self._first = np.array(median).T, heights[:, :, 0].T
        self._rise = np.maximum(self._first - self._median, 1e-12)
        # Heights x columns x markets: sums over the first axis are fast.
        self._heights, self._slopes, self._lengths = (
            np.ascontiguousarray(each.T) for each in (heights, slopes, lengths)
        )

    def of(self, scores: Scores, at: Indices) -> Scores:
        """The level of each score (columns x rows) in the market of its row; one market stands for all rows."""
        run = scores - self._heights.take(at, axis=2)
        np.minimum(np.maximum(run, 0.0, out=run), self._lengths.take(at, axis=2), out=run)
        run *= self._slopes.take(at, axis=2)
        above = np.add.reduce(run, axis=0)
        above += 1.0
        below = (scores - self._median.take(at, axis=1)) / self._rise.take(at, axis=1)
        np.minimum(np.maximum(below, 0.0, out=below), 1.0, out=below)
        return np.asarray(np.where(scores > self._first.take(at, axis=1), above, below))
