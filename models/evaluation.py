"""The quality of a detector, compared with the trivial rule at the same number of alerts."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.metrics import average_precision_score, roc_auc_score

from models.rules import VOLUME_RATIO
from tapewatch.market.tables.tape import EVALUATION

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
_BLOCK = "1h"
_RESAMPLES = 200


class NotJudgedError(ValueError):
    """There is nothing to judge a detector by; the message gives the numbers and the way out.

    Attributes:
        minutes, anomalous_minutes: the numbers of judged minutes.
    """

    def __init__(self, minutes: int, anomalous_minutes: int) -> None:
        super().__init__(
            f"{anomalous_minutes:,} of {minutes:,} judged minutes are anomalous, and an evaluation needs both kinds: run over "
            "more days, or over symbols with more trades, quotes or bars"
        )
        self.minutes, self.anomalous_minutes = minutes, anomalous_minutes


@dataclass(frozen=True, slots=True)
class Evaluation:
    """`metrics` by name, `by_kind` (an EVALUATION frame), and the judged `minutes` for plots."""

    metrics: dict[str, float]
    by_kind: pl.DataFrame
    minutes: pl.DataFrame


def evaluate(
    scored: pl.DataFrame, truth_labels: pl.DataFrame, *, threshold: float, truth: str, seed: int = 0
) -> Evaluation:
    """Judge scores against the truth.

    The rule is judged at its own ratio of 3 (`rule_at_3x_…`) and, for a fair comparison, at the ratio that raises as many
    alert minutes as the detector (`rule_…`, and the rule's columns of `by_kind`).

    Args:
        scored: symbol, event_time, known_time, score, rule_score: one row for each judged minute, no nulls.
        truth_labels: a TRUTH_LABELS frame. Anomalies without a judged minute do not count.
        threshold: lowest score of an alert.
        truth: origin of the truth, `source` or `injected`.
        seed: of the bootstrap.

    Returns:
        Metrics in minutes (average_precision, roc_auc, precision, recall), in anomalies (event_recall) and in alerts, which are
        merged runs of flagged minutes (alert_precision: the share that meets an anomaly; false_alerts_per_symbol_day). Also
        the median delay from an anomaly's start to the end of its first flagged minute, and a 95 % interval of the gain in
        average precision over the rule, by resampling hours.

    Raises:
        NotJudgedError: nothing was judged, or no judged minute is anomalous, or all are.
    """
    minutes = _judged(scored, truth_labels)
    is_anomaly = minutes["is_anomaly"].to_numpy()
    if not 0 < is_anomaly.sum() < is_anomaly.size:
        raise NotJudgedError(is_anomaly.size, int(is_anomaly.sum()))
    score, rule_score = minutes["score"].to_numpy(), minutes["rule_score"].to_numpy()
    flagged = score >= threshold
    # A ratio of 0 is no alert: in a market without volume the rule raises none.
    rule_flagged = top(rule_score, int(flagged.sum())) & (rule_score > 0)
    minutes = minutes.with_columns(is_flagged=flagged, is_rule_flagged=rule_flagged)
    events = _events(minutes, truth_labels)
    metrics = {
        "minutes": float(minutes.height),
        "anomalous_minutes": float(is_anomaly.sum()),
        "events": float(events.height),
        "threshold": threshold,
        **_ranking(is_anomaly, score, ""),
        **_ranking(is_anomaly, rule_score, "rule_"),
        **_alerts(minutes, events, flagged, "is_flagged", ""),
        **_alerts(minutes, events, rule_flagged, "is_rule_flagged", "rule_"),
        **_fixed_rule(minutes, truth_labels),
    }
    metrics["average_precision_gain"] = metrics["average_precision"] - metrics["rule_average_precision"]
    low, high = gain_interval(minutes, seed)
    metrics |= {"average_precision_gain_low": low, "average_precision_gain_high": high}
    by_kind = _by_kind(events, truth, metrics["false_alerts_per_390_minutes"])
    return Evaluation(metrics, by_kind, minutes)


def top(scores: Floats, count: int) -> Flags:
    """The `count` highest scores; among equals the earlier row."""
    flags = np.zeros(scores.size, dtype=np.bool_)
    flags[np.argsort(-scores, kind="stable")[:count]] = True
    return flags


def gain_interval(minutes: pl.DataFrame, seed: int, *, resamples: int = _RESAMPLES) -> tuple[float, float]:
    """95 % bootstrap interval of the detector's average precision less the rule's; NaN if no draw holds an anomaly.

    Whole hours of a symbol are drawn with replacement, since neighbouring minutes are not independent.

    Args:
        minutes: symbol, event_time, is_anomaly, score, rule_score.
        seed: of the draws.
        resamples: number of draws.
    """
    key = pl.struct("symbol", pl.col("event_time").dt.truncate(_BLOCK)).rank("dense") - 1
    block = minutes.select(key).to_series().to_numpy()
    blocks = int(block.max()) + 1
    truth = minutes["is_anomaly"].to_numpy()
    detector, rule = (_Ranking.of(truth, minutes[name].to_numpy()) for name in ("score", "rule_score"))
    rng = np.random.default_rng(seed)
    # Weighting the minutes by the draws of their hour avoids sorting again.
    draws = (rng.multinomial(blocks, np.full(blocks, 1 / blocks))[block] for _ in range(resamples))
    gains = [detector.average_precision(w) - rule.average_precision(w) for w in draws if w[truth].any()]
    if not gains:
        return float("nan"), float("nan")
    low, high = np.quantile(gains, [0.025, 0.975])
    return float(low), float(high)


@dataclass(frozen=True, slots=True)
class _Ranking:
    """Minutes by falling score: their order, whether they are anomalous, and the last of each run of equal scores."""

    order: npt.NDArray[np.int64]
    truth: Flags
    ends: npt.NDArray[np.int64]

    @classmethod
    def of(cls, truth: Flags, score: Floats) -> Self:
        order = np.argsort(-score, kind="stable")
        return cls(order, truth[order], np.append(np.flatnonzero(np.diff(score[order])), score.size - 1))

    def average_precision(self, weights: npt.NDArray[np.int64]) -> float:
        """Weighted average precision, as scikit-learn defines it."""
        drawn = weights[self.order]
        hits = np.cumsum(drawn * self.truth)[self.ends]
        alerts = np.cumsum(drawn)[self.ends]
        return float(np.sum(np.diff(hits, prepend=0) / hits[-1] * hits / np.maximum(alerts, 1)))


def _judged(scored: pl.DataFrame, truth_labels: pl.DataFrame) -> pl.DataFrame:
    true_minutes = truth_labels.select(pl.col("symbol").cast(pl.String), "event_time", is_anomaly=True).unique()
    return (
        scored.select(pl.col("symbol").cast(pl.String), "event_time", "known_time", "score", "rule_score")
        .join(true_minutes, on=["symbol", "event_time"], how="left")
        .with_columns(pl.col("is_anomaly").fill_null(value=False))
        .sort("symbol", "event_time")
    )


def _ranking(truth: Flags, score: Floats, prefix: str) -> dict[str, float]:
    return {
        f"{prefix}average_precision": float(average_precision_score(truth, score)),
        f"{prefix}roc_auc": float(roc_auc_score(truth, score)),
    }


def _events(minutes: pl.DataFrame, truth_labels: pl.DataFrame) -> pl.DataFrame:
    """One row for each anomaly with a judged minute: kind, start, and first flags of detector and rule."""
    return (
        truth_labels.select(pl.col("symbol", "kind").cast(pl.String), "event_time", "event_id", "start_time")
        .join(minutes, on=["symbol", "event_time"])
        .group_by("symbol", "event_id", maintain_order=True)
        .agg(
            pl.col("kind", "start_time").first(),
            is_flagged=pl.col("known_time").filter("is_flagged").min(),
            is_rule_flagged=pl.col("known_time").filter("is_rule_flagged").min(),
        )
    )


def _alerts(minutes: pl.DataFrame, events: pl.DataFrame, flagged: Flags, column: str, prefix: str) -> dict[str, float]:
    truth = minutes["is_anomaly"].to_numpy()
    hits = float((flagged & truth).sum())
    runs = _runs(minutes, column)
    symbol_days = minutes.select(pl.struct("symbol", pl.col("event_time").dt.date()).n_unique()).item()
    false = runs.filter(~pl.col("is_true")).height
    found = events.filter(pl.col(column).is_not_null())
    delays = found.select((pl.col(column) - pl.col("start_time")).dt.total_seconds(fractional=True) / 60).to_series()
    return {
        f"{prefix}alert_minutes": float(flagged.sum()),
        f"{prefix}precision": hits / float(flagged.sum()) if flagged.any() else 0.0,
        f"{prefix}recall": hits / float(truth.sum()),
        f"{prefix}alert_precision": runs.select(pl.col("is_true").mean()).item() if runs.height else 0.0,
        f"{prefix}event_recall": found.height / max(events.height, 1),
        f"{prefix}false_alerts_per_symbol_day": false / symbol_days,
        f"{prefix}false_alerts_per_390_minutes": false / (minutes.height / 390),
        f"{prefix}delay_minutes": float(np.median(delays.to_numpy())) if found.height else float("nan"),
    }


def _runs(minutes: pl.DataFrame, column: str) -> pl.DataFrame:
    """One row for each run of flagged minutes with gaps of one minute at most: does it meet an anomaly?"""
    flagged = minutes.filter(column)
    is_new = (pl.col("event_time").diff().over("symbol") > pl.duration(minutes=2)).fill_null(value=True)
    return flagged.group_by(is_new.cum_sum().alias("run"), maintain_order=True).agg(is_true=pl.col("is_anomaly").any())


def _fixed_rule(minutes: pl.DataFrame, truth_labels: pl.DataFrame) -> dict[str, float]:
    flagged = minutes["rule_score"].to_numpy() > VOLUME_RATIO
    fixed = minutes.with_columns(is_rule_flagged=flagged)
    return _alerts(fixed, _events(fixed, truth_labels), flagged, "is_rule_flagged", "rule_at_3x_")


def _by_kind(events: pl.DataFrame, truth: str, false_alerts: float) -> pl.DataFrame:
    found = {"found": "is_flagged", "rule_found": "is_rule_flagged"}
    counts = {"events": pl.len(), **{name: pl.col(flag).is_not_null().sum() for name, flag in found.items()}}
    counts["delay_s"] = (pl.col("is_flagged") - pl.col("start_time")).dt.total_seconds(fractional=True).median()
    kinds = events.group_by("kind").agg(**counts).sort("kind")
    table = pl.concat([events.select(kind=pl.lit("all"), **counts), kinds])
    rate = pl.when(pl.col("kind") == "all").then(false_alerts)
    recalls = {"recall": pl.col("found") / pl.col("events"), "rule_recall": pl.col("rule_found") / pl.col("events")}
    return EVALUATION.conform(table.with_columns(truth=pl.lit(truth), false_alerts_per_390_minutes=rate, **recalls))
