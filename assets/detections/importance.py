"""A report about each detector as a whole."""

from typing import Any

import dagster as dg
import polars as pl

from assets.models.autoencoder import AUTOENCODER
from assets.models.forest import MODEL
from assets.shared.about import about
from resources.lake import LakeTable, png
from resources.stores import ModelRegistryResource
from tapewatch.market.instruments import Partition


def _report_of(name: str, words: str, *, refits: bool) -> dg.AssetsDefinition:
    """The asset of one detector; one that is slow to fit is not fitted again."""

    @dg.asset(
        **about("explanations", f"{name}_report", f"What the {words} looks at: a page in MLflow.", "shap", "mlflow"),
        ins={name: dg.AssetIn(["models", name]), "training_set": dg.AssetIn(["labels", "training_set"])},
        deps=[["models", "champion"]],
        io_manager_key="reference_io",
    )
    def report(
        context: dg.AssetExecutionContext, model_registry: ModelRegistryResource, **inputs: Any
    ) -> dict[str, Any]:
        """Attributions, importance and steadiness of the newest version, logged to its run."""
        reference, training_set = inputs[name], inputs["training_set"]
        if "not_fitted" in reference:
            return {"not_reported": reference["not_fitted"]}
        from assets.detections import explaining  # noqa: PLC0415 - takes seconds to import

        rows = _rows(training_set, [*reference["train"], *reference["validation"]])
        result = explaining.report(model_registry.open(), name, reference, rows, refits=refits)
        context.add_output_metadata({"plot": png(result.plot), **result.facts})
        return {"run_id": reference["run_id"], **result.facts}

    return report


def _rows(training_set: LakeTable, keys: list[str]) -> pl.DataFrame:
    return pl.concat([training_set.table.empty(), *(training_set.read(Partition.parse(key)) for key in keys)])


isolation_forest_report = _report_of(MODEL, "Isolation Forest", refits=True)
lstm_autoencoder_report = _report_of(AUTOENCODER, "LSTM autoencoder", refits=False)
