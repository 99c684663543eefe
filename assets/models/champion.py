"""The champions after a training: the candidates that pass every gate."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from assets.models.forest import CLASSIFIER, ENSEMBLE, MINUTES, MODEL
from assets.shared.about import about
from assets.tape.loading import warn
from resources.stores import DatabaseResource, ModelRegistryResource


@dg.asset(
    **about("models", "champion", "The registered detector of minutes in use, by its alias in MLflow.", "mlflow"),
    ins={name: dg.AssetIn(["models", name]) for name in (MODEL, CLASSIFIER, ENSEMBLE)},
    deps=[["models", "evaluation"], ["models", "comparison"]],
    io_manager_key="reference_io",
)
def champion(
    context: dg.AssetExecutionContext,
    isolation_forest: dict[str, Any],
    anomaly_classifier: dict[str, Any],
    ensemble: dict[str, Any],
    model_registry: ModelRegistryResource,
    database: DatabaseResource,
) -> dict[str, Any]:
    """Register the new detectors as challengers, promote those that pass every gate, and hand the champion to the collectors.

    The history records why or why not. The champion of minutes is the ensemble's if it has one, else the forest's; the ensemble's
    retires where the forest that was just promoted is proven better.
    """
    from assets.models import deciding  # noqa: PLC0415 - takes seconds to import
    from resources.hand_over import hand_over  # noqa: PLC0415 - as above
    from resources.promotion import Promoter  # noqa: PLC0415 - as above

    registry = model_registry.open()
    demands = deciding.Demands(shadow_hours=model_registry.shadow_hours)
    references = {MODEL: isolation_forest, CLASSIFIER: anomaly_classifier, ENSEMBLE: ensemble}
    with database.open() as store:
        outcomes = {
            name: deciding.decide(registry, store, name, reference, demands)
            for name, reference in references.items()
            if "run_id" in reference
        }
        of_forest, retired = outcomes[MODEL], None
        if of_forest.is_promoted and of_forest.champion is not None:
            promoter = Promoter(registry, store, "dagster")
            retired = deciding.retire_outranked(promoter, ENSEMBLE, ensemble, of_forest.champion)
    for outcome in outcomes.values():
        if not outcome.is_promoted:
            warn(context, f"{outcome.candidate} stays the challenger: {outcome.reason}")
    if retired is not None:
        warn(context, f"{ENSEMBLE} has no champion any more: {retired}")
    hand_over(registry, model_registry.champions_folder, MINUTES)
    current = registry.first_champion(*MINUTES)
    if current is None:
        raise dg.Failure(f"{of_forest.candidate} is no champion, and there is no other: {of_forest.reason}")
    context.add_output_metadata(
        {
            "champion": str(current),
            **{name: outcome.reason for name, outcome in outcomes.items()},
            "gates": _table({str(outcome.candidate): outcome.gates for outcome in outcomes.values()}),
            "mlflow_model": dg.MetadataValue.url(registry.model_url(current)),
            "mlflow_run": dg.MetadataValue.url(registry.run_url(of_forest.candidate.run_id)),
        }
    )
    return {"name": current.name, "version": current.version, "run_id": current.run_id}


def _table(candidates: Mapping[str, Mapping[str, Any]]) -> dg.MetadataValue:
    """The gates of each candidate."""
    records = [
        dg.TableRecord({"candidate": candidate, "gate": name, "passed": gate["has_passed"], "measured": gate["words"]})
        for candidate, gates in candidates.items()
        for name, gate in gates.items()
    ]
    columns = [dg.TableColumn(name) for name in ("candidate", "gate", "measured")]
    return dg.MetadataValue.table(records, dg.TableSchema([*columns[:2], dg.TableColumn("passed", "bool"), columns[2]]))
