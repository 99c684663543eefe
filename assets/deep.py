"""The LSTM autoencoder, fitted and judged on the same days as the other detectors."""

from typing import Any

import dagster as dg
import polars as pl

from assets.about import about
from assets.config import config_of, plain
from assets.loading import warn
from assets.models import TrainingConfig
from assets.validation import validation_days
from models.base import DetectorError
from resources.lake import LakeTable, png
from resources.stores import KerasResource, ModelRegistryResource
from tapewatch.labels.splits import split_days
from tapewatch.market.tables import TRAINING_SET

#: Name of the experiment and of the registered model.
AUTOENCODER = "lstm_autoencoder"


class AutoencoderConfig(TrainingConfig):
    """The days of the training, and the network."""

    epochs: int = 24
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
) -> dict[str, Any]:
    """Fit on the earlier days of the window, judge on the later ones, and register; the better one is the champion.

    Where Keras is not installed or the days are too few, the reason is a warning, nothing is registered, and the run goes on.
    """
    if keras.backend == "none":
        return {"not_fitted": "the setting TAPEWATCH_KERAS_BACKEND is none"}
    from assets import sequences  # noqa: PLC0415 - takes seconds to import
    from models.lstm_autoencoder.training import AutoencoderParameters  # noqa: PLC0415 - likewise

    config = config_of(context, AutoencoderConfig)
    parameters = AutoencoderParameters(backend=keras.backend, epochs=config.epochs, units=config.units)
    registry = model_registry.open()
    try:
        filled = [p for p in training_set.partitions() if training_set.lake.rows(TRAINING_SET, p)]
        training, validating = split_days(config.choose(filled), config.validation_share)
        days = {"train": [str(p) for p in training], "validation": [str(p) for p in validating]}
        rows = pl.concat(training_set.read(partition) for partition in training)
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
    champion = sequences.promote(registry, AUTOENCODER, reference, metrics)
    context.add_output_metadata(
        {
            "threshold": fitted.threshold,
            "champion": champion.version,
            "mlflow_run": dg.MetadataValue.url(registry.run_url(fitted.run_id)),
            "scores": png(fitted.scores),
            **metrics,
        }
    )
    return reference
