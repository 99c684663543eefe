"""What the champion makes of the features: the anomalies that it finds, and its score of every minute."""

from collections.abc import Generator

import dagster as dg
import polars as pl

from assets.models.forest import MINUTES
from assets.shared.about import about, about_days
from assets.shared.checks import Checked, results
from assets.shared.partitions import MARKET_DAYS, run_partitions
from assets.tape.loading import warn
from models.base import Detector
from models.events import merge_anomalies
from resources.lake import Days, LakeTable, column_schema
from resources.stores import DatabaseResource, ModelRegistryResource
from tapewatch.features.market_minutes import INDICATOR_COLUMNS, SCORE_COLUMNS, market_minutes
from tapewatch.market.instruments import Partition
from tapewatch.market.tables.features import MARKET_MICROSTRUCTURE
from tapewatch.market.tables.tape import ANOMALIES
from tapewatch.store.database.market_minutes import store_market_minutes
from tapewatch.store.lake.inputs import record_inputs


@dg.asset(
    **about_days(ANOMALIES, "sqlalchemy", is_day_by_day=True),
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


@dg.asset(
    **about("detections", "market_microstructure", MARKET_MICROSTRUCTURE.description, "sqlalchemy"),
    partitions_def=MARKET_DAYS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    metadata={"dagster/column_schema": column_schema(MARKET_MICROSTRUCTURE)},
    ins={
        "microstructure": dg.AssetIn(["features", "microstructure"]),
        "indicators": dg.AssetIn(["features", "indicators"]),
    },
    deps=[["models", "champion"]],
)
def market_microstructure(
    context: dg.AssetExecutionContext,
    microstructure: LakeTable,
    indicators: LakeTable,
    model_registry: ModelRegistryResource,
    database: DatabaseResource,
) -> None:
    """Write the days' minutes to the database: what a collector writes live, from the lake."""
    registry = model_registry.open()
    champion = registry.first_champion(*MINUTES)
    detector = registry.load_any(champion.uri) if champion else None
    if detector is None:
        warn(context, "there is no champion: the minutes have no score")
    opened = database.open()
    for partition in run_partitions(context):
        rows = microstructure.read(partition)
        scores = None if detector is None else _scores_of(detector, rows, str(champion))
        minutes = market_minutes(rows, indicators.scan(partition).select(INDICATOR_COLUMNS).collect(), scores)
        removed = store_market_minutes(opened, partition, minutes)
        found = {"dagster/row_count": minutes.height, "scored": minutes.height - minutes["model"].null_count()}
        context.add_asset_metadata({**found, "removed": removed}, partition_key=str(partition))


def _scores_of(detector: Detector, features: pl.DataFrame, model: str) -> pl.DataFrame:
    """The score of each regular minute."""
    rows = features.filter(pl.col("is_regular"))
    if rows.is_empty():
        return MARKET_MICROSTRUCTURE.empty().select(SCORE_COLUMNS)
    return detector.scored(rows).select("symbol", "event_time", anomaly_score="score", model=pl.lit(model))


def _events_of(detector: Detector, features: pl.DataFrame, model: str) -> pl.DataFrame:
    rows = features.filter(pl.col("is_regular"))
    if rows.is_empty():
        return ANOMALIES.empty()
    scored = detector.scored(rows)
    attributions = detector.explain(rows.filter(scored["score"] >= detector.threshold))
    level = detector.hours_between
    return merge_anomalies(scored, attributions, rows, threshold=detector.threshold, model=model, hours_between=level)
