"""The gates of a promotion: each measures one thing, and says so whether it passes or not."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from models.base import Detector, Scores
from models.promotion.comparison import Comparison
from models.threshold import ALERTS_PER_SYMBOL_HOUR
from tapewatch.market.instruments import Partition

_TIMED, _TIMED_ROWS, _SYMBOLS = 3, 1000, 3
_MIB = 1024.0**2


@dataclass(frozen=True, slots=True)
class Limits:
    """What the gates ask for."""

    #: The 5th percentile of the gain in the share of anomalies found lies above this.
    least_gain: float = 0.0
    #: A kind may lose this share of its anomalies, or one of them.
    kind_margin: float = 0.1
    #: Alert minutes on ordinary minutes, as a multiple of the budget.
    most_alerts: float = 3.0
    size_mib: float = 64.0
    #: The time to score 1,000 minutes, in seconds.
    latency_s: float = 2.0
    onnx_difference: float = 1e-5
    #: Bets after its alerts lose if a mean as low has a smaller chance than 1 less this; fewer bets say nothing.
    losing_confidence: float = 0.95
    least_bets: int = 20


@dataclass(frozen=True, slots=True)
class Gate:
    """One gate: whether it passed, what it measured and the limit, and both in words."""

    name: str
    has_passed: bool
    words: str
    measured: float | None = None
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class Bets:
    """Bets of one unit after a detector's alerts: their number, mean after costs, and the chance of one as low if the true one were 0."""

    count: int
    mean_net_bps: float
    chance: float


@dataclass(frozen=True)
class Judgement:
    """All gates of a candidate."""

    gates: tuple[Gate, ...]

    @property
    def refusals(self) -> tuple[Gate, ...]:
        """The gates that it did not pass."""
        return tuple(gate for gate in self.gates if not gate.has_passed)

    @property
    def words(self) -> str:
        """Why it is promoted or refused."""
        if self.refusals:
            return "; ".join(f"refused by the gate {gate.name}: {gate.words}" for gate in self.refusals)
        return "; ".join(gate.words for gate in self.gates[:1])

    def evidence(self) -> dict[str, Any]:
        """The gates by name, as plain values."""
        return {gate.name: asdict(gate) for gate in self.gates}


def judge(
    candidate: Detector,
    rows: pl.DataFrame,
    score: Scores,
    is_anomaly: npt.NDArray[np.bool_],
    *,
    comparison: Comparison | None,
    without: str,
    train: Sequence[str],
    validation: Sequence[str],
    size: int,
    onnx: Mapping[str, float],
    bets: Bets | None = None,
    limits: Limits = Limits(),
) -> Judgement:
    """Judge a candidate.

    Args:
        candidate: the detector.
        rows: the validation days' rows.
        score: of each of them, by the candidate.
        is_anomaly: whether each is anomalous.
        comparison: with the champion; None where there is no champion to compare with, or nothing to compare by.
        without: why there is no comparison; empty where the candidate may not pass without one.
        train, validation: keys of the partitions that it was fitted and judged on.
        size: of its files, in bytes.
        onnx: the greatest difference of each ONNX graph from the detector.
        bets: after its alerts of the validation days; None where none could be made.
    """
    return Judgement(
        (
            _recall(comparison, without, limits),
            *_kinds(comparison, limits),
            _look_ahead(candidate, rows, train, validation),
            _calibration(candidate, score[~is_anomaly], limits),
            _size(size / _MIB, limits),
            _latency(candidate, rows, limits),
            _onnx(onnx, limits),
            _losing(bets, limits, has_rival=not without),
        )
    )


def _recall(comparison: Comparison | None, without: str, limits: Limits) -> Gate:
    if comparison is None:
        words = without or "there is nothing to compare it with the champion by: the validation days hold no anomaly"
        return Gate("recall", bool(without), words)
    words = (
        f"it finds {comparison.recall:.1%} of the anomalies and the champion {comparison.champion_recall:.1%} at "
        f"{comparison.champion_false_alerts} false alerts; the gain is {comparison.gain:+.1%}, with 95 % certainty over "
        f"{comparison.low:+.1%}, and must be over {limits.least_gain:+.1%}"
    )
    return Gate("recall", comparison.low > limits.least_gain, words, comparison.low, limits.least_gain)


