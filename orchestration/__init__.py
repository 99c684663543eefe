"""Dagster definitions, the processes of a deployment, and the command line."""

import gc

# Python's own thresholds spend a tenth of a run, and a seventh of the imports before it, on a million objects of the libraries,
# which all stay.
gc.set_threshold(50_000, 20, 50)
