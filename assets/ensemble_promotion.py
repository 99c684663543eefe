"""Which versions of the classifier and the ensemble are champions after a training."""

from collections.abc import Mapping
from typing import Any

from resources.mlflow_registry import RegisteredModel
from resources.promotion import Promoter

_OWN, _BEFORE = "average_precision", "champion_average_precision"


def promote(promoter: Promoter, name: str, reference: Mapping[str, Any]) -> str:
    """Register the detector of `reference`, champion unless the last one ranked the validation minutes better; returns why.

    What was not fitted, or could not be judged, changes nothing. The history records a promotion and a refusal.
    """
    if "run_id" not in reference:
        return f"no {name} was fitted"
    registry, run_id = promoter.registry, reference["run_id"]
    metrics, current = registry.metrics(run_id), registry.champion(name)
    registered = registry.register(name, reference["model_uri"], run_id)
    if _OWN not in metrics:
        return f"{name} {registered.version} could not be judged"
    candidate, over = RegisteredModel(name, int(registered.version), run_id), current.version if current else None
    if over == candidate.version:
        return f"{name} {over} is the champion already"
    new, last = metrics[_OWN], metrics.get(_BEFORE, 0.0)
    evidence = {key: metrics[key] for key in (_OWN, _BEFORE) if key in metrics}
    if new < last:
        reason = f"{name} {candidate.version} has an average precision of {new:.3f}, the champion {last:.3f}"
        promoter.refuse(candidate, over=over, reason=reason, evidence=evidence)
    else:
        reason = f"{name} {candidate.version} is no worse than the champion before it: {new:.3f} against {last:.3f}"
        promoter.promote(candidate, over=over, reason=reason, evidence=evidence)
    return reason


def promote_over(promoter: Promoter, name: str, reference: Mapping[str, Any], other: Mapping[str, float]) -> str:
    """As `promote`; and no version is champion if the better of `other`'s detectors ranks the same minutes better.

    Args:
        other: metrics of another detector and its champion on the same validation days.
    """
    reason = promote(promoter, name, reference)
    if "run_id" not in reference or _OWN not in other:
        return reason
    metrics = promoter.registry.metrics(reference["run_id"])
    best = max(metrics.get(key, 0.0) for key in (_OWN, _BEFORE))
    to_beat = max(other.get(key, 0.0) for key in (_OWN, _BEFORE))
    if best >= to_beat or promoter.registry.champion(name) is None:
        return reason
    reason = (
        f"{name} has an average precision of {best:.3f} on the validation days, and would replace one of {to_beat:.3f}"
    )
    promoter.retire(name, reason)
    return reason
