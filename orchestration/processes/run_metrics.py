"""Figures of Dagster's runs for Prometheus, by job: how many, how long, and whether the last one failed."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

import dagster as dg
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

PATH: Final = "/metrics"
#: Runs that are read, the newest; a day with more is counted short.
_NEWEST: Final = 1_000
_DAY_S: Final = 86_400.0
#: Scrapes within this time share one reading.
_FRESH_S: Final = 10.0
#: Dagster's name of the runs that materialize chosen assets.
_ASSETS: Final = "__ASSET_JOB"
_WAITING: Final = {dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED}
_UNDER_WAY: Final = {dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING}


class RunFigures(Collector):
    """Reads the instance when it is scraped."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._instance = instance
        self._lock, self._read_s = threading.Lock(), float("-inf")
        self._records: Sequence[dg.RunRecord] = ()

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        records = self._newest()
        yield self._counts(records)
        statuses = [record.dagster_run.status for record in records]
        for name, text, wanted in (
            ("tapewatch_runs_waiting", "runs that wait for their turn", _WAITING),
            ("tapewatch_runs_under_way", "runs that compute", _UNDER_WAY),
        ):
            yield GaugeMetricFamily(name, text, value=sum(status in wanted for status in statuses))
        yield from _of_jobs(records)

    def _newest(self) -> Sequence[dg.RunRecord]:
        with self._lock:
            if time.monotonic() - self._read_s > _FRESH_S:
                self._records = self._instance.get_run_records(limit=_NEWEST)
                self._read_s = time.monotonic()
            return self._records

    def _counts(self, records: Sequence[dg.RunRecord]) -> Metric:
        since = time.time() - _DAY_S
        runs = [record.dagster_run for record in records if record.create_timestamp.timestamp() >= since]
        found = GaugeMetricFamily("tapewatch_runs", "runs that began in the last 24 hours", labels=["job", "status"])
        for (job, status), count in Counter((_job(run), run.status.value.lower()) for run in runs).items():
            found.add_metric([job, status], count)
        return found


def _of_jobs(records: Sequence[dg.RunRecord]) -> Iterable[Metric]:
    """Of each job's newest run that ended, and of its newest success."""
    seconds = GaugeMetricFamily("tapewatch_run_seconds", "time that the job's last run took", labels=["job"])
    failed = GaugeMetricFamily("tapewatch_job_last_failed", "1 if the job's last run failed", labels=["job"])
    succeeded = GaugeMetricFamily(
        "tapewatch_job_last_success_timestamp_seconds", "when a run of the job last succeeded", labels=["job"]
    )
    ended: set[str] = set()
    good: set[str] = set()
    for record in records:
        run, end = record.dagster_run, record.end_time
        job = _job(run)
        if end is None or not run.is_finished:
            continue
        if job not in ended:
            ended.add(job)
            seconds.add_metric([job], end - (record.start_time or end))
            failed.add_metric([job], float(run.status == dg.DagsterRunStatus.FAILURE))
        if run.is_success and job not in good:
            good.add(job)
            succeeded.add_metric([job], end)
    return seconds, failed, succeeded


def _job(run: dg.DagsterRun) -> str:
    return "assets" if run.job_name.startswith(_ASSETS) else run.job_name


def with_metrics(app: ASGIApp, instance: dg.DagsterInstance) -> ASGIApp:
    """`app` with a page of these figures at `PATH`."""
    registry = CollectorRegistry()
    registry.register(RunFigures(instance))

    async def answer(scope: Scope, receive: Receive, send: Send) -> Any:
        if scope["type"] != "http" or scope["path"] != PATH:
            return await app(scope, receive, send)
        figures = await asyncio.to_thread(generate_latest, registry)
        return await Response(figures, media_type=CONTENT_TYPE_LATEST)(scope, receive, send)

    return answer
