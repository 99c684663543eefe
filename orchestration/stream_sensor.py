"""From waiting batches to runs: one run a partition at a time, asked for until it succeeds.

The cursor holds, by partition, the run that is under way (its key, how often it was tried, when) and how far the last
successful one merged; it moves on once a run has succeeded, and only then. A run that fails is asked for again under a new
key, later each time, whether or not it had merged its batches before: what is made of them is still owed. A run rewrites
its partition whole, so the next one waits in proportion to what the last one took.
"""

import datetime as dt
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from assets.partitions import FIRST_DAY
from orchestration.jobs import ingest_stream
from resources.spool import SpoolResource
from tapewatch.market.backoff import backoff_s
from tapewatch.market.instruments import Partition, session_of
from tapewatch.store.spool.files import SpoolFile, highest_numbers, waiting

#: A run costs seconds: batches of a while are merged together.
TICK_SECONDS = 30
#: Before a failed run is asked for again: doubled each time, up to the longest, which no pause exceeds.
FIRST_WAIT_S, LONGEST_WAIT_S = 60, 3600
#: Partitions of which the cursor remembers how far they were merged.
_REMEMBERED = 200
#: The tag by which Dagster keeps a run's key.
_RUN_KEY = "dagster/run_key"

#: One partition in the cursor: `through` and `attempt` of its last run, `key` while that is under way, else when it ended
#: (`ended_at`, s), how long it took if it succeeded (`took_s`), how many failed since the last success (`failures`).
Entry = dict[str, Any]


@dg.sensor(job=ingest_stream, minimum_interval_seconds=TICK_SECONDS, default_status=dg.DefaultSensorStatus.RUNNING)
def stream_spool_sensor(context: dg.SensorEvaluationContext, spool: SpoolResource) -> dg.SensorResult:
    """A run for each market day with batches waiting in the spool, unless one is under way or the last calls for a pause."""
    entries: dict[str, Entry] = json.loads(context.cursor or "{}")
    found = {str(p): files for p, files in waiting(spool.path).items() if _is_a_partition(p)}
    now = time.time()
    for key, entry in entries.items():
        if entry.get("key"):
            entries[key] = _followed(context.instance, entry, is_done=key not in found, now=now)
    requests = list(_requests(found, entries, now, spool.merging_share))
    kept = sorted(entries, key=lambda key: (key in found or _is_owed(entries[key]), key))[-_REMEMBERED:]
    under_way = sum(bool(entry.get("key")) for entry in entries.values())
    reason = None if requests else f"{sum(map(len, found.values())):,} batch(es) wait, {under_way} run(s) under way"
    cursor = json.dumps({key: entries[key] for key in sorted(kept)})
    return dg.SensorResult(run_requests=requests, cursor=cursor, skip_reason=reason)


def _is_a_partition(partition: Partition) -> bool:
    """Whether Dagster knows the day: a request for one that it does not know, sent by a clock gone wrong, fails the tick."""
    tomorrow = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=1)
    is_known = dt.date.fromisoformat(FIRST_DAY) <= partition.date <= tomorrow
    return is_known and session_of(partition.market, partition.date) is not None


def _is_owed(entry: Entry) -> bool:
    """Whether a run is under way, or failed and has to be repeated."""
    return bool(entry.get("key") or entry.get("failures"))


def _requests(
    found: Mapping[str, list[SpoolFile]], entries: dict[str, Entry], now: float, share: float
) -> Iterator[dg.RunRequest]:
    for partition in sorted({*found, *(key for key, entry in entries.items() if _is_owed(entry))}):
        entry = entries.get(partition, {})
        # A clock that was set back makes nobody wait.
        if not entry.get("key") and 0 <= now - entry.get("ended_at", 0) < _pause_s(entry, share):
            continue
        if not entry.get("key"):
            through = highest_numbers(found[partition]) if partition in found else entry["through"]
            attempt = entry["attempt"] + 1 if entry.get("through") == through or entry.get("failures") else 0
            key = f"{partition}:{','.join(f'{p}={n}' for p, n in through.items())}:{attempt}"
            entry = entries[partition] = {**entry, "through": through, "attempt": attempt, "key": key}
        elif entry.get("is_launched"):
            continue
        # A request that got lost on its way is repeated: Dagster makes one run of one key.
        yield dg.RunRequest(
            run_key=entry["key"],
            partition_key=partition,
            run_config=_config(entry["through"]),
        )


def _config(through: Mapping[str, int]) -> dict[str, Any]:
    return {
        "ops": {
            "tape__stream_batches": {"config": {"through": dict(through)}},
            "tape__bars": {"config": {"from_stream": True}},
        }
    }


def _followed(instance: dg.DagsterInstance, entry: Entry, *, is_done: bool, now: float) -> Entry:
    """The entry after a look at its run."""
    runs = instance.get_run_records(dg.RunsFilter(tags={_RUN_KEY: entry["key"]}), limit=1)
    if not runs:
        # Either on its way, or its batches were merged by hand, which leaves nothing owed unless a run failed before.
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
    """How long after the end of its last run a partition is left alone."""
    if failures := entry.get("failures"):
        return backoff_s(failures - 1, FIRST_WAIT_S, LONGEST_WAIT_S)
    return float(min(entry.get("took_s", 0) * (1 / share - 1), LONGEST_WAIT_S))
