"""The partitions: Dagster's own keys, listed once a day."""

import datetime as dt

import dagster as dg

from assets.shared.partitions import MARKET_DAYS, market_days

NOON = dt.datetime(2024, 6, 3, 12, tzinfo=dt.UTC)


def test_the_keys_are_those_of_dagster_on_each_day() -> None:
    days = market_days("2024-05-30")
    plain = dg.MultiPartitionsDefinition({each.name: each.partitions_def for each in days.partitions_defs})
    assert plain == days
    for time in (NOON, NOON + dt.timedelta(hours=11), NOON + dt.timedelta(days=1), NOON):
        keys = days.get_partition_keys(time)
        assert keys == plain.get_partition_keys(time)
        with dg.partition_loading_context(time):
            assert days.get_partition_keys() == keys
        assert keys[-1].keys_by_dimension == {"date": f"{time + dt.timedelta(days=1):%F}", "market": "stocks"}


def test_the_keys_of_a_day_are_listed_once() -> None:
    assert MARKET_DAYS.get_partition_keys(NOON) is MARKET_DAYS.get_partition_keys(NOON + dt.timedelta(minutes=1))
