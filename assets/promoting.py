"""Judges a candidate beside the champion on the same days, and promotes or refuses it. Slow to import."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import polars as pl

from assets.traded import bets_after, bets_of
from assets.validation import ValidationDays
from models.base import Detector, Scores
from models.loading import load_detector
from models.profile import group_names
from models.promotion.comparison import Comparison, compare
from models.promotion.gates import Gate, Judgement, judge
from resources.mlflow_registry import ModelRegistry, RegisteredModel
from resources.promotion import Promoter, PromotionError
from tapewatch.market.instruments import Partition
from tapewatch.store.database.database import Database

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


@dataclass(frozen=True)
class Outcome:
    """What became of a candidate: its version, the champion after it, whether that is the candidate, and why."""

    candidate: RegisteredModel
    champion: RegisteredModel | None
    is_promoted: bool
    reason: str
    gates: Mapping[str, Any]


def judge_candidate(registry: ModelRegistry, name: str, reference: Mapping[str, Any], scored: Scored) -> Judgement:
    """Let the candidate of `reference` pass the gates, and log what they measured to its run."""
    without = _not_comparable(scored, reference["train"])
    judgement = judge(
        scored.candidate,
        scored.days.rows,
        scored.score,
        _is_anomaly(scored.days),
        comparison=None if without else _compared(scored),
        without=without,
        train=reference["train"],
        validation=reference["validation"],
        size=scored.folder_size,
        onnx=scored.onnx,
        bets=bets_of(scored.bets),
    )
    with registry.run(name, run_id=reference["run_id"]):
        registry.log_gates({"champion": scored.version, "gates": judgement.evidence()})
    return judgement


def decide(
    registry: ModelRegistry, database: Database, name: str, reference: Mapping[str, Any], *, actor: str = "dagster"
) -> Outcome:
    """Register the candidate as challenger, and promote it if it passed every gate; either way the history says why.

    Raises:
        PromotionError: the candidate was not judged, its files are gone, or MLflow does not answer.
        HistoryConflictError: another version became champion since the candidate was judged.
    """
    registered = registry.register(name, reference["model_uri"], reference["run_id"])
    candidate = RegisteredModel(name, int(registered.version), reference["run_id"])
    return decide_on(registry, database, candidate, actor=actor)


def decide_on(registry: ModelRegistry, database: Database, candidate: RegisteredModel, *, actor: str) -> Outcome:
    """The same for a version that is registered already.

    Raises: as `decide`.
    """
    logged = registry.gates(candidate.run_id)
    if logged is None:
        raise PromotionError(f"{candidate} was never judged: materialize models/evaluation for its run first")
    judgement = Judgement(tuple(Gate(**gate) for gate in logged["gates"].values()))
    promoter, over = Promoter(registry, database, actor), logged["champion"]
    if over == candidate.version:
        return Outcome(candidate, candidate, is_promoted=True, reason="it is the champion", gates=logged["gates"])
    if judgement.refusals:
        promoter.refuse(candidate, over=over, reason=judgement.words, evidence=logged["gates"])
    else:
        promoter.promote(candidate, over=over, reason=judgement.words, evidence=logged["gates"])
    is_promoted = not judgement.refusals
    return Outcome(candidate, registry.champion(candidate.name), is_promoted, judgement.words, logged["gates"])


def _compared(scored: Scored) -> Comparison | None:
    rows = scored.days.rows
    if scored.champion is None or scored.champion_score is None:
        return None
    key = pl.format("{}|{}", pl.col("event_time").dt.date(), pl.Series(group_names(rows["symbol"])))
    scores = {"score": pl.Series(scored.score), "champion_score": pl.Series(scored.champion_score)}
    minutes = rows.select("symbol", "event_time", day=key, **scores)
    return compare(minutes, scored.days.truth, champion_threshold=scored.champion.threshold)


def _not_comparable(scored: Scored, trained_on: list[str]) -> str:
    """Why a candidate needs no comparison with the champion; empty if it does."""
    if scored.version is None:
        return "there is no champion yet"
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
