"""Dagster definitions, the processes of a deployment, and the command line.

Anything that can be done without Dagster, processes or a terminal belongs in `tapewatch` or `models`.
"""
