"""The supervised classifier and the ensemble, fitted on the days of the forest."""

from typing import Any

import dagster as dg
import polars as pl
from pydantic import BaseModel

from assets.models.forest import CLASSIFIER, ENSEMBLE, MODEL
from assets.shared.about import about
from assets.shared.config import config_of, plain
from assets.tape.loading import warn
from models.base import DetectorError
from resources.lake import LakeTable
from resources.stores import ModelRegistryResource
from tapewatch.market.instruments import Partition
from tapewatch.market.tables.labels import HUMAN_LABELS, WEAK_LABELS
from tapewatch.market.tables.tape import QUOTES, TRADES

_TAPE = [["tape", "trades"], ["tape", "quotes"]]
_REMEDY = "the run goes on without it"


def _days_of(reference: dict[str, Any]) -> dict[str, list[str]]:
    return {purpose: reference[purpose] for purpose in ("train", "validation")}


class ClassifierConfig(BaseModel):
    """How many anomalies are injected for training, into which part of the tape, and how trees are grown."""

    anomalies_per_symbol_day: int = 12
    most_days: int = 5
    most_rows: int = 6_000_000
    iterations: int = 80


class EnsembleConfig(BaseModel):
    """The members, by their names in the registry, and how often ordinary tape may raise an alert."""

    members: list[str] = [MODEL, CLASSIFIER]
    hours: float = 6.5


@dg.asset(
    **about(
        "models", CLASSIFIER, "Boosted trees, trained on injected and labelled anomalies.", "scikitlearn", "mlflow"
    ),
    ins={"training_set": dg.AssetIn(["labels", "training_set"]), MODEL: dg.AssetIn(["models", MODEL])},
    deps=_TAPE,
    io_manager_key="reference_io",
    config_schema=plain(ClassifierConfig),
)
def anomaly_classifier(
    context: dg.AssetExecutionContext,
    training_set: LakeTable,
    isolation_forest: dict[str, Any],
    model_registry: ModelRegistryResource,
) -> dict[str, Any]:
    """Fit on the forest's training days and on anomalies put into copies of them; people's and weak labels count where there are any.

    Where there is too little to learn from, the reason is a warning, nothing is logged, and the run goes on.
    """
    from assets.models import combining, training  # noqa: PLC0415 - takes seconds to import
    from assets.models.labelled import labelled_minutes  # noqa: PLC0415 - as above

    config, registry = config_of(context, ClassifierConfig), model_registry.open()
    days = [Partition.parse(key) for key in isolation_forest["train"]]
    try:
        labelled = labelled_minutes(training_set.lake, days, isolation_forest["seed"], config.model_dump())
        rows = pl.concat(training_set.read(day) for day in days)
        fitted = combining.fit_classifier(registry, rows, labelled, isolation_forest, config.model_dump())
    except DetectorError as error:
        warn(context, f"no classifier was fitted, {_REMEDY}: {error}")
        return {"not_fitted": str(error)}
    sources = (TRADES, QUOTES, HUMAN_LABELS, WEAK_LABELS)
    training.log_data(registry, CLASSIFIER, fitted["run_id"], training_set, _days_of(fitted), sources)
    context.add_output_metadata(
        {
            "labelled_minutes": dict(labelled["kind"].value_counts().sort("kind").iter_rows()),
            "threshold": fitted["threshold"],
            "mlflow_run": dg.MetadataValue.url(registry.run_url(fitted["run_id"])),
        }
    )
    return fitted


@dg.asset(
    **about("models", ENSEMBLE, "Detectors of minutes on one scale, set to one alert in a number of hours.", "mlflow"),
    ins={
        "training_set": dg.AssetIn(["labels", "training_set"]),
        **{name: dg.AssetIn(["models", name]) for name in (MODEL, CLASSIFIER, "lstm_autoencoder")},
    },
    io_manager_key="reference_io",
    config_schema=plain(EnsembleConfig),
)
def ensemble(
    context: dg.AssetExecutionContext,
    training_set: LakeTable,
    isolation_forest: dict[str, Any],
    anomaly_classifier: dict[str, Any],
    lstm_autoencoder: dict[str, Any],
    model_registry: ModelRegistryResource,
) -> dict[str, Any]:
    """Calibrate those members that were fitted on the training days, each day scored as if it were new.

    Without any member, or with too few minutes, the reason is a warning, nothing is logged, and the forest stays in use.
    """
    from assets.models import combining, training  # noqa: PLC0415 - as above

    config, registry = config_of(context, EnsembleConfig), model_registry.open()
    references = {MODEL: isolation_forest, CLASSIFIER: anomaly_classifier, "lstm_autoencoder": lstm_autoencoder}
    rows = pl.concat(training_set.read(Partition.parse(key)) for key in isolation_forest["train"])
    try:
        fitted = combining.fit_ensemble(registry, rows, references, config.members, config.hours)
    except DetectorError as error:
        warn(context, f"no ensemble was fitted, {_REMEDY}: {error}")
        return {"not_fitted": str(error)}
    training.log_data(registry, ENSEMBLE, fitted["run_id"], training_set, _days_of(fitted))
    for absent in sorted(set(config.members) - set(fitted["members"])):
        warn(context, f"the ensemble does without {absent}: {references.get(absent, {}).get('not_fitted', 'unknown')}")
    context.add_output_metadata(
        {
            "members": fitted["members"],
            "threshold": fitted["threshold"],
            "mlflow_run": dg.MetadataValue.url(registry.run_url(fitted["run_id"])),
        }
    )
    return fitted
