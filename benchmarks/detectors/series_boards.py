"""The two boards' scores of one series: NAB's reward of early detection, and the volume under the precision-recall surface.

Both are our own implementations of the published definitions, without the boards' code:
Lavin and Ahmad, "Evaluating Real-Time Anomaly Detection Algorithms" (2015), with the weights of NAB 1.0's profiles; and
Paparrizos et al., "Volume Under the Surface" (VLDB 2022).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

#: The share of a file, and of its first 5,000 rows at most, that NAB leaves to learning.
PROBATION: Final = 0.15


@dataclass(frozen=True)
class Profile:
    """What an application gains by a detected window and loses by a missed one or a false alert."""

    false_alert: float
    missed: float


PROFILES: Final = {
    "standard": Profile(0.11, 1.0),
    "reward low FP": Profile(0.22, 1.0),
    "reward low FN": Profile(0.11, 2.0),
}


@dataclass(frozen=True)
class Labelled:
    """A series' scores and its windows as (first, last) row, both included, in order."""

    scores: Floats
    windows: Sequence[tuple[int, int]]


def _sigmoid_reward(position: Floats) -> Floats:
    """NAB's reward: near 1 at a window's start (-1), 0 at its end (0), -1 far behind it."""
    return np.where(position >= 3.0, -1.0, 2.0 / (1.0 + np.exp(5.0 * position)) - 1.0)


def _rewards(series: Labelled) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Per row the reward of an alert there, and the window that it lies in (-1: none)."""
    rows = np.arange(len(series.scores))
    window_of = np.full(len(rows), -1)
    position = np.full(len(rows), 3.0)
    for number, (first, last) in enumerate(series.windows):
        width = last - first + 1
        inside = (rows >= first) & (rows <= last)
        behind = rows > last
        position[behind] = (rows[behind] - last) / max(width - 1, 1)
        position[inside] = -(last - rows[inside] + 1) / width
        window_of[inside] = number
    reward = _sigmoid_reward(position)
    inside = window_of >= 0
    reward[inside] /= _sigmoid_reward(np.array(-1.0))
    return reward, window_of


def nab_score(corpus: Sequence[Labelled], profile: Profile) -> tuple[float, float]:
    """The corpus' normalised score (100: all windows at once and no false alert; 0: no alert) and its best threshold.

    One threshold for all series, the one with the highest score, as the board chooses it. An alert is every row whose score
    reaches it; a window counts once, by its earliest alert; alerts in the first 15 % of a series are free.
    """
    scores, gains = [], []
    windows = 0
    for series in corpus:
        reward, window_of = _rewards(series)
        probation = int(min(PROBATION * len(reward), PROBATION * 5000))
        scored = np.arange(len(reward)) >= probation
        # A window that starts in probation counts from its first scored row.
        windows += len(set(window_of[scored & (window_of >= 0)]))
        outside = scored & (window_of < 0)
        scores.append(series.scores[outside])
        gains.append(profile.false_alert * reward[outside])
        for number in set(window_of[scored & (window_of >= 0)]):
            inside = np.flatnonzero(scored & (window_of == number))
            order = inside[np.argsort(-series.scores[inside], kind="stable")]
            best = np.maximum.accumulate(reward[order])
            # The window's gain once the threshold has come down to each of its rows, as differences.
            scores.append(series.scores[order])
            gains.append(np.diff(best, prepend=-profile.missed))
    if windows == 0:
        raise ValueError("no series has a window to detect")
    every, gain = np.concatenate(scores), np.concatenate(gains)
    order = np.argsort(-every, kind="stable")
    total = np.cumsum(gain[order])
    ends = np.flatnonzero(np.append(np.diff(every[order]) != 0.0, True))
    best_at = ends[np.argmax(total[ends])]
    best = max(float(total[best_at]), 0.0)
    threshold = float(every[order][best_at]) if best > 0.0 else float("inf")
    return 100.0 * best / (windows * (1.0 + profile.missed)), threshold


def _soft_labels(labels: Bools, buffer: int) -> Floats:
    """Labels with a buffer of half the length on both sides, which falls as a square root."""
    soft = labels.astype(float)
    for first, last in _runs(labels):
        for step in range(1, buffer // 2 + 1):
            value = np.sqrt(1.0 - step / (buffer + 1.0))
            if first - step >= 0:
                soft[first - step] = max(soft[first - step], value)
            if last + step < len(soft):
                soft[last + step] = max(soft[last + step], value)
    return soft


def _runs(labels: Bools) -> list[tuple[int, int]]:
    edges = np.diff(np.concatenate([[0], labels.astype(np.int8), [0]]))
    return [(int(a), int(b) - 1) for a, b in zip(np.flatnonzero(edges > 0), np.flatnonzero(edges < 0), strict=True)]


def range_pr_auc(scores: Floats, labels: Bools, buffer: int, *, thresholds: int = 250) -> float:
    """Area under the range-based precision-recall curve, with labels softened by `buffer` rows."""
    soft = _soft_labels(labels, buffer)
    runs = _runs(soft > 0.0)
    positives = (float(np.sum(labels)) + float(np.sum(soft))) / 2.0
    ordered = np.sort(scores)[::-1]
    recalls, precisions = [0.0], [1.0]
    for at in np.linspace(0, len(scores) - 1, thresholds).astype(int):
        alerts = scores >= ordered[at]
        # An alert in the buffer widens what had to be found by the buffer's own weight.
        hit = float(np.sum(soft[alerts]))
        found = sum(bool(alerts[first : last + 1].any()) for first, last in runs) / len(runs)
        recalls.append(min(hit / positives, 1.0) * found)
        precisions.append(hit / int(alerts.sum()))
    width = np.diff(np.array(recalls))
    return float(np.sum(width * (np.array(precisions)[1:])))


def vus_pr(scores: Floats, labels: Bools, longest: int, *, steps: int = 10) -> float:
    """Volume under the precision-recall surface: the mean of `range_pr_auc` over buffers of 0 to `longest` rows."""
    if not labels.any():
        raise ValueError("no row is labelled anomalous")
    buffers = sorted({round(longest * step / steps) for step in range(steps + 1)})
    return float(np.mean([range_pr_auc(scores, labels, buffer) for buffer in buffers]))
