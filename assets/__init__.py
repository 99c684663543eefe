"""The platform's assets and their checks, thin over the library."""

import warnings

import dagster as dg

# Single-run backfills and partitioned checks are marked as young by Dagster; both are held by tests here.
for _category in (dg.BetaWarning, dg.PreviewWarning):
    warnings.filterwarnings("ignore", category=_category, message=r".*(backfill_policy|partitions_def).*")
