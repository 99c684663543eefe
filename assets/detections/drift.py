"""How far each day is from the days that the champion was fitted on."""

import datetime as dt
from collections.abc import Sequence

import dagster as dg
import polars as pl

from assets.models.forest import MINUTES
from assets.shared.about import about_days
from assets.shared.checks import Checked, commit_days
from assets.tape.loading import warn
from resources.lake import LakeTable, png
from resources.stores import DatabaseResource, ModelRegistryResource
from tapewatch.market.instruments import Partition
from tapewatch.market.tables.derived import DRIFT
from tapewatch.market.tables.live import ALERT_VERDICTS
from tapewatch.store.durable import Staging
from tapewatch.store.lake.lake import Lake

#: The newest training days stand for all; verdicts of these days are recent.
_MOST_DAYS, _RECENT = 5, dt.timedelta(days=28)
_SHOWN_DAYS = 60


@dg.asset(
    **about_days(DRIFT, "html"),
    ins={"microstructure": dg.AssetIn(["features", "microstructure"])},
    deps=[["models", "champion"]],
)
def drift(
    context: dg.AssetExecutionContext,
    microstructure: LakeTable,
    model_registry: ModelRegistryResource,
    database: DatabaseResource,
) -> Checked:
    """Distances and sequential tests of features, scores and alerts, and of the share of alerts that people confirm."""
    from models.drift.measure import drift_rows, verdict_rows  # noqa: PLC0415 - only runs need it
    from tapewatch.reports.drift_page import drift_html, drift_png  # noqa: PLC0415 - likewise

    registry, lake, opened = model_registry.open(), microstructure.lake, database.open()
    champion = registry.first_champion(*MINUTES)
    if champion is None:
        raise dg.Failure("there is no champion yet: run the job train_detectors first")
    detector, model = registry.load_any(champion.uri), str(champion)
    learnt = detector.manifest.partitions

    def measured(day: Partition) -> pl.DataFrame:
        reference = _regular(microstructure, _of_market(learnt, day, lake, microstructure))
        rows = _regular(microstructure, [day] if microstructure.exists(day) else [])
        earlier = [p for p in lake.partitions(DRIFT, day.market) if p.date < day.date]
        before = lake.read(DRIFT, earlier[-1]) if earlier else DRIFT.empty()
        verdicts = opened.read(ALERT_VERDICTS, market=day.market)
        end = dt.datetime.fromtimestamp(day.session.day_end / 1e9, dt.UTC)
        of_people = verdict_rows(verdicts.filter(pl.col("created_time") < end), since=end - _RECENT, model=model)
        found = pl.concat([drift_rows(rows, reference, detector, before, model=model), of_people])
        page = lake.page(DRIFT, day)
        shown = [lake.read(DRIFT, p).with_columns(date=pl.lit(p.date)) for p in earlier[-_SHOWN_DAYS:]]
        with Staging(page) as staging:
            days = pl.concat([*shown, found.with_columns(date=pl.lit(day.date))])
            staging.path.write_text(
                drift_html(found, days, title=f"Drift of {day.market}, {day.date}"), encoding="utf-8"
            )
            staging.swap_in()
        drifting = found.filter("is_drifting")["name"].cast(pl.String).to_list()
        if drifting:
            warn(
                context,
                f"{day}: {len(drifting)} measure(s) drift from the champion's training days: {', '.join(drifting[:8])}",
            )
        facts = {"drifting": len(drifting), "page": dg.MetadataValue.path(str(page)), "model": model}
        plots = {"plot": png(drift_png(found))} if found.height else {}
        context.add_asset_metadata({**facts, **plots}, partition_key=str(day))
        return found

    yield from commit_days(context, DRIFT, lake, measured, needs_tape=False)


def _of_market(learnt: Sequence[str], day: Partition, lake: Lake, table: LakeTable) -> list[Partition]:
    """The newest training days of the day's market before it, or, if there are none left, the days before."""
    present = [p for p in lake.partitions(table.table, day.market) if p.date < day.date]
    chosen = [p for p in present if str(p) in set(learnt)] or present
    return chosen[-_MOST_DAYS:]


def _regular(table: LakeTable, days: Sequence[Partition]) -> pl.DataFrame:
    return pl.concat([table.table.empty(), *(table.read(day) for day in days)]).filter("is_regular")
