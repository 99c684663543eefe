"""What runs by the clock."""

import datetime as dt
from collections.abc import Iterator

import dagster as dg

from orchestration.jobs import detect_anomalies, train_detectors, update_day
from tapewatch.market.instruments import Market, Partition, session_of

#: The vendor's files of a day are ready about 11:00 New York time on the next.
_AFTER_DELIVERY = "30 11 * * *"
_TIMEZONE = "America/New_York"


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


@dg.schedule(job=update_day, cron_schedule=_AFTER_DELIVERY, execution_timezone=_TIMEZONE)
def update_day_daily(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Yesterday's tape, features and labels, a run for each market that was open."""
    yield from _yesterdays(context, _WATCHED)


@dg.schedule(job=detect_anomalies, cron_schedule="0 13 * * *", execution_timezone=_TIMEZONE)
def detect_anomalies_daily(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Yesterday's anomalies by the champion, once its features are there."""
    yield from _yesterdays(context, _WATCHED)


train_detectors_weekly = dg.ScheduleDefinition(
    name="train_detectors_weekly",
    job=train_detectors,
    cron_schedule="0 14 * * 0",
    execution_timezone=_TIMEZONE,
    description="Retrain on what the lake holds; the champion changes only if the new model is no worse.",
)

SCHEDULES = [update_day_daily, detect_anomalies_daily, train_detectors_weekly]
