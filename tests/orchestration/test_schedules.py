"""The daily schedules ask for yesterday, market by market, and only where it was open."""

import datetime as dt
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from orchestration.definitions import build_definitions
from orchestration.schedules import detect_anomalies_daily, update_day_daily
from tapewatch.settings import Settings

NEW_YORK = ZoneInfo("America/New_York")


REPOSITORY = build_definitions(Settings(_env_file=None)).get_repository_def()


def asked(schedule: dg.ScheduleDefinition, day: dt.date) -> list[str | None]:
    now = dt.datetime.combine(day, dt.time(11, 30), NEW_YORK)
    context = dg.build_schedule_context(scheduled_execution_time=now, repository_def=REPOSITORY)
    return [request.partition_key for request in schedule.evaluate_tick(context).run_requests]


@pytest.mark.parametrize("schedule", [update_day_daily, detect_anomalies_daily])
def test_after_a_session_both_markets_are_asked_for(schedule: dg.ScheduleDefinition) -> None:
    assert asked(schedule, dt.date(2024, 6, 5)) == ["2024-06-04|stocks", "2024-06-04|crypto"]


@pytest.mark.parametrize("schedule", [update_day_daily, detect_anomalies_daily])
@pytest.mark.parametrize("monday_or_holiday", [dt.date(2024, 6, 10), dt.date(2024, 7, 5)])
def test_after_a_closed_day_only_crypto_is(schedule: dg.ScheduleDefinition, monday_or_holiday: dt.date) -> None:
    yesterday = monday_or_holiday - dt.timedelta(days=1)
    assert asked(schedule, monday_or_holiday) == [f"{yesterday}|crypto"]
