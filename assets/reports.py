"""Pages about the data, for people who have to learn it."""

from collections.abc import Generator

import dagster as dg
import polars as pl

from assets.about import about_days
from assets.checks import Checked, results
from assets.partitions import run_partitions
from resources.lake import Days, LakeTable
from tapewatch.market.instruments import Partition
from tapewatch.market.tables import PROFILE
from tapewatch.reports.tape_profile import field_rows, profile_day
from tapewatch.store.durable import Staging


@dg.asset(
    **about_days(PROFILE, "html"),
    ins={"coverage": dg.AssetIn(["tape", "coverage"])},
    deps=[["tape", "trades"], ["tape", "quotes"], ["tape", "bars"]],
)
def profile(context: dg.AssetExecutionContext, coverage: LakeTable) -> Checked:
    """What the day's tape holds: its fields as a table, and a page with plots beside it."""
    from tapewatch.reports.profile_page import render_profile  # noqa: PLC0415 - Plotly, which only runs need

    lake = coverage.lake

    def days() -> Generator[tuple[Partition, pl.DataFrame], None, None]:
        for partition in run_partitions(context):
            measured = profile_day(lake, partition)
            page = lake.path(PROFILE, partition).with_suffix(".html")
            with Staging(page) as staging:
                staging.path.write_text(
                    render_profile(measured, title=f"The tape of {partition.market}, {partition.date}"),
                    encoding="utf-8",
                )
                staging.swap_in()
            context.add_asset_metadata({"page": dg.MetadataValue.path(str(page))}, partition_key=str(partition))
            yield partition, field_rows(measured)

    yield dg.Output(Days(days()))
    yield from results(context, PROFILE, lake)
