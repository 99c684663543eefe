"""The platform's assets and their checks, thin over the library."""

import warnings

import dagster as dg

# Dagster calls single-run backfills young; tests here hold them.
warnings.filterwarnings("ignore", category=dg.BetaWarning, message=".*backfill_policy.*")
