"""Fits and evaluates the scan, and logs both to MLflow. Slow to import: assets import it as they run."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow
import polars as pl

from assets.models.labelled import tapes_of
from assets.models.scan_in_use import loaded
from models.scan.detector import Day, ScanDetector
from models.scan.evaluation import ScanEvaluation, evaluate_incidents
from models.scan.fitting.examples import with_copies
from resources.mlflow_registry import ModelRegistry
from resources.model_logging import log_inputs
from resources.scan_pyfunc import as_pandas, found
from tapewatch.features.bins.batch import bins_5s
from tapewatch.labels.injection.injection import inject
from tapewatch.labels.truth import TRUTH_EVENTS_SCHEMA
from tapewatch.market.instruments import Partition
from tapewatch.market.tables.derived import BINS_5S, INCIDENTS
from tapewatch.market.tables.tape import TRUTH_LABELS
from tapewatch.store.lake.lake import Lake
from tapewatch.store.lake.tape import symbol_batches

_EXAMPLE_ROWS = 5
_EVENT = ["symbol", "event_id", "kind", "start_time", "end_time"]


def fit(
    registry: ModelRegistry,
    name: str,
    lake: Lake,
    training: Sequence[Partition],
    days: Mapping[str, Sequence[str]],
    config: dict[str, Any],
) -> dict[str, Any]:
    """Fit a scan on the bins of `training`, and log it to the experiment `name`.

    Anomalies that the source declares are left out of what counts as ordinary. Others are put into copies of the last days, which teach what
    the statistics say together.

    Raises:
        DetectorError: no market has two days.
    """
    read: list[Day] = []
    for market in sorted({p.market for p in training}):
        own = [p for p in training if p.market is market and lake.exists(BINS_5S, p)]
        plain = [Day(p.session, lake.read(BINS_5S, p), _declared(lake, p)) for p in own]
        # A market of a single day is not scanned.
        copied = (
            tapes_of(lake, own[-config["copies"] :], config["most_rows"]) if len(own) > 1 and config["copies"] else []
        )
        read += with_copies(plain, copied, seed=config["seed"], copies=config["copies"])
    detector = ScanDetector.fit(read, hours=config["hours"], partitions=days["train"])
    with (
        tempfile.TemporaryDirectory() as folder,
        registry.training(name, days, config["seed"]) as run,
    ):
        detector.save(Path(folder))
        mlflow.log_params({key: config[key] for key in ("hours", "copies", "validation_share", "seed")})
        mlflow.log_dict(dict(days), "partitions.json")
        log_inputs(lake, BINS_5S, days)
        example = read[0].bins.filter(pl.col("symbol") == read[0].bins["symbol"][0]).head(_EXAMPLE_ROWS)
        model_uri = registry.log_scan(Path(folder), as_pandas(example), found(detector, example))
    return {"run_id": run.info.run_id, "model_uri": model_uri, "markets": [str(market) for market in detector.markets]}


def validate(registry: ModelRegistry, name: str, lake: Lake, reference: Mapping[str, Any]) -> ScanEvaluation:
    """Evaluate the scan of `reference` and the current champion on the validation days; log the result to its run."""
    days = [Partition.parse(key) for key in reference["validation"]]
    tapes = [_judged_day(lake, day, reference["seed"]) for day in days if lake.exists(BINS_5S, day)]
    result = _evaluated(loaded(registry, reference["model_uri"]), tapes)
    metrics = dict(result.metrics)
    champion = registry.usable_champion(name, ScanDetector.load)
    if champion is not None:
        other = _evaluated(champion, tapes)
        metrics |= {f"champion_{metric}": value for metric, value in other.metrics.items()}
    with registry.run(name, run_id=reference["run_id"]):
        mlflow.log_metrics(metrics)
        mlflow.log_text(result.by_kind.write_csv(), "by_kind.csv")
    return ScanEvaluation(metrics, result.by_kind)


def _declared(lake: Lake, day: Partition) -> pl.DataFrame | None:
    return lake.read(TRUTH_LABELS, day).select(_EVENT).unique() if lake.exists(TRUTH_LABELS, day) else None


def _judged_day(lake: Lake, day: Partition, seed: int) -> tuple[Partition, pl.DataFrame, pl.DataFrame, str]:
    """Bins and anomalies of a validation day, and the origin of the anomalies."""
    declared = _declared(lake, day)
    if declared is not None and declared.height:
        return day, lake.read(BINS_5S, day), declared, "source"
    bins, events = [BINS_5S.empty()], [pl.DataFrame(schema=TRUTH_EVENTS_SCHEMA)]
    for trades, quotes in symbol_batches(lake, day, all_columns=True):
        injected = inject(trades, quotes, day.session, seed=seed)
        bins.append(bins_5s(injected.trades, injected.quotes, day.session))
        events.append(injected.truth_events)
    return day, pl.concat(bins), pl.concat(events).select(_EVENT), "injected"


def _evaluated(
    detector: ScanDetector, tapes: Sequence[tuple[Partition, pl.DataFrame, pl.DataFrame, str]]
) -> ScanEvaluation:
    incidents, known, minutes = [INCIDENTS.empty()], [pl.DataFrame(schema=TRUTH_EVENTS_SCHEMA).select(_EVENT)], 0.0
    for day, bins, anomalies, _ in tapes:
        if day.market not in detector.markets:
            continue
        incidents.append(detector.incidents(bins, day.session))
        # Event names are unique within a day.
        known.append(anomalies.with_columns(event_id=pl.format("{} {}", pl.lit(str(day)), "event_id")))
        minutes += bins["symbol"].n_unique() * day.session.regular_minutes
    origins = "+".join(sorted({origin for *_, origin in tapes})) or "none"
    return evaluate_incidents(pl.concat(incidents), pl.concat(known), symbol_minutes=minutes, truth=origins)
