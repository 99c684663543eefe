"""The LSTM autoencoder, fitted and judged on the same days as the other detectors."""

from typing import Any

import dagster as dg
import polars as pl

from assets.models.forest import TrainingConfig
from assets.models.validation import validation_days
from assets.shared.about import about
from assets.shared.config import config_of, plain
from assets.tape.loading import warn
from models.base import DetectorError
from resources.lake import LakeTable, png
from resources.stores import DatabaseResource, KerasResource, ModelRegistryResource
from tapewatch.labels.training.splits import split_days
from tapewatch.market.tables.tape import TRAINING_SET

#: Name of the experiment and of the registered model.
AUTOENCODER = "lstm_autoencoder"


class AutoencoderConfig(TrainingConfig):
    """The days of the training, and the network."""

    epochs: int = 12
    units: int = 32


@dg.asset(
    **about("models", AUTOENCODER, "LSTM autoencoder over windows of 16 minutes.", "keras", "mlflow"),
    ins={"training_set": dg.AssetIn(["labels", "training_set"])},
    deps=[["tape", "trades"], ["tape", "quotes"], ["tape", "bars"], ["labels", "truth_labels"]],
    io_manager_key="reference_io",
    config_schema=plain(AutoencoderConfig),
)
def lstm_autoencoder(
    context: dg.AssetExecutionContext,
    training_set: LakeTable,
    model_registry: ModelRegistryResource,
    keras: KerasResource,
    database: DatabaseResource,
) -> dict[str, Any]:
    """Fit on the earlier days of the window, judge on the later ones, and register; it is champion if it passes every gate.

    Where Keras is not installed or the days are too few, the reason is a warning, nothing is registered, and the run goes on.
    """
    if keras.backend == "none":
        return {"not_fitted": "the setting TAPEWATCH_KERAS_BACKEND is none"}
    from assets.models import deciding, sequences, training  # noqa: PLC0415 - take seconds to import
    from models.lstm_autoencoder.training import AutoencoderParameters  # noqa: PLC0415 - likewise

    config = config_of(context, AutoencoderConfig)
    parameters = AutoencoderParameters(backend=keras.backend, epochs=config.epochs, units=config.units)
    registry = model_registry.open()
    try:
        filled = [p for p in training_set.partitions() if training_set.lake.rows(TRAINING_SET, p)]
        learning, validating = split_days(config.choose(filled), config.validation_share)
        days = {"train": [str(p) for p in learning], "validation": [str(p) for p in validating]}
        rows = pl.concat(training_set.read(partition) for partition in learning)
        fitted = sequences.fit(
            registry,
            AUTOENCODER,
            rows,
            days,
            parameters,
            seed=config.seed,
            work=keras.folder(AUTOENCODER),
            log=context.log.info,
        )
    except (DetectorError, ValueError) as error:
        warn(context, f"no autoencoder was fitted: {error}")
        return {"not_fitted": str(error)}
    reference = {"run_id": fitted.run_id, "model_uri": fitted.model_uri, "seed": config.seed, **days}
    metrics = sequences.judge(
        registry, AUTOENCODER, reference, validation_days(training_set.lake, validating, config.seed)
    )
    training.log_data(registry, AUTOENCODER, fitted.run_id, training_set, days)
    outcome = deciding.decide(registry, database.open(), AUTOENCODER, reference)
    context.add_output_metadata(
        {
            "threshold": fitted.threshold,
            "champion": outcome.champion.version if outcome.champion else 0,
            "reason": outcome.reason,
            "mlflow_run": dg.MetadataValue.url(registry.run_url(fitted.run_id)),
            "scores": png(fitted.scores),
            **metrics,
        }
    )
    return reference
