"""The sensor of flat files, and the list of all sensors."""

import hashlib
import json
from collections import defaultdict
from itertools import count, islice

import dagster as dg
from dagster._core.storage.tags import RUN_KEY_TAG

from assets.partitions import first_day
from orchestration.jobs import update_day
from orchestration.stream_sensor import stream_spool_sensor
from resources.tape_source import TapeSourceResource
from tapewatch.feeds.files.source import FlatFileSource
from tapewatch.market.instruments import Market, Partition, session_of

_TABLES = ("trades", "quotes", "bars")
#: A folder of years is spread over many ticks: each tick ends within seconds, and the queue stays readable.
_RUNS_A_TICK = 25


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


SENSORS = [new_flat_files_sensor, stream_spool_sensor]
