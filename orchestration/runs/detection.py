"""Loads days and scores them with a trained detector."""

import datetime as dt
import re

import polars as pl
from rich.console import Console

from orchestration.errors import RunError
from orchestration.home import check_home
from orchestration.runs.lineage import fetch, sourced
from tapewatch.market.derived_tables import BINS_5S, INCIDENTS
from tapewatch.market.instruments import Market, Partition, trading_days
from tapewatch.settings import Settings
from tapewatch.store.lake.lake import Lake

_MODEL = re.compile(r"scan/\d+")


def detected(
    settings: Settings, market: Market, first: dt.date, last: dt.date, console: Console, *, model: str | None = None
) -> pl.DataFrame:
    """The incidents of the days from `first` to `last`; days that the lake lacks are loaded.

    Days that this model scored, and whose bins are no newer, are read and nothing else; a day without incidents is scored again.

    Args:
        model: a registered scan, `scan/3`; None for the champion.

    Raises:
        RunError: there is no such model, a step failed, or the market is closed on all days.
        SourceError: the folder of the flat files is not there, or holds no folder of the market.
    """
    if model is not None and not _MODEL.fullmatch(model):
        raise RunError(f"{model} is no registered scan: write scan/VERSION, such as scan/3")
    from resources.mlflow_registry import ModelRegistry  # noqa: PLC0415 - MLflow takes seconds to import

    check_home(settings)
    champion = ModelRegistry(settings.tracking_uri, settings.artifact_root).champion("scan")
    if model is None and champion is None:
        raise RunError("there is no champion of the scan yet: train one with `tapewatch run`")
    lake = Lake(settings.lake_root)
    days = [Partition(day, market) for day in trading_days(market, first, last)]
    if not days or not all(is_scored(lake, day, model or str(champion)) for day in days):
        config = {"ops": {"detections__incidents": {"config": {"model": model}}}} if model else {}
        with sourced(settings, console) as (sourced_settings, _):
            fetch(
                sourced_settings,
                market,
                first,
                last,
                console,
                keep_existing=True,
                job="scan_days",
                config=config,
            )
    return pl.concat([INCIDENTS.empty(), *(lake.read(INCIDENTS, day) for day in days if lake.exists(INCIDENTS, day))])


def is_scored(lake: Lake, day: Partition, model: str) -> bool:
    """Whether all incidents of a day are this model's, from the bins that are there."""
    if not (lake.exists(INCIDENTS, day) and lake.exists(BINS_5S, day)):
        return False
    models = set(lake.read(INCIDENTS, day, columns=["model"])["model"])
    return models == {model} and lake.written_ns(INCIDENTS, day) >= lake.written_ns(BINS_5S, day)
