"""The anomalies that the champion finds."""

from collections.abc import Generator

import dagster as dg
import polars as pl

from assets.about import about_days
from assets.checks import Checked, results
from assets.models import MINUTES
from assets.partitions import run_partitions
from models.base import Detector
from models.events import merge_anomalies
from resources.lake import Days, LakeTable
from resources.stores import DatabaseResource, ModelRegistryResource
from tapewatch.market.instruments import Partition
from tapewatch.market.tables import ANOMALIES
from tapewatch.store.lake.inputs import record_inputs


@dg.asset(
    **about_days(ANOMALIES, "sqlalchemy"),
    ins={"microstructure": dg.AssetIn(["features", "microstructure"])},
    deps=[["models", "champion"]],
)
def anomalies(
    context: dg.AssetExecutionContext,
    microstructure: LakeTable,
    model_registry: ModelRegistryResource,
    database: DatabaseResource,
) -> Checked:
    """Score the regular minutes, merge adjacent anomalous ones into events, and store these in lake and database."""
    from resources.hand_over import hand_over  # noqa: PLC0415 - takes seconds to import
    from tapewatch.reports.dossier.dossier import SOURCES  # noqa: PLC0415 - only runs need it

    registry = model_registry.open()
    # An alias may have been moved by hand.
    hand_over(registry, model_registry.champions_folder, MINUTES)
    champion = registry.first_champion(*MINUTES)
    if champion is None:
        raise dg.Failure("there is no champion yet: run the job train_detectors first")
    detector = registry.load_any(champion.uri)

    def days() -> Generator[tuple[Partition, pl.DataFrame], None, None]:
        for partition in run_partitions(context):
            events = _events_of(detector, microstructure.read(partition), str(champion))
            yield partition, events
            database.open().replace_anomalies(partition, events)
            record_inputs(microstructure.lake, ANOMALIES, partition, SOURCES[ANOMALIES.name])
            context.add_asset_metadata(
                {
                    "by_kind": dict(events["kind"].cast(pl.String).value_counts().iter_rows()),
                    "anomalies": events.height,
                    "model": dg.MetadataValue.url(registry.model_url(champion)),
                },
                partition_key=str(partition),
            )

    yield dg.Output(Days(days()))
    yield from results(context, ANOMALIES, microstructure.lake)


def _events_of(detector: Detector, features: pl.DataFrame, model: str) -> pl.DataFrame:
    rows = features.filter(pl.col("is_regular"))
    if rows.is_empty():
        return ANOMALIES.empty()
    scored = detector.scored(rows)
    attributions = detector.explain(rows.filter(scored["score"] >= detector.threshold))
    return merge_anomalies(scored, attributions, rows, threshold=detector.threshold, model=model)
