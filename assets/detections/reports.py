"""Pages about the tape, for people."""

import dagster as dg
import polars as pl

from assets.shared.about import about_days
from assets.shared.checks import Checked, commit_days
from resources.lake import LakeTable
from tapewatch.market.instruments import Partition
from tapewatch.market.tables.derived import PROFILE
from tapewatch.reports.tape_profile import field_rows, profile_day
from tapewatch.store.durable import Staging


@dg.asset(
    **about_days(PROFILE, "html"),
    ins={"coverage": dg.AssetIn(["tape", "coverage"])},
    deps=[["tape", "trades"], ["tape", "quotes"], ["tape", "bars"]],
)
def profile(context: dg.AssetExecutionContext, coverage: LakeTable) -> Checked:
    """The fields of the day's tape as a table, and a page with plots."""
    from tapewatch.reports.profile_page import render_profile  # noqa: PLC0415 - Plotly, which only runs need

    lake = coverage.lake

    def fields(partition: Partition) -> pl.DataFrame:
        measured = profile_day(lake, partition)
        page = lake.page(PROFILE, partition)
        with Staging(page) as staging:
            text = render_profile(measured, title=f"The tape of {partition.market}, {partition.date}")
            staging.path.write_text(text, encoding="utf-8")
            staging.swap_in()
        context.add_asset_metadata({"page": dg.MetadataValue.path(str(page))}, partition_key=str(partition))
        return field_rows(measured)

    yield from commit_days(context, PROFILE, lake, fields)
