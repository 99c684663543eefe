"""Runs the platform's jobs in this process over a range of days, and reports the duration of each step.

They are the jobs of the Dagster UI, and their events appear there.
"""

import datetime as dt
import logging
import signal
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import dagster as dg
from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.storage.tags import REPOSITORY_LABEL_TAG
from dagster._utils.error import SerializableErrorInfo
from dagster._utils.interrupts import check_captured_interrupt

from orchestration.definitions import build_definitions
from orchestration.errors import OURS, RunError
from orchestration.home import COMMAND_TAG, LOCATION, instance
from orchestration.runs.on_cluster import execute_on_cluster
from resources.code_version import code_version
from tapewatch.market.instruments import Market, Partition, trading_days
from tapewatch.settings import Settings

StepListener = Callable[["StepEvent"], None]
_INTERRUPTED = dg.DagsterExecutionInterruptedError.__name__
_LOADED_TABLES = ("trades", "quotes", "bars")
#: The UI finds the runs of a job by this tag, and those of the timeline by the origin.
_OF_OUR_LOCATION = {REPOSITORY_LABEL_TAG: f"{SINGLETON_REPOSITORY_NAME}@{LOCATION}"}
_ORIGIN = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin(LOCATION), SINGLETON_REPOSITORY_NAME)


@dataclass(frozen=True, slots=True)
class StepEvent:
    """A step began, ended (`seconds` is set), committed or kept a partition (`partition`, `rows`), ran a check (`check`), or
    warned (`warning`)."""

    step: str
    seconds: float | None = None
    partition: str | None = None
    rows: int | None = None
    is_kept: bool = False
    check: str | None = None
    has_passed: bool = True
    warning: str = ""


@dataclass(frozen=True, slots=True)
class StepTiming:
    name: str
    seconds: float


@dataclass
class RunReport:
    """The steps that ran, in order, the number of checks, and the names of those that failed."""

    steps: list[StepTiming] = field(default_factory=list)
    checks: int = 0
    failed_checks: list[str] = field(default_factory=list)

    def __add__(self, other: "RunReport") -> "RunReport":
        return RunReport(self.steps + other.steps, self.checks + other.checks, self.failed_checks + other.failed_checks)


def run_days(
    settings: Settings,
    job: str,
    market: Market,
    first: dt.date,
    last: dt.date,
    *,
    keep_existing: bool = False,
    config: dict[str, Any] | None = None,
    progress: StepListener | None = None,
    command: str = "tapewatch",
) -> RunReport:
    """Run a partitioned job over the days from `first` to `last` of one market, as one run.

    Args:
        job: `backfill_tape`, `build_features`, `update_day`, `scan_days`, `detect_anomalies` or `collect_labels`.
        config: run configuration of other assets.
        keep_existing: keep the trades, quotes and bars in the lake, so that a killed backfill continues.
        command: what started the run, such as `tapewatch run`; a tag of the run.

    Raises:
        RunError: a step failed, or the market is closed on all these days.
        KeyboardInterrupt: Ctrl-C stopped it; committed days stay.
    """
    if not trading_days(market, first, last):
        days = f"{first:%A} {first}" + (f" to {last:%A} {last}" if last > first else "")
        raise RunError(f"{market} has no trading day in {days}: choose a range in which the market is open")
    tags = {
        "dagster/asset_partition_range_start": str(Partition(first, market)),
        "dagster/asset_partition_range_end": str(Partition(last, market)),
        **_tags(command, market=market.value, first=str(first), last=str(last)),
    }
    loads = {f"tape__{table}": {"config": {"keep_existing": True}} for table in _LOADED_TABLES}
    kept = loads if keep_existing and job in ("backfill_tape", "update_day", "scan_days") else {}
    ops = {"ops": {**kept, **(config or {}).get("ops", {})}}
    return _execute(settings, job, tags, ops, progress)


def merge_day(settings: Settings, day: Partition, *, progress: StepListener | None = None) -> RunReport:
    """Merge what the spool holds of a day, and recompute what depends on it.

    Raises:
        RunError: a step failed.
    """
    tags = {"dagster/asset_partition_range_start": str(day), "dagster/asset_partition_range_end": str(day)}
    bars: dict[str, Any] = {"ops": {"tape__bars": {"config": {"from_stream": True}}}}
    return _execute(settings, "ingest_stream", tags, bars, progress)


def train(
    settings: Settings,
    *,
    progress: StepListener | None = None,
    command: str = "tapewatch",
    copies: int | None = None,
    **config: Any,
) -> RunReport:
    """Fit, evaluate, explain, register and package the detectors.

    Args:
        copies: days of a market that are copied with anomalies in them, for the scan to learn from; by default as many as its asset says.
        config: of the `isolation_forest` asset.

    Raises:
        RunError: a step failed, for example because there are too few days.
    """
    ops: dict[str, Any] = {"models__isolation_forest": {"config": config}} if config else {}
    if copies is not None:
        ops["models__scan"] = {"config": {"copies": copies}}
    markets = ",".join(config.get("markets", ()))
    tags = _tags(command, market=markets, first=config.get("first", ""), last=config.get("last", ""))
    return _execute(settings, "train_detectors", tags, {"ops": ops} if ops else {}, progress)


def judge(settings: Settings, *, progress: StepListener | None = None, command: str = "tapewatch") -> RunReport:
    """Judge the strategies on all backtested days, and write the tear sheet.

    Raises:
        RunError: the step failed.
    """
    tags = _tags(command, market="", first="", last="")
    return _execute(settings, "judge_strategies", tags, {}, progress)


def _tags(command: str, *, market: str, first: str, last: str) -> dict[str, str]:
    """The tags by which people find a run of the command line in the UI; those that are not known are left out."""
    known = {"market": market, "from": first, "to": last, COMMAND_TAG: command, "code_version": code_version()}
    return _OF_OUR_LOCATION | {name: value for name, value in known.items() if value}


