"""The description, owner, kinds, column schema and code version of each asset in the Dagster UI."""

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
    "feature_store": "team:platform",
}


def about(group: str, name: str, description: str, *kinds: str) -> dict[str, Any]:
    """The arguments of `@asset` that all assets have."""
    return {
        "key": [group, name],
        "group_name": group,
        "description": description,
        "owners": [_OWNERS[group]],
        "kinds": set(kinds),
        "code_version": __version__,
    }


def about_table(table: Table, *kinds: str) -> dict[str, Any]:
    """The same for an asset that is a table of the lake, with its columns."""
    return {
        **about(table.group, table.name, table.description, "parquet", *kinds),
        "metadata": {"dagster/column_schema": column_schema(table), "key": ", ".join(table.key)},
        "io_manager_key": "lake_io",
    }


def about_days(table: Table, *kinds: str) -> dict[str, Any]:
    """The same for a table with a partition per market day: also partitions, one run per range, and checks."""
    return {
        **about_table(table, *kinds),
        "partitions_def": MARKET_DAYS,
        "backfill_policy": dg.BackfillPolicy.single_run(),
        "check_specs": checks.specs(table),
    }
