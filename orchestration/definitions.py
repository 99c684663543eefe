"""The platform's Dagster definitions. Building them does no I/O: no network, key or database is needed."""

from typing import Any

import dagster as dg

from assets.detections import anomalies, drift, explanations, importance, incidents, patterns, reports
from assets.features import bins, by_minute, of_market, store
from assets.labels import further_labels, labels
from assets.models import autoencoder, champion, combination, comparing, forest, scan
from assets.serving import bento
from assets.shared.partitions import starting
from assets.tape import bars, coverage, stream, ticks
from assets.trading import days, judged
from orchestration.jobs import JOBS
from orchestration.schedules import SCHEDULES
from orchestration.sensors import SENSORS
from resources.profiles import resources_for
from tapewatch.settings import Settings

_ASSET_MODULES = [
    *(ticks, bars, stream, coverage),
    *(by_minute, bins, of_market, store),
    *(labels, further_labels),
    *(forest, autoencoder, combination, comparing, scan, champion),
    *(anomalies, incidents, patterns, explanations, importance, drift, reports),
    bento,
    *(days, judged),
]


def build_definitions(settings: Settings | None = None, **overrides: Any) -> dg.Definitions:
    """The definitions for `settings`; `overrides` replace resources by key."""
    settings = settings or Settings()
    assets = dg.load_assets_from_modules(_ASSET_MODULES)
    return dg.Definitions(
        assets=starting(assets, settings.partitions_start) if settings.partitions_start else assets,
        asset_checks=dg.load_asset_checks_from_modules([coverage, forest]),
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
