"""Runs whose steps, and days within a step, are computed by the workers of a Dask cluster."""
