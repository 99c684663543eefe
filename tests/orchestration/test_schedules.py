"""The daily schedules request yesterday for each market that was open."""

import datetime as dt
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from orchestration.definitions import build_definitions
from orchestration.schedules import detect_anomalies_daily, old_gaps_daily, update_day_daily
from resources.stores import DatabaseResource
from tapewatch.market.instruments import Market
from tapewatch.settings import Settings
from tapewatch.store.database.database import Database
from tapewatch.streaming.gaps.book import GapBook

NEW_YORK = ZoneInfo("America/New_York")


REPOSITORY = build_definitions(Settings(_env_file=None)).get_repository_def()


def asked(schedule: dg.ScheduleDefinition, day: dt.date) -> list[str | None]:
    now = dt.datetime.combine(day, dt.time(11, 30), NEW_YORK)
    context = dg.build_schedule_context(scheduled_execution_time=now, repository_def=REPOSITORY)
    return [request.partition_key for request in schedule.evaluate_tick(context).run_requests]


@pytest.mark.parametrize("schedule", [update_day_daily, detect_anomalies_daily])
def test_after_a_session_both_markets_get_a_run(schedule: dg.ScheduleDefinition) -> None:
    assert asked(schedule, dt.date(2024, 6, 5)) == ["2024-06-04|stocks", "2024-06-04|crypto"]


@pytest.mark.parametrize("schedule", [update_day_daily, detect_anomalies_daily])
@pytest.mark.parametrize("monday_or_holiday", [dt.date(2024, 6, 10), dt.date(2024, 7, 5)])
def test_after_a_closed_day_only_crypto_gets_a_run(schedule: dg.ScheduleDefinition, monday_or_holiday: dt.date) -> None:
    yesterday = monday_or_holiday - dt.timedelta(days=1)
    assert asked(schedule, monday_or_holiday) == [f"{yesterday}|crypto"]


def test_the_day_of_an_old_gap_is_certified_again(tmp_path: Path) -> None:
    now, hour_ns = dt.datetime(2024, 6, 10, 12, tzinfo=NEW_YORK), 3600 * 10**9
    at = int(now.timestamp()) * 10**9
    settings = Settings(home=tmp_path, _env_file=None)

    def certified() -> list[str | None]:
        with dg.build_schedule_context(
            scheduled_execution_time=now,
            repository_def=REPOSITORY,
            resources={"database": DatabaseResource(url=settings.database)},
        ) as context:
            return [request.partition_key for request in old_gaps_daily.evaluate_tick(context).run_requests]

    assert certified() == []
    with Database(settings.database) as database:
        for market, hours_ago in ((Market.CRYPTO, 30), (Market.STOCKS, 40), (Market.FOREX, 20)):
            book = GapBook(database, tmp_path / f"{market}.jsonl", market)
            book.open("disconnect", start_ns=at - hours_ago * hour_ns, now_ns=at - hours_ago * hour_ns)
    # A gap that began on Saturday first affects the stocks of Monday.
    assert certified() == ["2024-06-09|crypto", "2024-06-10|stocks"]
