"""When each market is collected, over nights, weekends, half days, holidays and changes of the clock."""

import datetime as dt

import pytest

from tapewatch.market.instruments import NEW_YORK, NS_PER_MINUTE, NS_PER_SECOND, Market
from tapewatch.streaming.collector.hours import next_hours


def ns(text: str, zone: dt.tzinfo = NEW_YORK) -> int:
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()) * NS_PER_SECOND


@pytest.mark.parametrize(
    ("market", "now", "start", "end"),
    [
        (Market.STOCKS, "2024-03-07T12:00", "2024-03-07T03:55", "2024-03-07T20:05"),
        (Market.STOCKS, "2024-03-07T03:00", "2024-03-07T03:55", "2024-03-07T20:05"),
        (Market.STOCKS, "2024-03-08T21:00", "2024-03-11T03:55", "2024-03-11T20:05"),  # summer time begins between
        (Market.STOCKS, "2024-03-10T02:59", "2024-03-11T03:55", "2024-03-11T20:05"),
        (Market.STOCKS, "2024-11-29T10:00", "2024-11-29T03:55", "2024-11-29T17:05"),  # half day
        (Market.STOCKS, "2024-12-25T10:00", "2024-12-26T03:55", "2024-12-26T20:05"),
        (Market.OPTIONS, "2024-03-07T12:00", "2024-03-07T09:25", "2024-03-07T16:20"),
        (Market.OPTIONS, "2024-11-29T12:00", "2024-11-29T09:25", "2024-11-29T13:20"),  # half day
        (Market.INDICES, "2024-03-07T12:00", "2024-03-07T09:25", "2024-03-07T16:20"),
        (Market.FOREX, "2024-03-06T12:00", "2024-03-03T16:55", "2024-03-08T17:05"),
        (Market.FOREX, "2024-03-09T12:00", "2024-03-10T16:55", "2024-03-15T17:05"),
    ],
)
def test_hours(market: Market, now: str, start: str, end: str) -> None:
    hours = next_hours(market, ns(now))
    if market is not Market.FOREX or now == "2024-03-09T12:00":
        assert hours.start_ns == ns(start)
    assert hours.end_ns == ns(end)
    assert hours.contain(ns(now)) == (ns(start) <= ns(now) < ns(end))


def test_crypto_is_always_collected() -> None:
    assert next_hours(Market.CRYPTO, ns("2024-03-10T02:30", dt.UTC)).contain(ns("2024-03-17T02:30", dt.UTC))


def test_a_delayed_tape_ends_later() -> None:
    hours = next_hours(Market.STOCKS, ns("2024-03-07T20:10"), delay_ns=15 * NS_PER_MINUTE)
    assert hours.end_ns == ns("2024-03-07T20:20")


@pytest.mark.parametrize("now", ["2025-11-28T13:30", "2025-11-28T17:30", "2021-04-02T09:00"])
def test_futures_are_collected_to_the_end_of_the_day_whatever_closes_early(now: str) -> None:
    hours = next_hours(Market.FUTURES, ns(now))
    assert hours.contain(ns(now))
    assert hours.end_ns == ns(now[:10] + "T18:05")


def test_futures_trade_from_the_evening_before() -> None:
    assert next_hours(Market.FUTURES, ns("2024-03-10T19:00")).contain(ns("2024-03-11T10:00"))