def _kinds(comparison: Comparison | None, limits: Limits) -> Iterator[Gate]:
    if comparison is None:
        return
    lost = comparison.by_kind.with_columns(lost=pl.col("champion_found") - pl.col("found"))
    # Of few anomalies, one more or less is chance.
    beyond = lost.filter(pl.col("lost") > pl.max_horizontal(1.0, limits.kind_margin * pl.col("events")))
    worst = lost.select((pl.col("lost") / pl.col("events")).max()).item()
    said = ", ".join(
        f"{row['kind'].replace('_', ' ')}: {row['found']} of {row['events']} found, by the champion {row['champion_found']}"
        for row in beyond.iter_rows(named=True)
    )
    words = said or "no kind of anomaly is found less often, by more than the margin"
    yield Gate("kinds", beyond.is_empty(), words, float(worst), limits.kind_margin)


def _look_ahead(candidate: Detector, rows: pl.DataFrame, train: Sequence[str], validation: Sequence[str]) -> Gate:
    last = max(Partition.parse(key).date for key in train)
    first = min(Partition.parse(key).date for key in validation)
    if last >= first:
        return Gate("look_ahead", has_passed=False, words=f"it was fitted on {last} and judged on {first}")
    # One day of a few symbols shows it.
    symbols = rows["symbol"].cast(pl.String).unique().sort().head(_SYMBOLS)
    of_day = (pl.col("event_time").dt.date() == rows["event_time"].dt.date().max()) & pl.col("symbol").cast(
        pl.String
    ).is_in(symbols.implode())
    day = rows.filter(of_day)
    whole, times = candidate.score(day), day["event_time"].unique().sort()
    for share in (0.3, 0.7):
        is_past = (day["event_time"] <= times[int(share * (len(times) - 1))]).to_numpy()
        again = candidate.score(day.filter(pl.Series(is_past)))
        # Sums in float32 round differently with the number of rows.
        changed = int((~np.isclose(again, whole[is_past], rtol=1e-5, atol=1e-7)).sum())
        if changed:
            words = f"{changed} of {is_past.sum()} scores change when the minutes after them are left out"
            return Gate("look_ahead", has_passed=False, words=words, measured=float(changed), limit=0.0)
    words = "no score changes when later minutes are left out"
    return Gate("look_ahead", has_passed=True, words=words, measured=0.0, limit=0.0)


def _calibration(candidate: Detector, ordinary: Scores, limits: Limits) -> Gate:
    share = float((ordinary >= candidate.threshold).mean()) if ordinary.size else 0.0
    ratio = 60 * share / ALERTS_PER_SYMBOL_HOUR
    words = f"ordinary minutes raise {ratio:.2f} times the budgeted alert minutes; at most {limits.most_alerts:g} times are allowed"
    return Gate("calibration", ratio <= limits.most_alerts, words, ratio, limits.most_alerts)


def _size(size: float, limits: Limits) -> Gate:
    return Gate(
        "size", size <= limits.size_mib, f"its files take {size:.1f} of {limits.size_mib:g} MiB", size, limits.size_mib
    )


def _latency(candidate: Detector, rows: pl.DataFrame, limits: Limits) -> Gate:
    some = rows.head(_TIMED_ROWS)
    taken = []
    for _ in range(_TIMED):
        start = time.perf_counter()
        candidate.score(some)
        taken.append(time.perf_counter() - start)
    # The quickest: what else this machine does is no fault of the candidate.
    seconds = min(taken) * _TIMED_ROWS / max(some.height, 1)
    words = f"1,000 minutes are scored in {seconds:.3f} s; at most {limits.latency_s:g} s are allowed"
    return Gate("latency", seconds <= limits.latency_s, words, seconds, limits.latency_s)


def _onnx(differences: Mapping[str, float], limits: Limits) -> Gate:
    if not differences:
        return Gate("onnx", has_passed=True, words="it has no ONNX graph")
    worst = max(differences.values())
    words = f"its ONNX graph differs by {worst:.1e} at most; {limits.onnx_difference:.0e} is allowed"
    return Gate("onnx", worst <= limits.onnx_difference, words, worst, limits.onnx_difference)


def _losing(bets: Bets | None, limits: Limits, *, has_rival: bool) -> Gate:
    """Without a champion to stay with, a detector that loses is better than none, and the words alone say it."""
    if bets is None or bets.count < limits.least_bets:
        count = bets.count if bets else 0
        words = f"{count} bets followed its alerts: {limits.least_bets} are needed to tell whether they lose"
        return Gate("losing", has_passed=True, words=words, measured=float(count), limit=float(limits.least_bets))
    least = 1.0 - limits.losing_confidence
    words = (
        f"{bets.count} bets after its alerts earned {bets.mean_net_bps:+.1f} bps each after costs; by chance alone the mean would "
        f"be as low in {bets.chance:.1%} of cases, and under {least:.1%} they count as losing"
    )
    is_losing = bets.mean_net_bps < 0 and bets.chance < least
    return Gate("losing", not (is_losing and has_rival), words, bets.chance, least)
