"""The feature store: definitions applied, and an online store that is filled from the lake and compared with it."""

from collections.abc import Iterator

import dagster as dg
from pydantic import BaseModel, Field

from assets.shared.about import about
from assets.shared.config import config_of, plain
from resources.stores import FeatureStoreResource

_CHECK = "equals_offline"
#: The tables of the views.
TABLES = ("microstructure", "bins_5s", "microstructure_more", "indicators", "cross_asset", "regimes", "seasonality")
#: Of the features that differ, how many the check names.
_NAMED = 20


class OnlineConfig(BaseModel):
    """How many symbols of each view are compared with the lake."""

    sample: int = Field(200, ge=1)


@dg.asset(
    **about(
        "feature_store", "registry", "Feast's registry: the views of features, and what each detector reads.", "feast"
    )
)
def registry(context: dg.AssetExecutionContext, feature_store: FeatureStoreResource) -> None:
    """Apply the definitions; the planned changes are shown as metadata."""
    with feature_store.open() as features:
        planned = features.apply()
        views = [f"{view.name}: {len(view.features)} features" for view in features.store.list_feature_views()]
        views += [f"{view.name}: labels" for view in features.store.list_label_views()]
        services = [service.name for service in features.store.list_feature_services()]
    text = "\n".join(f"- {change}" for change in planned) or "no change"
    context.add_output_metadata({"plan": dg.MetadataValue.md(text), "views": views, "services": services})


@dg.asset(
    **about("feature_store", "online", "Each symbol's newest features, for serving.", "feast"),
    deps=[["feature_store", "registry"], *(["features", name] for name in TABLES)],
    check_specs=[
        dg.AssetCheckSpec(
            _CHECK,
            asset=["feature_store", "online"],
            description="Sampled online vectors are, bit for bit, what the lake's as-of join gives.",
        )
    ],
    config_schema=plain(OnlineConfig),
)
def online(
    context: dg.AssetExecutionContext, feature_store: FeatureStoreResource
) -> Iterator[dg.Output[None] | dg.AssetCheckResult]:
    """Bring the online store to the newest rows of the lake, then compare a sample of it with the lake."""
    sample = config_of(context, OnlineConfig).sample
    with feature_store.open() as features:
        materialized = features.materialize()
        found = features.compare(sample=sample)
        if found.faults:
            # The lake may have grown between the two.
            materialized = features.materialize()
            found = features.compare(sample=sample)
    yield dg.Output(None, metadata={"materialized": materialized})
    faults = [str(fault) for fault in found.faults]
    yield dg.AssetCheckResult(
        check_name=_CHECK,
        passed=not faults,
        metadata={"compared": found.compared, "ahead_of_the_lake": found.ahead, "differing": faults[:_NAMED]},
        description="; ".join(faults[:_NAMED])
        + ("" if len(faults) <= _NAMED else f"; and {len(faults) - _NAMED} more"),
    )
