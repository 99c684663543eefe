"""Explanations of the detector's scores, feature by feature."""

from typing import Any

import dagster as dg
import polars as pl

from assets.models.forest import MODEL
from assets.shared.about import about_table
from resources.lake import LakeTable, png
from resources.stores import ModelRegistryResource
from tapewatch.market.instruments import Partition
from tapewatch.market.tables.tape import ATTRIBUTIONS

#: TreeExplainer takes milliseconds per row: the most anomalous minutes and a sample of the rest are enough.
_TOP_ROWS = 300
_SAMPLE_ROWS = 300


@dg.asset(
    **about_table(ATTRIBUTIONS, "shap", "mlflow"),
    ins={
        "isolation_forest": dg.AssetIn(["models", "isolation_forest"]),
        "training_set": dg.AssetIn(["labels", "training_set"]),
    },
)
def isolation_forest_shap(
    context: dg.AssetExecutionContext,
    isolation_forest: dict[str, Any],
    training_set: LakeTable,
    model_registry: ModelRegistryResource,
) -> pl.DataFrame:
    """SHAP values of the validation days' most anomalous minutes, and of a sample of the others."""
    from assets.models.training import log_attributions  # noqa: PLC0415 - takes seconds to import

    registry = model_registry.open()
    detector = registry.load(isolation_forest["model_uri"])
    rows = pl.concat(training_set.read(Partition.parse(key)) for key in isolation_forest["validation"])
    ranked = rows.with_columns(score=pl.Series(detector.score(rows))).sort("score", descending=True).drop("score")
    rest = ranked.slice(_TOP_ROWS)
    sample = rest.sample(min(_SAMPLE_ROWS, rest.height), seed=isolation_forest["seed"])
    attributions = detector.explain(pl.concat([ranked.head(_TOP_ROWS), sample]))
    swarm = log_attributions(registry, MODEL, isolation_forest["run_id"], attributions)
    context.add_output_metadata(
        {
            "minutes": attributions.height // len(detector.features),
            "mlflow_run": dg.MetadataValue.url(registry.run_url(isolation_forest["run_id"])),
            "beeswarm": png(swarm),
        }
    )
    return attributions
