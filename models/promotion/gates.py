"""The gates of a promotion: each measures one thing, and says so whether it passes or not."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.stats import chi2

from models.base import Detector, Scores
from models.calibration.levels import declared
from models.ensemble.detector import EnsembleDetector
from models.promotion.comparison import Comparison
from models.threshold import ALERTS_PER_SYMBOL_HOUR
from tapewatch.market.instruments import Partition

_TIMED, _TIMED_ROWS, _SYMBOLS = 3, 1000, 3
_MIB = 1024.0**2
#: Alerts closer than this are one.
_APART_MINUTES = 10


@dataclass(frozen=True, slots=True)
class Limits:
    """What the gates ask for."""

    #: The 5th percentile of the gain in the share of anomalies found lies above this.
    least_gain: float = 0.0
    #: A kind may lose this share of its anomalies, or one of them.
    kind_margin: float = 0.1
    #: Alerts on ordinary minutes, as a multiple of the budget.
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


@dataclass(frozen=True)
class Case:
    """A candidate and all that its gates may measure.

    Attributes:
        candidate: the detector.
        rows: the validation days' rows.
        score: of each of them, by the candidate.
        is_anomaly: whether each is anomalous.
        comparison: with the champion; None where there is no champion to compare with, or nothing to compare by.
        without: why there is no comparison; empty where the candidate may not pass without one.
        train, validation: keys of the partitions that it was fitted and judged on.
        size: of its files, in bytes.
        onnx: the greatest difference of each ONNX graph from the detector.
        rival: comparison with another detector of this training that would score minutes in its place; None without one.
        bets: after its alerts of the validation days; None where none could be made.
    """

    candidate: Detector
    rows: pl.DataFrame
    score: Scores
    is_anomaly: npt.NDArray[np.bool_]
    comparison: Comparison | None
    without: str
    train: Sequence[str]
    validation: Sequence[str]
    size: int
    onnx: Mapping[str, float]
    rival: Comparison | None = None
    bets: Bets | None = None
    limits: Limits = Limits()


def judge(case: Case) -> Judgement:
    """Let a candidate pass `GATES`."""
    return Judgement(tuple(gate for measure in GATES if (gate := measure(case)) is not None))


def recall(case: Case) -> Gate:
    """It finds more than the champion at as many false alerts, for certain."""
    comparison, least = case.comparison, case.limits.least_gain
    if comparison is None:
        nothing = "there is nothing to compare it with the champion by: the validation days hold no anomaly"
        return Gate("recall", bool(case.without), case.without or nothing)
    words = (
        f"it finds {comparison.recall:.1%} of the anomalies and the champion {comparison.champion_recall:.1%} at "
        f"{comparison.champion_false_alerts} false alerts; the gain is {comparison.gain:+.1%}, with 95 % certainty over "
        f"{comparison.low:+.1%}, and must be over {least:+.1%}"
    )
    return Gate("recall", comparison.low > least, words, comparison.low, least)


def rival(case: Case) -> Gate | None:
    """It is not proven worse than the detector that would score minutes in its place."""
    comparison = case.rival
    if comparison is None:
        return None
    words = (
        f"it finds {comparison.recall:.1%} of the anomalies and its rival {comparison.champion_recall:.1%} at "
        f"{comparison.champion_false_alerts} false alerts; the gain is {comparison.gain:+.1%}, with 95 % certainty under "
        f"{comparison.high:+.1%}, which must not be below +0.0%"
    )
    return Gate("rival", comparison.high >= 0.0, words, comparison.high, 0.0)


def kinds(case: Case) -> Gate | None:
    """No kind is found less often than by the champion, by more than a margin."""
    if case.comparison is None:
        return None
    margin = case.limits.kind_margin
    lost = case.comparison.by_kind.with_columns(lost=pl.col("champion_found") - pl.col("found"))
    # Of few anomalies, one more or less is chance.
    beyond = lost.filter(pl.col("lost") > pl.max_horizontal(1.0, margin * pl.col("events")))
    worst = lost.select((pl.col("lost") / pl.col("events")).max()).item()
    said = ", ".join(
        f"{row['kind'].replace('_', ' ')}: {row['found']} of {row['events']} found, by the champion {row['champion_found']}"
        for row in beyond.iter_rows(named=True)
    )
    words = said or "no kind of anomaly is found less often, by more than the margin"
    return Gate("kinds", beyond.is_empty(), words, float(worst), margin)


def look_ahead(case: Case) -> Gate:
    """It was fitted on earlier days, and its scores do not change when later minutes are left out."""
    last = max(Partition.parse(key).date for key in case.train)
    first = min(Partition.parse(key).date for key in case.validation)
    if last >= first:
        return Gate("look_ahead", has_passed=False, words=f"it was fitted on {last} and judged on {first}")
    # One day of a few symbols shows it.
    rows, symbol = case.rows, pl.col("symbol").cast(pl.String)
    symbols = rows["symbol"].cast(pl.String).unique().sort().head(_SYMBOLS)
    of_day = (pl.col("event_time").dt.date() == rows["event_time"].dt.date().max()) & symbol.is_in(symbols.implode())
    day = rows.filter(of_day)
    whole, times = case.candidate.score(day), day["event_time"].unique().sort()
    for share in (0.3, 0.7):
        is_past = (day["event_time"] <= times[int(share * (len(times) - 1))]).to_numpy()
        again = case.candidate.score(day.filter(pl.Series(is_past)))
        # Sums in float32 round differently with the number of rows.
        changed = int((~np.isclose(again, whole[is_past], rtol=1e-5, atol=1e-7)).sum())
        if changed:
            words = f"{changed} of {is_past.sum()} scores change when the minutes after them are left out"
            return Gate("look_ahead", has_passed=False, words=words, measured=float(changed), limit=0.0)
    words = "no score changes when later minutes are left out"
    return Gate("look_ahead", has_passed=True, words=words, measured=0.0, limit=0.0)


def calibration(case: Case) -> Gate:
    """Ordinary minutes raise about as many alerts as it was set to."""
    most = case.limits.most_alerts
    if isinstance(case.candidate, EnsembleDetector):
        ratio, words = _rate_of_alerts(case, case.candidate)
    else:
        ordinary = case.score[~case.is_anomaly]
        share = float((ordinary >= case.candidate.threshold).mean()) if ordinary.size else 0.0
        ratio = 60 * share / ALERTS_PER_SYMBOL_HOUR
        words = f"ordinary minutes raise {ratio:.2f} times the budgeted alert minutes"
    return Gate("calibration", ratio <= most, f"{words}; at most {most:g} times are allowed", ratio, most)


def size(case: Case) -> Gate:
    """Its files are small enough."""
    mib, most = case.size / _MIB, case.limits.size_mib
    return Gate("size", mib <= most, f"its files take {mib:.1f} of {most:g} MiB", mib, most)


def latency(case: Case) -> Gate:
    """It scores a thousand minutes fast enough."""
    some, most = case.rows.head(_TIMED_ROWS), case.limits.latency_s
    taken = []
    for _ in range(_TIMED):
        start = time.perf_counter()
        case.candidate.score(some)
        taken.append(time.perf_counter() - start)
    # The quickest: what else this machine does is no fault of the candidate.
    seconds = min(taken) * _TIMED_ROWS / max(some.height, 1)
    words = f"1,000 minutes are scored in {seconds:.3f} s; at most {most:g} s are allowed"
    return Gate("latency", seconds <= most, words, seconds, most)


def onnx(case: Case) -> Gate:
    """Its ONNX graphs score as it does."""
    if not case.onnx:
        return Gate("onnx", has_passed=True, words="it has no ONNX graph")
    worst, most = max(case.onnx.values()), case.limits.onnx_difference
    words = f"its ONNX graph differs by {worst:.1e} at most; {most:.0e} is allowed"
    return Gate("onnx", worst <= most, words, worst, most)


def losing(case: Case) -> Gate:
    """Bets after its alerts do not lose. Without a champion to stay with, a detector that loses is better than none, and the words alone say it."""
    bets, limits = case.bets, case.limits
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
    return Gate("losing", not (is_losing and not case.without), words, bets.chance, least)


#: What every candidate passes, in this order; None where a gate has nothing to measure.
GATES: Final[Iterable[Callable[[Case], Gate | None]]] = (
    recall,
    rival,
    kinds,
    look_ahead,
    calibration,
    size,
    latency,
    onnx,
    losing,
)


def _rate_of_alerts(case: Case, ensemble: EnsembleDetector) -> tuple[float, str]:
    """The least multiple of the alerts that were set which ordinary tape proves, and in words. Peaks within ten minutes are one."""
    rows = case.rows.with_columns(is_anomaly=pl.Series(case.is_anomaly))
    is_ordinary = ~declared(rows)
    flagged = (
        rows.select(pl.col("symbol").cast(pl.String), "event_time")
        .filter(pl.Series(is_ordinary & (case.score >= ensemble.threshold)))
        .sort("symbol", "event_time")
    )
    is_new = (pl.col("event_time").diff().over("symbol") > pl.duration(minutes=_APART_MINUTES)).fill_null(value=True)
    alerts, hours = int(flagged.select(is_new.sum()).item() or 0), float(is_ordinary.sum()) / 60
    expected = hours / ensemble.hours
    # Of few alerts, one more or less is chance: the exact lower bound of a Poisson rate (Garwood 1936).
    least = float(chi2.ppf(0.05, 2 * alerts)) / 2 / expected if alerts and expected else 0.0
    words = (
        f"{alerts} alerts in {hours:,.0f} ordinary hours of a symbol are {alerts / expected if expected else 0.0:.2f} times the one in "
        f"{ensemble.hours:g} hours that is set, with 95 % certainty over {least:.2f} times"
    )
    return least, words
