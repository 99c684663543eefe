"""Loads days and scores them with a trained detector."""

import datetime as dt
import re
from typing import TYPE_CHECKING

import polars as pl
from rich.console import Console

from orchestration.errors import RunError
from orchestration.home import check_home
from orchestration.runs.lineage import fetch, sourced
from tapewatch.features.microstructure import microstructure
from tapewatch.market.instruments import Market, Partition, trading_days
from tapewatch.market.tables.derived import BINS_5S, INCIDENTS
from tapewatch.settings import Settings
from tapewatch.store.lake.lake import Lake
from tapewatch.store.lake.tape import has_ticks, symbol_batches, tape_end

if TYPE_CHECKING:
    from resources.mlflow_registry import ModelRegistry

_MODEL = re.compile(r"(scan|ensemble)/\d+")
_OF_MINUTES = "ensemble/"


def detected(
    settings: Settings, market: Market, first: dt.date, last: dt.date, console: Console, *, model: str | None = None
) -> pl.DataFrame:
    """The incidents of the days from `first` to `last`; days that the lake lacks are loaded.

    Days that this model scored, and whose bins are no newer, are read and nothing else; a day without incidents is scored again.

    Args:
        model: a registered scan, `scan/3`, or ensemble, `ensemble/2`; None for the champion of the scan.

    Raises:
        RunError: there is no such model, a step failed, or the market is closed on all days.
        SourceError: the folder of the flat files is not there, or holds no folder of the market.
    """
    if model is not None and not _MODEL.fullmatch(model):
        raise RunError(
            f"{model} is no registered scan or ensemble: write scan/VERSION or ensemble/VERSION, such as scan/3"
        )
    from resources.mlflow_registry import ModelRegistry  # noqa: PLC0415 - MLflow takes seconds to import

    check_home(settings)
    registry = ModelRegistry(settings.tracking_uri, settings.artifact_root)
    if model is not None and model.startswith(_OF_MINUTES):
        return _of_minutes(settings, registry, market, first, last, console, model)
    champion = registry.champion("scan")
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


def _of_minutes(
    settings: Settings,
    registry: "ModelRegistry",
    market: Market,
    first: dt.date,
    last: dt.date,
    console: Console,
    model: str,
) -> pl.DataFrame:
    """The incidents of an ensemble, from minutes computed here; days whose tape the lake lacks are loaded. Nothing is stored."""
    from models.base import DetectorError  # noqa: PLC0415
    from models.ensemble.detector import EnsembleDetector  # noqa: PLC0415 - scikit-learn takes seconds to import
    from models.ensemble.incidents import incidents_of  # noqa: PLC0415

    try:
        detector = registry.registered(model, EnsembleDetector.load)
    except DetectorError as error:
        raise RunError(f"{model}: {error}") from error
    if detector is None:
        raise RunError(f"there is no {model}: `tapewatch run` trains and registers one")
    lake = Lake(settings.lake_root)
    days = [Partition(day, market) for day in trading_days(market, first, last)]
    if not days or not all(has_ticks(lake, day) for day in days):
        with sourced(settings, console) as (sourced_settings, _):
            fetch(sourced_settings, market, first, last, console, keep_existing=True, job="backfill_tape")
    found = [INCIDENTS.empty()]
    for day in days:
        if has_ticks(lake, day):
            minutes = [
                microstructure(*tape, day.session, through_ns=tape_end(lake, day)).filter("is_regular")
                for tape in symbol_batches(lake, day)
            ]
            found.append(incidents_of(detector, pl.concat(minutes), model))
    return pl.concat(found)


def is_scored(lake: Lake, day: Partition, model: str) -> bool:
    """Whether all incidents of a day are this model's, from the bins that are there."""
    if not (lake.exists(INCIDENTS, day) and lake.exists(BINS_5S, day)):
        return False
    models = set(lake.read(INCIDENTS, day, columns=["model"])["model"])
    return models == {model} and lake.written_ns(INCIDENTS, day) >= lake.written_ns(BINS_5S, day)
