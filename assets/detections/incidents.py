"""What the scan finds in each day."""

import dagster as dg
import polars as pl
from pydantic import BaseModel

from assets.models.scan import SCAN
from assets.shared.about import about_days
from assets.shared.checks import Checked, commit_days
from assets.shared.config import config_of, plain
from assets.tape.loading import warn
from resources.lake import LakeTable
from resources.stores import DatabaseResource, ModelRegistryResource
from tapewatch.market.instruments import Partition
from tapewatch.market.tables.derived import INCIDENTS
from tapewatch.store.lake.inputs import record_inputs


class IncidentsConfig(BaseModel):
    """Which registered scan to use, as `scan/3`; by default the champion."""

    model: str = ""


@dg.asset(
    **about_days(INCIDENTS, "numba", "sqlalchemy", is_day_by_day=True),
    ins={"bins_5s": dg.AssetIn(["features", "bins_5s"])},
    deps=[["models", "scan_champion"]],
    config_schema=plain(IncidentsConfig),
)
def incidents(
    context: dg.AssetExecutionContext,
    bins_5s: LakeTable,
    model_registry: ModelRegistryResource,
    database: DatabaseResource,
) -> Checked:
    """What the scan finds, one row for all kinds within ten minutes of a symbol; none in markets that it never learnt."""
    from assets.models import scan_in_use  # noqa: PLC0415 - takes seconds to import
    from tapewatch.reports.dossier.dossier import SOURCES  # noqa: PLC0415 - as above

    collectors = model_registry.champion_file(SCAN)
    find = scan_in_use.finder(
        model_registry.open(), SCAN, config_of(context, IncidentsConfig).model, collectors=collectors
    )
    if find is None:
        warn(context, "there is no scan yet: train one with the job train_detectors, on two days of trades or quotes")

    def found(day: Partition) -> pl.DataFrame:
        rows = find(bins_5s.read(day), day) if find else INCIDENTS.empty()
        database.open().replace_day(INCIDENTS, day, rows)
        record_inputs(bins_5s.lake, INCIDENTS, day, SOURCES[INCIDENTS.name])
        return rows

    yield from commit_days(context, INCIDENTS, bins_5s.lake, found)