def _execute(
    settings: Settings, job: str, tags: dict[str, str], config: dict[str, Any], progress: StepListener | None
) -> RunReport:
    report = RunReport()
    run_id = str(uuid.uuid4())
    listen = _listener(report, progress)
    is_interrupted = False

    def listen_and_look(entry: dg.EventLogEntry) -> None:
        nonlocal is_interrupted
        listen(entry)
        is_interrupted = is_interrupted or check_captured_interrupt()

    with _no_interrupts_in_the_log(), _sigterm_restored(), instance(settings) as opened:
        # `execute_in_process` takes no origin.
        origin = RemoteJobOrigin(_ORIGIN, job)
        opened.create_run_for_job = partial(opened.create_run_for_job, remote_job_origin=origin, run_id=run_id)  # type: ignore[method-assign]
        whole = {**config, "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        result: dg.ExecuteInProcessResult | dg.JobExecutionResult
        if settings.dask_address is None:
            opened.add_event_listener(run_id, listen_and_look)
            # The setting limits what the UI lists; a command may name any day.
            made = build_definitions(settings.model_copy(update={"partitions_start": None})).resolve_job_def(job)
            result = made.execute_in_process(
                instance=opened, tags=tags, run_id=run_id, run_config=whole, raise_on_error=False
            )
        else:
            result = execute_on_cluster(settings, job, opened, run_id, tags, whole, listen)
    # Dagster forgets an interrupt that arrives after the last step.
    if _was_interrupted(result) or (result.success and is_interrupted):
        raise KeyboardInterrupt
    if not result.success:
        raise RunError(_reason(result))
    return report


def _listener(report: RunReport, progress: StepListener | None) -> Callable[[dg.EventLogEntry], None]:
    started: dict[str, float] = {}

    def listen(entry: dg.EventLogEntry) -> None:
        event = entry.dagster_event
        if event is None and entry.step_key and entry.level == logging.WARNING and progress:
            progress(StepEvent(entry.step_key.replace("__", "/"), warning=entry.user_message))
        if event is None or event.step_key is None:
            return
        step = event.step_key.replace("__", "/")
        step_event: StepEvent | None = None
        if event.is_step_start:
            started.setdefault(step, entry.timestamp)
            step_event = StepEvent(step)
        elif event.is_step_success:
            # On a cluster a step may be over in several pieces.
            report.steps = [timing for timing in report.steps if timing.name != step]
            report.steps.append(StepTiming(step, entry.timestamp - started[step]))
            step_event = StepEvent(step, seconds=report.steps[-1].seconds)
        elif event.is_asset_observation:
            observation = event.asset_observation_data.asset_observation
            rows = observation.metadata["dagster/row_count"].value
            is_kept = "kept" in observation.metadata
            step_event = StepEvent(step, partition=observation.partition, rows=rows, is_kept=is_kept)
        elif event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            step_event = StepEvent(step, check=check.check_name, has_passed=check.passed)
            report.checks += 1
            if not check.passed:
                report.failed_checks.append(f"{check.asset_key.to_user_string()}:{check.check_name}")
        if step_event and progress:
            progress(step_event)

    return listen


class _IsNoInterrupt(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, KeyboardInterrupt | dg.DagsterExecutionInterruptedError)


@contextmanager
def _no_interrupts_in_the_log() -> Iterator[None]:
    """Hide interrupts that a library logs and raises again, as when Ctrl-C arrives while it closes a connection."""
    handler, mute = logging.lastResort, _IsNoInterrupt()
    if handler is not None:
        handler.addFilter(mute)
    try:
        yield
    finally:
        if handler is not None:
            handler.removeFilter(mute)


@contextmanager
def _sigterm_restored() -> Iterator[None]:
    """Restore SIGTERM's handler after a run: Dagster replaces it with that of SIGINT, which a background process ignores."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        # In a thread other than the main one, Dagster changes nothing, and a handler cannot be set.
        if signal.getsignal(signal.SIGTERM) is not before:
            signal.signal(signal.SIGTERM, before)


def _was_interrupted(result: dg.ExecuteInProcessResult | dg.JobExecutionResult) -> bool:
    """Whether Ctrl-C ended the run: Dagster reports it as a failure of a step or of the job, with this error."""
    failures = [event.step_failure_data.error for event in result.all_events if event.is_step_failure]
    failures += [event.job_failure_data.error for event in result.all_events if event.is_job_failure]
    return any(_bottom(error).cls_name == _INTERRUPTED for error in failures if error)


def _reason(result: dg.ExecuteInProcessResult | dg.JobExecutionResult) -> str:
    for event in result.all_events:
        if event.is_step_failure and event.step_failure_data.error:
            ours = event.step_failure_data.user_failure_data
            return f"{event.step_key.replace('__', '/')}: {(ours and ours.description) or _root(event.step_failure_data.error)}"
    for event in result.all_events:
        if event.is_job_failure and event.job_failure_data.error:
            return _root(event.job_failure_data.error)
    return "the run failed before its first step; see its log in the Dagster UI"


def _bottom(error: SerializableErrorInfo) -> SerializableErrorInfo:
    while error.cause:
        error = error.cause
    return error


def _root(error: SerializableErrorInfo) -> str:
    """The message of the first error of ours on the way to the cause, which names the thing and the way out; else the cause with its class."""
    found: SerializableErrorInfo | None = error
    while found:
        name, _, message = found.message.strip().partition(": ")
        *modules, kind = name.split(".")
        if modules and modules[0] in OURS and message and not kind.startswith("_"):
            return message
        found = found.cause
    return _bottom(error).message.strip()
