"""Dagster definitions, the processes of a deployment, and the command line."""
