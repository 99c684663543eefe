"""The platform's Dagster definitions. Building them does no I/O: no network, key or database is needed."""

from typing import Any

import dagster as dg

from assets import (
    champion,
    combination,
    coverage,
    deep,
    detections,
    drift,
    explanations,
    feature_store,
    features,
    further_labels,
    importance,
    information,
    labels,
    market_features,
    patterns,
    reports,
    scan,
    serving,
    stream,
    tape,
    trading,
)
from assets import models as model_assets
from assets.partitions import starting
from orchestration.jobs import JOBS
from orchestration.schedules import SCHEDULES
from orchestration.sensors import SENSORS
from resources.profiles import resources_for
from tapewatch.settings import Settings

_ASSET_MODULES = [
    tape,
    information,
    stream,
    coverage,
    features,
    market_features,
    feature_store,
    labels,
    further_labels,
    model_assets,
    deep,
    combination,
    champion,
    explanations,
    importance,
    scan,
    detections,
    patterns,
    drift,
    serving,
    reports,
    trading,
]


def build_definitions(settings: Settings | None = None, **overrides: Any) -> dg.Definitions:
    """The definitions for `settings`; `overrides` replace resources by key."""
    settings = settings or Settings()
    assets = dg.load_assets_from_modules(_ASSET_MODULES)
    return dg.Definitions(
        assets=starting(assets, settings.partitions_start) if settings.partitions_start else assets,
        asset_checks=dg.load_asset_checks_from_modules([coverage, model_assets]),
        jobs=JOBS,
        schedules=SCHEDULES,
        sensors=SENSORS,
        resources={**resources_for(settings), **overrides},
        executor=_executor(settings),
    )


def _executor(settings: Settings) -> dg.ExecutorDefinition:
    if settings.dask_address is None:
        # Steps are short and share compiled kernels; a process for each would be slower.
        return dg.in_process_executor
    from orchestration.cluster.executor import dask_executor  # noqa: PLC0415 - an extra, and slow to import

    return dask_executor(settings.dask_address)


defs = build_definitions()
