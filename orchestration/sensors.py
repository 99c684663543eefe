"""The sensors of flat files, of people's labels and of drift, and the list of all sensors."""

import datetime as dt
import hashlib
import json
from collections import defaultdict
from itertools import count, islice

import dagster as dg
from dagster._core.storage.tags import RUN_KEY_TAG

from assets.shared.partitions import first_day
from orchestration.jobs import train_detectors, update_day
from orchestration.retraining import DRIFT_PAUSE, ENOUGH_LABELS, LABELS_PAUSE, LastTraining, drifting, new_labels
from orchestration.stream_sensor import stream_spool_sensor
from resources.lake import LakeResource
from resources.stores import DatabaseResource
from resources.tape_source import TapeSourceResource
from tapewatch.feeds.files.source import FlatFileSource
from tapewatch.market.instruments import Market, Partition, session_of

_TABLES = ("trades", "quotes", "bars")
#: A folder of years is spread over many ticks: each tick ends within seconds, and the queue stays readable.
_RUNS_A_TICK = 25
#: Days that drifted and were answered.
_REMEMBERED = 50


@dg.sensor(
    job=update_day,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Requests a run for each market day whose flat files are new or were replaced, at most 25 at a time. "
    "Needs TAPEWATCH_FLAT_FILES.",
)
def new_flat_files_sensor(context: dg.SensorEvaluationContext, tape_source: TapeSourceResource) -> dg.SensorResult:
    """Request a run for each market day whose flat files are new, or were replaced by the vendor.

    The cursor holds a digest of each day's files (sizes and ETags, no contents) at the last request. Files that are put back
    as they were are loaded again, and after a reset of the cursor all are.
    """
    if not tape_source.flat_files:
        return dg.SensorResult(skip_reason="no folder of flat files is set: TAPEWATCH_FLAT_FILES")
    seen: dict[str, str] = json.loads(context.cursor or "{}")
    found = _digests(FlatFileSource(tape_source.flat_files))
    begin = str(first_day(context.repository_def))
    fresh = [key for key in found if seen.get(key) != found[key] and key >= begin]
    chosen = list(islice(fresh, _RUNS_A_TICK))
    requests = [
        dg.RunRequest(
            run_key=_unused(context.instance, f"{key}:{found[key]}"),
            partition_key=key,
            tags={"flat_files": found[key], "market": Partition.parse(key).market.value},
        )
        for key in chosen
    ]
    seen |= {key: found[key] for key in chosen}
    older = sum(key < begin for key in found)
    reason = f"{len(found):,} day(s) of flat files, none of them new"
    if older:
        reason += f"; {older:,} before {begin} are not listed: set TAPEWATCH_PARTITIONS_START to load them here"
    return dg.SensorResult(run_requests=requests, cursor=json.dumps(seen), skip_reason=None if requests else reason)


@dg.sensor(
    job=train_detectors,
    minimum_interval_seconds=300,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description=f"Trains again once people have given {ENOUGH_LABELS} labels or verdicts since the last training.",
)
def new_labels_sensor(context: dg.SensorEvaluationContext, database: DatabaseResource) -> dg.SensorResult:
    """Request a training for enough new labels, unless the last one began within the pause."""
    now, last = dt.datetime.now(dt.UTC), LastTraining.of(context.instance)
    if reason := last.too_soon(now, LABELS_PAUSE):
        return dg.SensorResult(skip_reason=reason)
    given = new_labels(database, last.began)
    if given < ENOUGH_LABELS:
        return dg.SensorResult(
            skip_reason=f"{given} label(s) and verdict(s) since the last training; {ENOUGH_LABELS} are enough"
        )
    # Without a run key: the pause after the run that this starts keeps a tick from asking again.
    return dg.SensorResult(run_requests=[dg.RunRequest(tags={"because": f"{given} new labels"})])


@dg.sensor(
    job=train_detectors,
    minimum_interval_seconds=300,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Trains again when the newest day of a market drifts from the days that the champion was fitted on.",
)
def drift_sensor(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SensorResult:
    """Request a training for each new day that drifts, unless the last training began within the pause."""
    if reason := LastTraining.of(context.instance).too_soon(dt.datetime.now(dt.UTC), DRIFT_PAUSE):
        return dg.SensorResult(skip_reason=reason)
    seen: list[str] = json.loads(context.cursor or "[]")
    found = {str(day): names for day, names in drifting(lake).items() if str(day) not in seen}
    if not found:
        return dg.SensorResult(skip_reason="no new day drifts")
    day, names = next(iter(found.items()))
    tags = {"because": f"{day} drifts: {', '.join(names[:5])}"}
    # One training learns from the days of every market.
    cursor = json.dumps([*seen, *found][-_REMEMBERED:])
    return dg.SensorResult(run_requests=[dg.RunRequest(run_key=f"drift:{day}", tags=tags)], cursor=cursor)


def _unused(instance: dg.DagsterInstance, stem: str) -> str:
    """The first run key of a stem that no run has. Dagster starts one run per key, ever, also after the cursor was reset."""
    keys = (f"{stem}:{number}" for number in count())
    return next(key for key in keys if not instance.get_runs_count(dg.RunsFilter(tags={RUN_KEY_TAG: key})))


def _digests(source: FlatFileSource) -> dict[str, str]:
    """A digest of each market day's files, oldest day first."""
    prints: dict[Partition, list[str]] = defaultdict(list)
    for market in Market:
        for file in source.files(market):
            if file.table in _TABLES and session_of(market, file.date):
                prints[Partition(file.date, market)].append(f"{file.table}={file.fingerprint}")
    return {str(day): hashlib.sha256("\n".join(prints[day]).encode()).hexdigest()[:16] for day in sorted(prints)}


SENSORS = [drift_sensor, new_flat_files_sensor, new_labels_sensor, stream_spool_sensor]
