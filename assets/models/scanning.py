"""Fits, evaluates and promotes the scan, and logs each step to MLflow. Slow to import: assets import it as they run."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow
import polars as pl

from models.base import DetectorError
from models.scan.detector import Day, ScanDetector
from models.scan.evaluation import ScanEvaluation, evaluate_incidents
from resources.mlflow_registry import ModelRegistry, RegisteredModel
from resources.model_logging import log_inputs
from resources.promotion import Promoter
from resources.scan_pyfunc import as_pandas, found
from tapewatch.features.bins.batch import bins_5s
from tapewatch.labels.injection.injection import inject
from tapewatch.labels.truth import TRUTH_EVENTS_SCHEMA
from tapewatch.market.instruments import Partition
from tapewatch.market.tables.derived import BINS_5S, INCIDENTS
from tapewatch.market.tables.tape import TRUTH_LABELS
from tapewatch.store.database.database import Database
from tapewatch.store.lake.lake import Lake
from tapewatch.store.lake.tape import symbol_batches
from tapewatch.streaming.detection.champion import publish, published_model

_EXAMPLE_ROWS = 5
_EVENT = ["symbol", "event_id", "kind", "start_time", "end_time"]
#: Differences that count as chance: in the share of anomalies found, and in false alerts in 390 minutes.
_LESS_FOUND, _MORE_FALSE = 0.02, 0.2


def fit(
    registry: ModelRegistry,
    name: str,
    lake: Lake,
    training: Sequence[Partition],
    days: Mapping[str, Sequence[str]],
    config: dict[str, Any],
) -> dict[str, Any]:
    """Fit a scan on the bins of `training`, and log it to the experiment `name`.

    Anomalies that the source declares are left out of what counts as ordinary.

    Raises:
        DetectorError: no market has two days.
    """
    read = [Day(p.session, lake.read(BINS_5S, p), _declared(lake, p)) for p in training if lake.exists(BINS_5S, p)]
    detector = ScanDetector.fit(read, hours=config["hours"], partitions=days["train"])
    with (
        tempfile.TemporaryDirectory() as folder,
        registry.training(name, days, config["seed"]) as run,
    ):
        detector.save(Path(folder))
        mlflow.log_params({key: config[key] for key in ("hours", "validation_share", "seed")})
        mlflow.log_dict(dict(days), "partitions.json")
        log_inputs(lake, BINS_5S, days)
        example = read[0].bins.filter(pl.col("symbol") == read[0].bins["symbol"][0]).head(_EXAMPLE_ROWS)
        model_uri = registry.log_scan(Path(folder), as_pandas(example), found(detector, example))
    return {"run_id": run.info.run_id, "model_uri": model_uri, "markets": [str(market) for market in detector.markets]}


def validate(registry: ModelRegistry, name: str, lake: Lake, reference: Mapping[str, Any]) -> ScanEvaluation:
    """Evaluate the scan of `reference` and the current champion on the validation days; log the result to its run."""
    days = [Partition.parse(key) for key in reference["validation"]]
    tapes = [_judged_day(lake, day, reference["seed"]) for day in days if lake.exists(BINS_5S, day)]
    result = _evaluated(_loaded(registry, reference["model_uri"]), tapes)
    metrics = dict(result.metrics)
    champion = registry.usable_champion(name, ScanDetector.load)
    if champion is not None:
        other = _evaluated(champion, tapes)
        metrics |= {f"champion_{metric}": value for metric, value in other.metrics.items()}
    with registry.run(name, run_id=reference["run_id"]):
        mlflow.log_metrics(metrics)
        mlflow.log_text(result.by_kind.write_csv(), "by_kind.csv")
    return ScanEvaluation(metrics, result.by_kind)


def promote(
    registry: ModelRegistry, database: Database, name: str, reference: Mapping[str, Any]
) -> tuple[RegisteredModel, str]:
    """The champion after the new scan was registered, and why it is the champion."""
    run_id = reference["run_id"]
    metrics = registry.metrics(run_id)
    registered = registry.register(name, reference["model_uri"], run_id)
    candidate, current = RegisteredModel(name, int(registered.version), run_id), registry.champion(name)
    recall, recall_before = metrics.get("event_recall"), metrics.get("champion_event_recall")
    false, false_before = (metrics.get(f"{who}false_alerts_per_390_minutes", 0.0) for who in ("", "champion_"))
    reason = "there was no champion" if current is None else "no worse than the champion on the same days"
    if recall is not None and recall_before is not None and recall < recall_before - _LESS_FOUND:
        reason = f"kept: the new scan finds {recall:.2f} of the anomalies, the champion {recall_before:.2f}"
    elif recall_before is not None and false > false_before + _MORE_FALSE:
        reason = f"kept: the new scan raises {false:.2f} false alerts in 390 minutes, the champion {false_before:.2f}"
    promoter, over = Promoter(registry, database, "dagster"), current.version if current else None
    measured = {key: value for key, value in metrics.items() if "recall" in key or "false_alerts" in key}
    if current is None or not reason.startswith("kept"):
        promoter.promote(candidate, over=over, reason=reason, evidence=measured)
    else:
        promoter.refuse(candidate, over=over, reason=reason, evidence=measured)
    champion = registry.champion(name)
    if champion is None:
        raise DetectorError(
            f"MLflow holds no champion of {name} although version {registered.version} was made champion"
        )
    return champion, reason


def hand_over(registry: ModelRegistry, champion: RegisteredModel, path: Path | None) -> bool:
    """Put the champion where collectors look for it, unless it is there; returns whether it was put there."""
    if path is None or published_model(path) == str(champion):
        return False
    publish(_loaded(registry, champion.uri), str(champion), path)
    return True


def finder(
    registry: ModelRegistry, name: str, model: str = "", *, collectors: Path | None = None
) -> Callable[[pl.DataFrame, Partition], pl.DataFrame] | None:
    """Finds the incidents of a day's bins with a registered scan, `scan/3`, or by default the champion; None without one.

    A market on which the scan was not fitted has no incidents. The champion is put in the file `collectors`, unless it is there:
    its alias may have been moved by hand.
    """
    champion = registry.champion(name)
    if champion is not None:
        hand_over(registry, champion, collectors)
    model = model or str(champion or "")
    if not model:
        return None
    detector = _loaded(registry, f"models:/{model}")

    def find(bins: pl.DataFrame, day: Partition) -> pl.DataFrame:
        if day.market not in detector.markets:
            return INCIDENTS.empty()
        return detector.incidents(bins, day.session, model=model)

    return find


def _loaded(registry: ModelRegistry, uri: str) -> ScanDetector:
    with registry.files(uri) as folder:
        return ScanDetector.load(folder)


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
