"""Runs the platform's jobs in this process, over a range of days, and reports what each step took.

The same jobs that the Dagster UI launches; the events land in the same instance and are seen there.
"""

import datetime as dt
import logging
import signal
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
from dagster._utils.error import SerializableErrorInfo
from dagster._utils.interrupts import check_captured_interrupt

from orchestration.definitions import build_definitions
from orchestration.errors import RunError
from orchestration.home import instance
from tapewatch.market.instruments import Market, Partition, trading_days
from tapewatch.settings import Settings

StepListener = Callable[["StepEvent"], None]
#: Packages whose errors name the thing, the value and the way out.
_OURS = {"tapewatch", "models", "resources", "assets", "serving"}
_INTERRUPTED = dg.DagsterExecutionInterruptedError.__name__
_LOADED_TABLES = ("trades", "quotes", "bars")


@dataclass(frozen=True, slots=True)
class StepEvent:
    """A step of a run began, ended (`seconds` is set), committed a partition (`partition`, `rows`) or kept it, or judged one (`check`)."""

    step: str
    seconds: float | None = None
    partition: str | None = None
    rows: int | None = None
    is_kept: bool = False
    check: str | None = None
    has_passed: bool = True


@dataclass(frozen=True, slots=True)
class StepTiming:
    """How long one step of a run took."""

    name: str
    seconds: float


@dataclass
class RunReport:
    """What was run: wall time by step in order, how many checks were made, and those that did not pass."""

    steps: list[StepTiming] = field(default_factory=list)
    checks: int = 0
    failed_checks: list[str] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Wall time of all steps."""
        return sum(step.seconds for step in self.steps)

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
    progress: StepListener | None = None,
) -> RunReport:
    """Run a partitioned job over the days from `first` to `last` of one market, in one run.

    Args:
        job: `backfill_tape`, `build_features`, `update_day` or `detect_anomalies`.
        keep_existing: leave trades, quotes and bars that are in the lake as they are: a killed backfill goes on.

    Raises:
        RunError: a step failed, or the market is closed on all these days.
        KeyboardInterrupt: Ctrl-C stopped it; what was committed stays.
    """
    if not trading_days(market, first, last):
        days = f"{first:%A} {first}" + (f" to {last:%A} {last}" if last > first else "")
        raise RunError(f"{market} has no trading day in {days}: choose a range in which the market is open")
    tags = {
        "dagster/asset_partition_range_start": str(Partition(first, market)),
        "dagster/asset_partition_range_end": str(Partition(last, market)),
    }
    loads = {f"tape__{table}": {"config": {"keep_existing": True}} for table in _LOADED_TABLES}
    config = {"ops": loads} if keep_existing and job in ("backfill_tape", "update_day") else {}
    return _execute(settings, job, tags, config, progress)


def train(settings: Settings, *, progress: StepListener | None = None, **config: Any) -> RunReport:
    """Fit, evaluate, explain, crown and package the detector; `config` goes to the `isolation_forest` asset.

    Raises:
        RunError: a step failed, for want of training days for instance.
    """
    ops = {"ops": {"models__isolation_forest": {"config": config}}} if config else {}
    return _execute(settings, "train_detectors", {}, ops, progress)


def _execute(
    settings: Settings, job: str, tags: dict[str, str], config: dict[str, Any], progress: StepListener | None
) -> RunReport:
    report = RunReport()
    run_id = str(uuid.uuid4())
    listen = _listener(report, progress)
    is_interrupted = False

    def hear(entry: dg.EventLogEntry) -> None:
        nonlocal is_interrupted
        listen(entry)
        is_interrupted = is_interrupted or check_captured_interrupt()

    with _without_interrupts_in_the_log(), _sigterm_as_it_was(), instance(settings) as opened:
        opened.add_event_listener(run_id, hear)
        result = (
            build_definitions(settings)
            .resolve_job_def(job)
            .execute_in_process(
                instance=opened,
                tags=tags,
                run_id=run_id,
                run_config={**config, "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
                raise_on_error=False,
            )
        )
    # What comes after the last step, Dagster forgets.
    if _was_interrupted(result) or (result.success and is_interrupted):
        raise KeyboardInterrupt
    if not result.success:
        raise RunError(_reason(result))
    return report


def _listener(report: RunReport, progress: StepListener | None) -> Callable[[dg.EventLogEntry], None]:
    started: dict[str, float] = {}

    def listen(entry: dg.EventLogEntry) -> None:
        event = entry.dagster_event
        if event is None or event.step_key is None:
            return
        step = event.step_key.replace("__", "/")
        heard: StepEvent | None = None
        if event.is_step_start:
            started[step] = entry.timestamp
            heard = StepEvent(step)
        elif event.is_step_success:
            report.steps.append(StepTiming(step, entry.timestamp - started[step]))
            heard = StepEvent(step, seconds=report.steps[-1].seconds)
        elif event.is_asset_observation:
            observation = event.asset_observation_data.asset_observation
            rows = observation.metadata["dagster/row_count"].value
            is_kept = "kept" in observation.metadata
            heard = StepEvent(step, partition=observation.partition, rows=rows, is_kept=is_kept)
        elif event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            heard = StepEvent(step, check=check.check_name, has_passed=check.passed)
            report.checks += 1
            if not check.passed:
                report.failed_checks.append(f"{check.asset_key.to_user_string()}:{check.check_name}")
        if heard and progress:
            progress(heard)

    return listen


class _IsNoInterrupt(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, KeyboardInterrupt | dg.DagsterExecutionInterruptedError)


@contextmanager
def _without_interrupts_in_the_log() -> Iterator[None]:
    """Ctrl-C may strike while a library closes a connection; it logs that and raises it again, and once told is enough."""
    told, mute = logging.lastResort, _IsNoInterrupt()
    if told is not None:
        told.addFilter(mute)
    try:
        yield
    finally:
        if told is not None:
            told.removeFilter(mute)


@contextmanager
def _sigterm_as_it_was() -> Iterator[None]:
    """Dagster leaves it as it finds Ctrl-C: ignored, where a script started this process in the background."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        # Where a thread runs this, Dagster changed nothing, and nobody could change it back.
        if signal.getsignal(signal.SIGTERM) is not before:
            signal.signal(signal.SIGTERM, before)


def _was_interrupted(result: dg.ExecuteInProcessResult) -> bool:
    """Ctrl-C ends a step, or a run between its steps, as a failure like any other; its error names it."""
    failures = [event.step_failure_data.error for event in result.all_events if event.is_step_failure]
    failures += [event.job_failure_data.error for event in result.all_events if event.is_job_failure]
    return any(_bottom(error).cls_name == _INTERRUPTED for error in failures if error)


def _reason(result: dg.ExecuteInProcessResult) -> str:
    for event in result.all_events:
        if event.is_step_failure and event.step_failure_data.error:
            told = event.step_failure_data.user_failure_data
            return f"{event.step_key.replace('__', '/')}: {(told and told.description) or _root(event.step_failure_data.error)}"
    return "the run failed before its first step; see its log in the Dagster UI"


def _bottom(error: SerializableErrorInfo) -> SerializableErrorInfo:
    while error.cause:
        error = error.cause
    return error


def _root(error: SerializableErrorInfo) -> str:
    """What went wrong at the bottom of it: the message alone where an error of ours carries it, with its class otherwise."""
    error = _bottom(error)
    name, _, message = error.message.strip().partition(": ")
    is_ours = name.split(".")[0] in _OURS and message
    return message if is_ours else error.message.strip()
