"""Loads days and scores them with a trained detector."""

import datetime as dt
import re

import polars as pl
from rich.console import Console

from orchestration.errors import RunError
from orchestration.runs.lineage import fetch
from tapewatch.market.derived_tables import INCIDENTS
from tapewatch.market.instruments import Market, Partition, trading_days
from tapewatch.settings import Settings
from tapewatch.store.lake.lake import Lake

_MODEL = re.compile(r"scan/\d+")


def detected(
    settings: Settings, market: Market, first: dt.date, last: dt.date, console: Console, *, model: str | None = None
) -> pl.DataFrame:
    """The incidents of the days from `first` to `last`; days that the lake lacks are loaded.

    Args:
        model: a registered scan, `scan/3`; None for the champion.

    Raises:
        RunError: there is no such model, a step failed, or the market is closed on all days.
    """
    if model is not None and not _MODEL.fullmatch(model):
        raise RunError(f"{model} is no registered scan: write scan/VERSION, such as scan/3")
    from resources.mlflow_registry import ModelRegistry  # noqa: PLC0415 - MLflow takes seconds to import

    registry = ModelRegistry(settings.tracking_uri, settings.artifact_root)
    if model is None and registry.champion("scan") is None:
        raise RunError("there is no champion of the scan yet: train one with `tapewatch run`")
    config = {"ops": {"detections__incidents": {"config": {"model": model}}}} if model else {}
    fetch(settings, market, first, last, console, keep_existing=True, job="scan_days", config=config)
    lake = Lake(settings.lake_root)
    days = [Partition(day, market) for day in trading_days(market, first, last)]
    return pl.concat([INCIDENTS.empty(), *(lake.read(INCIDENTS, day) for day in days if lake.exists(INCIDENTS, day))])
