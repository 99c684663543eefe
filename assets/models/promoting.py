"""Judges a candidate beside the champion on the same days. Slow to import."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
import polars as pl

from assets.models.traded import bets_after, bets_of
from assets.models.validation import ValidationDays
from models.base import Detector, Scores
from models.loading import load_detector
from models.profile import group_names
from models.promotion.comparison import Comparison, compare
from models.promotion.gates import Case, Judgement, judge
from models.promotion.gates import rival as rival_gate
from resources.mlflow_registry import ModelRegistry
from tapewatch.market.instruments import Partition

_ONNX = "onnx_difference/"


@dataclass(frozen=True)
class Scored:
    """A candidate and the champion, if it can be used, with their scores of the validation days' rows.

    `version` is the champion's, `folder_size` the candidate's files in bytes, `onnx` how far its graphs are off, and
    `bets` the OUTCOMES of bets after its alerts.
    """

    days: ValidationDays
    candidate: Detector
    score: Scores
    champion: Detector | None
    champion_score: Scores | None
    version: int | None
    folder_size: int
    onnx: Mapping[str, float]
    bets: pl.DataFrame

    @classmethod
    def of(cls, registry: ModelRegistry, name: str, reference: Mapping[str, Any], days: ValidationDays) -> Self:
        """Load and score both."""
        current, champion = registry.champion(name), registry.usable_champion(name, load_detector)
        with registry.files(reference["model_uri"]) as folder:
            candidate = load_detector(folder)
            size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        metrics = registry.metrics(reference["run_id"])
        onnx = {key: value for key, value in metrics.items() if key.startswith(_ONNX)}
        score, other = candidate.score(days.rows), None if champion is None else champion.score(days.rows)
        bets = bets_after(candidate, name, days.lake, reference["validation"])
        return cls(days, candidate, score, champion, other, current.version if current else None, size, onnx, bets)


def judge_candidate(
    registry: ModelRegistry,
    name: str,
    reference: Mapping[str, Any],
    scored: Scored,
    rival: tuple[Detector, Scores] | None = None,
) -> Judgement:
    """Let the candidate of `reference` pass the gates, and log what they measured to its run.

    Args:
        rival: another detector of this training that would score minutes in its place, and its scores of these days.
    """
    without = _not_comparable(scored, reference["train"])
    case = Case(
        scored.candidate,
        scored.days.rows,
        scored.score,
        _is_anomaly(scored.days),
        comparison=None if without else _against_champion(scored),
        without=without,
        train=reference["train"],
        validation=reference["validation"],
        size=scored.folder_size,
        onnx=scored.onnx,
        rival=None if rival is None else _compared(scored.days, scored.score, *rival),
        bets=bets_of(scored.bets),
    )
    judgement = judge(case)
    logged: dict[str, Any] = {"champion": scored.version, "gates": judgement.evidence()}
    if rival is not None and scored.champion_score is not None:
        of_champion = rival_gate(replace(case, rival=_compared(scored.days, scored.champion_score, *rival)))
        logged["champion_beside_rival"] = None if of_champion is None else asdict(of_champion)
    with registry.run(name, run_id=reference["run_id"]):
        registry.log_gates(logged)
    return judgement


def _against_champion(scored: Scored) -> Comparison | None:
    if scored.champion is None or scored.champion_score is None:
        return None
    return _compared(scored.days, scored.score, scored.champion, scored.champion_score)


def _compared(days: ValidationDays, score: Scores, other: Detector, other_score: Scores) -> Comparison | None:
    rows = days.rows
    key = pl.format("{}|{}", pl.col("event_time").dt.date(), pl.Series(group_names(rows["symbol"])))
    scores = {"score": pl.Series(score), "champion_score": pl.Series(other_score)}
    minutes = rows.select("symbol", "event_time", day=key, **scores)
    return compare(minutes, days.truth, champion_threshold=other.threshold)


def _not_comparable(scored: Scored, trained_on: list[str]) -> str:
    """Why a candidate needs no comparison with the champion; empty if it does."""
    if scored.version is None:
        return "there was no champion to compare it with"
    if scored.champion is None:
        return f"the champion, version {scored.version}, cannot be used by this code any more"
    learnt = getattr(getattr(scored.champion, "manifest", None), "partitions", trained_on)
    missing = {Partition.parse(key).market for key in trained_on} - {Partition.parse(key).market for key in learnt}
    return f"the champion was never fitted on {', '.join(sorted(missing))}" if missing else ""


def _is_anomaly(days: ValidationDays) -> np.ndarray[Any, np.dtype[np.bool_]]:
    true = days.truth.select(pl.col("symbol").cast(pl.String), "event_time", is_true=True).unique()
    rows = days.rows.select(pl.col("symbol").cast(pl.String), "event_time")
    joined = rows.join(true, on=["symbol", "event_time"], how="left", maintain_order="left")
    return joined["is_true"].fill_null(value=False).to_numpy()
