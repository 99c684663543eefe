"""What every asset says of itself in the Dagster UI: description, owner, kinds, column schema, code version."""

from typing import Any

import dagster as dg

from assets import checks
from assets.partitions import MARKET_DAYS
from resources.lake import column_schema
from tapewatch import __version__
from tapewatch.market.schema import Table

_OWNERS = {
    "tape": "team:market-data",
    "features": "team:quant-research",
    "labels": "team:quant-research",
    "models": "team:quant-research",
    "explanations": "team:quant-research",
    "detections": "team:surveillance",
    "serving": "team:platform",
    "reports": "team:market-data",
}


def about(group: str, name: str, description: str, *kinds: str) -> dict[str, Any]:
    """Arguments of `@asset` that every asset of the platform has."""
    return {
        "key": [group, name],
        "group_name": group,
        "description": description,
        "owners": [_OWNERS[group]],
        "kinds": set(kinds),
        "code_version": __version__,
    }


def about_table(table: Table, *kinds: str) -> dict[str, Any]:
    """The same for an asset that is a table of the lake, its columns included."""
    return {
        **about(table.group, table.name, table.description, "parquet", *kinds),
        "metadata": {"dagster/column_schema": column_schema(table), "key": ", ".join(table.key)},
        "io_manager_key": "lake_io",
    }


def about_days(table: Table, *kinds: str) -> dict[str, Any]:
    """The same for a table with a partition a market day: partitions, one run a range, checks."""
    return {
        **about_table(table, *kinds),
        "partitions_def": MARKET_DAYS,
        "backfill_policy": dg.BackfillPolicy.single_run(),
        "check_specs": checks.specs(table),
    }
