"""Which version of a detector of minutes is the champion after a training."""

from collections.abc import Mapping
from typing import Any

from resources.mlflow_registry import ModelRegistry


def promote(registry: ModelRegistry, name: str, reference: Mapping[str, Any]) -> str:
    """Register the detector of `reference`, champion unless the last one ranked the validation minutes better; returns why.

    What was not fitted, or could not be judged, changes nothing.
    """
    if "run_id" not in reference:
        return f"no {name} was fitted"
    metrics = registry.metrics(reference["run_id"])
    registered = registry.register(name, reference["model_uri"], reference["run_id"])
    if "average_precision" not in metrics:
        return f"{name} {registered.version} could not be judged"
    new, last = metrics["average_precision"], metrics.get("champion_average_precision", 0.0)
    if new < last:
        return f"{name} {registered.version} has an average precision of {new:.3f}, the champion {last:.3f}"
    registry.set_champion(name, int(registered.version))
    return f"{name} {registered.version} is no worse than the champion before it: {new:.3f} against {last:.3f}"


def promote_over(registry: ModelRegistry, name: str, reference: Mapping[str, Any], other: Mapping[str, float]) -> str:
    """As `promote`; and no version is champion if the better of `other`'s detectors ranks the same minutes better.

    Args:
        other: metrics of another detector and its champion on the same validation days.
    """
    reason = promote(registry, name, reference)
    if "run_id" not in reference or "average_precision" not in other:
        return reason
    metrics = registry.metrics(reference["run_id"])
    best = max(metrics.get(key, 0.0) for key in ("average_precision", "champion_average_precision"))
    to_beat = max(other.get(key, 0.0) for key in ("average_precision", "champion_average_precision"))
    if best >= to_beat or registry.champion(name) is None:
        return reason
    registry.retire_champion(name)
    return (
        f"{name} has an average precision of {best:.3f} on the validation days, and would replace one of {to_beat:.3f}"
    )
