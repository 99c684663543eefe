"""The platform's assets and their checks, thin over the library."""

import warnings

import dagster as dg

# Single-run backfills are a beta feature of Dagster; our tests cover them.
warnings.filterwarnings("ignore", category=dg.BetaWarning, message=".*backfill_policy.*")
