"""The sensor of the spool: requests runs that merge the waiting batches, one run per partition at a time.

The cursor holds for each partition the current run (its key and attempt) and how far the last successful one merged. It
moves on only after a success. A failed run is requested again under a new key after a growing pause, even if it had merged
its batches: what depends on them is still to be computed. A run rewrites its whole partition, so the pause before the next
one is proportional to its duration.
"""

import datetime as dt
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from assets.shared.partitions import first_day
from orchestration.jobs import ingest_stream
from resources.stores import SpoolResource
from tapewatch.market.backoff import backoff_s
from tapewatch.market.instruments import Partition, session_of
from tapewatch.store.spool.files import SpoolFile, highest_numbers, waiting

#: A run takes seconds, so the batches of a while are merged together.
TICK_SECONDS = 30
#: Pause before a failed run is requested again: doubled each time, up to the longest.
FIRST_WAIT_S, LONGEST_WAIT_S = 60, 3600
#: Number of partitions that the cursor keeps.
_REMEMBERED = 200
#: Dagster's tag of a run's key.
_RUN_KEY = "dagster/run_key"

#: A partition in the cursor: `through` and `attempt` of its last run; `key` while that is under way; afterwards its end
#: (`ended_at`, s), its duration if it succeeded (`took_s`), and the failures since the last success (`failures`).
Entry = dict[str, Any]


@dg.sensor(
    job=ingest_stream,
    minimum_interval_seconds=TICK_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Requests a run for each market day with streamed batches that wait in the spool, one at a time per day.",
)
def stream_spool_sensor(context: dg.SensorEvaluationContext, spool: SpoolResource) -> dg.SensorResult:
    """Request a run for each market day with batches in the spool, unless one is under way or in its pause."""
    entries: dict[str, Entry] = json.loads(context.cursor or "{}")
    begin, batches = first_day(context.repository_def), waiting(spool.path)
    found = {str(p): files for p, files in batches.items() if _is_a_partition(p, begin)}
    now = time.time()
    for key, entry in entries.items():
        if entry.get("key"):
            entries[key] = _updated(context.instance, entry, is_done=key not in found, now=now)
    requests = list(_requests(found, entries, now, spool.merging_share))
    kept = sorted(entries, key=lambda key: (key in found or _is_owed(entries[key]), key))[-_REMEMBERED:]
    under_way = sum(bool(entry.get("key")) for entry in entries.values())
    reason = f"{sum(map(len, found.values())):,} batch(es) wait, {under_way} run(s) under way"
    if older := sum(len(files) for p, files in batches.items() if p.date < begin):
        reason += (
            f"; {older:,} of days before {begin} are not merged: set TAPEWATCH_PARTITIONS_START to the first of them"
        )
    cursor = json.dumps({key: entries[key] for key in sorted(kept)})
    return dg.SensorResult(run_requests=requests, cursor=cursor, skip_reason=None if requests else reason)


def _is_a_partition(partition: Partition, begin: dt.date) -> bool:
    """Whether Dagster has the partition: a request for any other day (from a wrong clock) would fail the tick."""
    tomorrow = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=1)
    is_known = begin <= partition.date <= tomorrow
    return is_known and session_of(partition.market, partition.date) is not None


def _is_owed(entry: Entry) -> bool:
    """Whether a run is under way, or failed and must be repeated."""
    return bool(entry.get("key") or entry.get("failures"))


def _requests(
    found: Mapping[str, list[SpoolFile]], entries: dict[str, Entry], now: float, share: float
) -> Iterator[dg.RunRequest]:
    for partition in sorted({*found, *(key for key, entry in entries.items() if _is_owed(entry))}):
        entry = entries.get(partition, {})
        # A clock that was set back causes no pause.
        if not entry.get("key") and 0 <= now - entry.get("ended_at", 0) < _pause_s(entry, share):
            continue
        if not entry.get("key"):
            through = highest_numbers(found[partition]) if partition in found else entry["through"]
            attempt = entry["attempt"] + 1 if entry.get("through") == through or entry.get("failures") else 0
            key = f"{partition}:{','.join(f'{p}={n}' for p, n in through.items())}:{attempt}"
            entry = entries[partition] = {**entry, "through": through, "attempt": attempt, "key": key}
        elif entry.get("is_launched"):
            continue
        # A lost request is repeated: Dagster starts one run per key.
        yield dg.RunRequest(
            run_key=entry["key"],
            partition_key=partition,
            run_config=_config(entry["through"]),
            tags={"market": Partition.parse(partition).market.value},
        )


def _config(through: Mapping[str, int]) -> dict[str, Any]:
    return {
        "ops": {
            "tape__stream_batches": {"config": {"through": dict(through)}},
            "tape__bars": {"config": {"from_stream": True}},
        }
    }


def _updated(instance: dg.DagsterInstance, entry: Entry, *, is_done: bool, now: float) -> Entry:
    runs = instance.get_run_records(dg.RunsFilter(tags={_RUN_KEY: entry["key"]}), limit=1)
    if not runs:
        # Either requested, or its batches were merged by hand: then nothing is left to do unless a run failed before.
        is_given_up = is_done and not entry.get("failures")
        return {**entry, "key": None} if is_given_up else {**entry, "is_launched": False}
    run = runs[0]
    ended_at = run.end_time or now
    match run.dagster_run.status:
        case dg.DagsterRunStatus.SUCCESS:
            took_s = ended_at - (run.start_time or ended_at)
            merged = {"merged": entry["through"], "through": entry["through"], "attempt": entry["attempt"]}
            return {**merged, "ended_at": ended_at, "took_s": took_s}
        case dg.DagsterRunStatus.FAILURE | dg.DagsterRunStatus.CANCELED:
            kept = {name: entry[name] for name in ("merged", "through", "attempt") if name in entry}
            return {**kept, "failures": entry.get("failures", 0) + 1, "ended_at": ended_at}
        case _:
            return {**entry, "is_launched": True}


def _pause_s(entry: Entry, share: float) -> float:
    """Seconds from the end of a partition's last run to the next."""
    if failures := entry.get("failures"):
        return backoff_s(failures - 1, FIRST_WAIT_S, LONGEST_WAIT_S)
    return float(min(entry.get("took_s", 0) * (1 / share - 1), LONGEST_WAIT_S))
