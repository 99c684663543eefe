"""The schedules."""

import datetime as dt
from collections.abc import Iterator

import dagster as dg
import polars as pl

from assets.shared.partitions import first_day
from orchestration.jobs import (
    certify_days,
    check_freshness,
    detect_anomalies,
    explain_models,
    measure_drift,
    replay_requests,
    train_detectors,
    update_day,
)
from orchestration.retraining import NIGHTLY_PAUSE, LastTraining
from resources.stores import DatabaseResource
from tapewatch.market.instruments import Market, Partition, session_of
from tapewatch.market.tables.live import GAPS
from tapewatch.streaming.gaps.book import GROWING, OPEN, gap_rows, partition_of

#: The vendor's files of a day are ready at about 11:00 New York time on the next day.
_AFTER_DELIVERY = "30 11 * * *"
_TIMEZONE = "America/New_York"
_OLD = dt.timedelta(days=1)


def _yesterdays(
    context: dg.ScheduleEvaluationContext, markets: tuple[Market, ...]
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    day = context.scheduled_execution_time.date() - dt.timedelta(days=1)
    open_markets = [market for market in markets if session_of(market, day)]
    if not open_markets:
        yield dg.SkipReason(f"no market is open on {day}")
        return
    for market in open_markets:
        key = str(Partition(day, market))
        yield dg.RunRequest(run_key=key, partition_key=key, tags={"market": market.value})


_WATCHED = (Market.STOCKS, Market.CRYPTO)


@dg.schedule(
    job=update_day,
    cron_schedule=_AFTER_DELIVERY,
    execution_timezone=_TIMEZONE,
    description="Loads yesterday's tape and computes features and labels: a run for each of stocks and crypto that was open.",
)
def update_day_daily(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Update yesterday's tape, features and labels: a run for each market that was open."""
    yield from _yesterdays(context, _WATCHED)


@dg.schedule(
    job=detect_anomalies,
    cron_schedule="0 13 * * *",
    execution_timezone=_TIMEZONE,
    description="Finds yesterday's anomalies with the champion, a run per market, once update_day_daily is done.",
)
def detect_anomalies_daily(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Find yesterday's anomalies with the champion, after its features were computed."""
    yield from _yesterdays(context, _WATCHED)


@dg.schedule(
    job=certify_days,
    cron_schedule="0 12 * * *",
    execution_timezone=_TIMEZONE,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Certifies each day again that has a gap which is older than a day, so that the check no_old_gaps fails there.",
)
def old_gaps_daily(
    context: dg.ScheduleEvaluationContext, database: DatabaseResource
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Check each day on which a gap begins that is still open after a day, even if no batch arrives any more."""
    now = context.scheduled_execution_time.astimezone(dt.UTC)
    begin = first_day(context.repository_def)
    found = {day for day in _days_of_old_gaps(database, now) if day is not None and day.date >= begin}
    if not found:
        yield dg.SkipReason("no gap has been open for more than a day")
    for day in sorted(found):
        yield dg.RunRequest(run_key=f"{day}:{now:%Y-%m-%d}", partition_key=str(day), tags={"market": day.market.value})


def _days_of_old_gaps(database: DatabaseResource, now: dt.datetime) -> Iterator[Partition | None]:
    """The first trading day of each old gap, or None if it has not begun."""
    with database.open() as store:
        gaps = store.read(GAPS, where={"status": (GROWING, OPEN)})
    old = gaps.filter(pl.col("opened_time") < now - _OLD)
    for (market,), of_market in old.group_by("market"):
        for gap in gap_rows(of_market):
            first = partition_of(Market(market), gap["start_time"])
            yield next((day for day in _from(first, now) if session_of(day.market, day.date)), None)


def _from(first: Partition, now: dt.datetime) -> Iterator[Partition]:
    for offset in range((now.date() - first.date).days + 1):
        yield Partition(first.date + dt.timedelta(days=offset), first.market)


@dg.schedule(
    job=train_detectors,
    cron_schedule="0 14 * * *",
    execution_timezone=_TIMEZONE,
    description="Trains on all days in the lake; the champion changes only if the new model passes every gate.",
)
def train_detectors_daily(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Train again, unless a training began a short while ago for labels or drift."""
    now = context.scheduled_execution_time
    if reason := LastTraining.of(context.instance).too_soon(now, NIGHTLY_PAUSE):
        return dg.SkipReason(reason)
    return dg.RunRequest(run_key=f"{now:%Y-%m-%d}", tags={"because": "the daily schedule"})


@dg.schedule(
    job=measure_drift,
    cron_schedule="30 13 * * *",
    execution_timezone=_TIMEZONE,
    description="Measures how far yesterday is from the days that the champion was fitted on, a run per market.",
)
def measure_drift_daily(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Measure yesterday's drift, after its features were computed."""
    yield from _yesterdays(context, _WATCHED)


@dg.schedule(
    job=replay_requests,
    cron_schedule="45 13 * * *",
    execution_timezone=_TIMEZONE,
    description="Scores yesterday's sampled scoring requests again, and compares their vectors with the lake, a run per market.",
)
def replay_requests_daily(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Replay yesterday's sampled requests, after its features were computed."""
    yield from _yesterdays(context, _WATCHED)


explain_models_weekly = dg.ScheduleDefinition(
    name="explain_models_weekly",
    job=explain_models,
    cron_schedule="0 16 * * 0",
    execution_timezone=_TIMEZONE,
    description="Reports what each detector looks at as a whole.",
)

freshness_daily = dg.ScheduleDefinition(
    name="freshness_daily",
    job=check_freshness,
    cron_schedule="0 15 * * *",
    execution_timezone=_TIMEZONE,
    description="Checks, market by market, that yesterday was certified. The freshness of an asset in the UI says only that "
    "some day was.",
)

SCHEDULES = [freshness_daily, update_day_daily, detect_anomalies_daily, old_gaps_daily]
SCHEDULES += [explain_models_weekly, measure_drift_daily, replay_requests_daily, train_detectors_daily]
