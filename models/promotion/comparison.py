"""Anomalies that two detectors find at as many false alerts, day by day, with a paired bootstrap over the days."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from models.base import Scores

#: Anomalies and what is found of them, by day and by kind.
_COUNTS = ("events", "found", "champion_found")
_RESAMPLES = 2000
#: A false alert lasts so many minutes; what goes on longer is another.
_LASTS = 10
#: Thresholds that are tried: so many alert minutes, in even steps of their logarithm.
_STEPS = 160


@dataclass(frozen=True)
class Comparison:
    """Anomalies found by candidate and champion, each at its own threshold with at most the champion's false alerts.

    `by_day` has day, events, found, champion_found; `by_kind` the same by kind. `gain` is the difference in the share found;
    `low` and `high` are the ends of its 90 % interval, so `low` is the bound of a one-sided test at 5 %.
    """

    by_day: pl.DataFrame
    by_kind: pl.DataFrame
    threshold: float
    false_alerts: int
    champion_false_alerts: int
    gain: float
    low: float
    high: float

    @property
    def recall(self) -> float:
        """The share that the candidate finds."""
        return _share(self.by_day, "found")

    @property
    def champion_recall(self) -> float:
        """The share that the champion finds."""
        return _share(self.by_day, "champion_found")


def _share(counts: pl.DataFrame, column: str) -> float:
    return float(counts.select(pl.col(column).sum() / pl.col("events").sum()).item())


def compare(
    minutes: pl.DataFrame, truth: pl.DataFrame, *, champion_threshold: float, seed: int = 0
) -> Comparison | None:
    """Compare a candidate with the champion on the same minutes.

    The champion alerts at its own threshold. The candidate's is the lowest one, among some 160, with no more false alerts;
    alerts are runs of flagged minutes with gaps of one minute at most, false if they meet no anomaly, and a long one counts for
    every ten minutes.

    Args:
        minutes: symbol, event_time, day (the partition), score, champion_score: a row a minute.
        truth: TRUTH_LABELS rows of these days. Anomalies without a minute do not count.
        champion_threshold: lowest score at which the champion alerts.
        seed: of the bootstrap.

    Returns:
        None where no minute is anomalous: there is nothing to compare by.
    """
    true = truth.select(pl.col("symbol").cast(pl.String), "event_time", is_anomaly=True).unique()
    ordered = (
        minutes.with_columns(pl.col("symbol").cast(pl.String))
        .join(true, on=["symbol", "event_time"], how="left")
        .with_columns(pl.col("is_anomaly").fill_null(value=False))
        .sort("symbol", "event_time")
        .with_row_index("row")
    )
    held = truth.select(pl.col("symbol", "kind").cast(pl.String), "event_time", "event_id").join(
        ordered.select("symbol", "event_time", "row", "day"), on=["symbol", "event_time"]
    )
    if held.is_empty():
        return None
    score, champion = ordered["score"].to_numpy(), ordered["champion_score"].to_numpy()
    of_champion = champion >= champion_threshold
    allowed = _false_alerts(ordered, of_champion)
    threshold, false_alerts = _threshold(ordered, score, allowed)
    marked = held.with_columns(
        found=pl.Series((score >= threshold)[held["row"].to_numpy()]),
        champion_found=pl.Series(of_champion[held["row"].to_numpy()]),
    )
    events = marked.group_by("day", "symbol", "event_id", maintain_order=True).agg(
        pl.col("kind").first(), pl.col("found", "champion_found").any(), events=pl.lit(1)
    )
    by_day, by_kind = (events.group_by(key).agg(pl.col(_COUNTS).sum()).sort(key) for key in ("day", "kind"))
    gain, low, high = _interval(by_day, seed)
    return Comparison(by_day, by_kind, threshold, false_alerts, allowed, gain, low, high)


def _false_alerts(ordered: pl.DataFrame, flagged: npt.NDArray[np.bool_]) -> int:
    """Runs of flagged minutes that meet no anomaly; for every ten ordinary minutes a run counts again."""
    alerts = ordered.select("symbol", "event_time", "is_anomaly").filter(pl.Series(flagged))
    is_new = (pl.col("event_time").diff().over("symbol") > pl.duration(minutes=2)).fill_null(value=True)
    runs = alerts.group_by(is_new.cum_sum().alias("run")).agg(
        ordinary=(~pl.col("is_anomaly")).sum().cast(pl.Int64), is_true=pl.col("is_anomaly").any()
    )
    # Without the length, a detector that flags everything would raise a single alert, and a true one.
    beyond = pl.col("ordinary") - pl.when("is_true").then(_LASTS).otherwise(1)
    return int(runs.select((beyond // _LASTS + 1).clip(lower_bound=0).sum()).item() or 0)


def _threshold(ordered: pl.DataFrame, score: Scores, allowed: int) -> tuple[float, int]:
    """The lowest tried threshold with at most `allowed` false alerts, and how many it has."""
    falling = np.sort(score)[::-1]
    counts = np.unique(np.geomspace(1, score.size, _STEPS).astype(np.int64))
    best = float(np.nextafter(falling[0], np.inf)), 0
    for count in counts:
        at = float(falling[count - 1])
        false = _false_alerts(ordered, score >= at)
        if false > allowed:
            break
        best = at, false
    return best


def _interval(by_day: pl.DataFrame, seed: int) -> tuple[float, float, float]:
    """The gain in the share found, and the 5th and 95th percentile of it over days drawn with replacement."""
    events, found, champion = (by_day[name].to_numpy().astype(np.float64) for name in _COUNTS)
    days = len(events)
    drawn = np.random.default_rng(seed).multinomial(days, np.full(days, 1 / days), size=_RESAMPLES)
    gains = (drawn @ (found - champion)) / (drawn @ events)
    low, high = np.quantile(gains, [0.05, 0.95])
    return float((found - champion).sum() / events.sum()), float(low), float(high)
