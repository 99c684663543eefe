"""The description, owner, kinds, column schema, freshness and code version of each asset in the Dagster UI."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

import dagster as dg

from assets.shared.checks import OF_ALL, Check
from assets.shared.partitions import DAYS_TAG, INDEPENDENT, MARKET_DAYS
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
    "trading": "team:quant-research",
    "serving": "team:platform",
    "reports": "team:market-data",
    "feature_store": "team:platform",
}

#: When the runs of the schedules are over. A policy sees the newest run alone, of any day and market; the check `up_to_date`
#: of the certificates looks at the days.
_DAILY = dg.FreshnessPolicy.cron("0 13 * * *", dt.timedelta(hours=24), "America/New_York")
_DAILY_LATER = dg.FreshnessPolicy.cron("0 15 * * *", dt.timedelta(hours=24), "America/New_York")
_WEEKLY = dg.FreshnessPolicy.time_window(dt.timedelta(days=8), dt.timedelta(days=7, hours=6))
_FRESHNESS = {
    "tape": _DAILY,
    "features": _DAILY,
    "labels": _DAILY,
    "detections": _DAILY_LATER,
    "models": _WEEKLY,
    "explanations": _WEEKLY,
    "serving": _WEEKLY,
}
#: Merged whenever the stream delivers.
_WITHOUT_FRESHNESS = {"stream_batches"}


def about(group: str, name: str, description: str, *kinds: str) -> dict[str, Any]:
    """The arguments of `@asset` that all assets have."""
    return {
        "key": [group, name],
        "group_name": group,
        "description": description,
        "owners": [_OWNERS[group]],
        "kinds": set(kinds),
        "code_version": __version__,
        "freshness_policy": None if name in _WITHOUT_FRESHNESS else _FRESHNESS.get(group),
    }


def about_table(table: Table, *kinds: str) -> dict[str, Any]:
    """The same for an asset that is a table of the lake, with its columns."""
    return {
        **about(table.group, table.name, table.description, "parquet", *kinds),
        "metadata": {"dagster/column_schema": column_schema(table), "key": ", ".join(table.key)},
        "io_manager_key": "lake_io",
    }


def about_days(
    table: Table,
    *kinds: str,
    checks: Sequence[Check] = (),
    specs: Sequence[dg.AssetCheckSpec] = (),
    is_day_by_day: bool = False,
) -> dict[str, Any]:
    """The same for a table with a partition per market day: also partitions, one run per range, and checks.

    Args:
        checks: what the asset checks besides schema and keys.
        specs: checks whose results the asset itself returns.
        is_day_by_day: a day depends on no other day of this table, so that workers of a cluster may share the days of a run.
    """
    return {
        **about_table(table, *kinds),
        "partitions_def": MARKET_DAYS,
        "backfill_policy": dg.BackfillPolicy.single_run(),
        "op_tags": {DAYS_TAG: INDEPENDENT} if is_day_by_day else {},
        "check_specs": [*(check.spec(table) for check in (*OF_ALL, *checks)), *specs],
    }
