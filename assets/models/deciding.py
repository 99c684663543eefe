"""Promotes or refuses a judged candidate, and says why. Slow to import."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from assets.models.forest import MINUTES
from models.promotion.gates import Gate, Judgement
from resources.mlflow_registry import ModelRegistry, RegisteredModel
from resources.promotion import Promoter, PromotionError
from tapewatch.market.tables.live import SHADOW_MINUTES
from tapewatch.store.database.database import Database
from tapewatch.streaming.detection.shadow import shadow_report


@dataclass(frozen=True, slots=True)
class Demands:
    """What a promotion asks for besides the gates of the validation days.

    Attributes:
        shadow_hours: hours of live minutes that a challenger must have scored beside the champion of minutes; 0 for none.
    """

    shadow_hours: float = 0.0


@dataclass(frozen=True)
class Deciding:
    """A candidate at the moment of the decision."""

    registry: ModelRegistry
    database: Database
    candidate: RegisteredModel
    demands: Demands


@dataclass(frozen=True)
class Outcome:
    """What became of a candidate: its version, the champion after it, whether that is the candidate, and why."""

    candidate: RegisteredModel
    champion: RegisteredModel | None
    is_promoted: bool
    reason: str
    gates: Mapping[str, Any]


def shadow(deciding: Deciding) -> Gate | None:
    """It scored live minutes long enough, where it would replace the champion of minutes."""
    wanted, champion = deciding.demands.shadow_hours, deciding.registry.first_champion(*MINUTES)
    if wanted <= 0 or champion is None or champion.name != deciding.candidate.name:
        return None
    rows = deciding.database.read(SHADOW_MINUTES, where={"challenger": str(deciding.candidate)})
    hours = shadow_report(rows).hours
    words = f"it scored {hours:.1f} hours of live minutes in the shadow; at least {wanted:g} are asked for"
    return Gate("shadow", hours >= wanted, words, hours, wanted)


#: What is measured only when a version is to be promoted; None where a gate has nothing to measure.
AT_PROMOTION: Final[Iterable[Callable[[Deciding], Gate | None]]] = (shadow,)


def decide(
    registry: ModelRegistry, database: Database, name: str, reference: Mapping[str, Any], demands: Demands = Demands()
) -> Outcome:
    """Register the candidate as challenger, and promote it if it passed every gate; either way the history says why.

    Raises:
        PromotionError: the candidate was not judged, its files are gone, or MLflow does not answer.
        HistoryConflictError: another version became champion since the candidate was judged.
    """
    registered = registry.register(name, reference["model_uri"], reference["run_id"])
    candidate = RegisteredModel(name, int(registered.version), reference["run_id"])
    return decide_on(Deciding(registry, database, candidate, demands), actor="dagster")


def decide_on(deciding: Deciding, *, actor: str) -> Outcome:
    """The same for a version that is registered already.

    Raises: as `decide`.
    """
    registry, candidate = deciding.registry, deciding.candidate
    logged = registry.gates(candidate.run_id)
    if logged is None:
        raise PromotionError(f"{candidate} was never judged: materialize models/evaluation for its run first")
    promoter, over = Promoter(registry, deciding.database, actor), logged["champion"]
    if over == candidate.version:
        return Outcome(candidate, candidate, is_promoted=True, reason="it is the champion", gates=logged["gates"])
    further = (gate for measure in AT_PROMOTION if (gate := measure(deciding)) is not None)
    judgement = Judgement((*(Gate(**gate) for gate in logged["gates"].values()), *further))
    if judgement.refusals:
        promoter.refuse(candidate, over=over, reason=judgement.words, evidence=judgement.evidence())
    else:
        promoter.promote(candidate, over=over, reason=judgement.words, evidence=judgement.evidence())
    is_promoted = not judgement.refusals
    return Outcome(candidate, registry.champion(candidate.name), is_promoted, judgement.words, judgement.evidence())


def retire_outranked(promoter: Promoter, name: str, reference: Mapping[str, Any], rival: RegisteredModel) -> str | None:
    """Leave `name` without a champion where that is proven worse than a rival which was just promoted; returns why.

    Args:
        reference: of the candidate that was judged beside champion and rival.
    """
    logged = promoter.registry.gates(reference["run_id"]) if "run_id" in reference else None
    current, beside = promoter.registry.champion(name), (logged or {}).get("champion_beside_rival")
    if current is None or logged is None or logged["champion"] != current.version or not beside or beside["has_passed"]:
        return None
    reason = f"{rival} would score minutes better: {beside['words']}"
    promoter.retire(name, reason, {"rival": beside})
    return reason
