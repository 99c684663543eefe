"""The estimated cost of a backfill, and its default days."""

import datetime as dt
from collections.abc import Iterator

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapewatch.feeds.plans.table import TIERS, PlanError, TapeTable, plan_for
from tapewatch.feeds.rest.estimate import DAYS_OF_BARS, DAYS_OF_TICKS, Sample, default_range, estimate
from tapewatch.feeds.rest.source import RestSource
from tapewatch.market.instruments import Market, Partition, trading_days
from tests.support.faulty_vendor import KEY, FaultyVendor, faulty_vendor
from tests.support.rest_tapes import NOW, STOCKS, minute_bars, stock_trades

TODAY = dt.date(2024, 5, 15)


@pytest.fixture
def vendor() -> Iterator[FaultyVendor]:
    with faulty_vendor() as server:
        yield server


@settings(max_examples=60, deadline=None)
@given(
    market=st.sampled_from(list(Market)),
    tier=st.sampled_from(TIERS),
    today=st.dates(dt.date(2024, 3, 1), dt.date(2025, 12, 1)),
)
def test_the_default_is_the_last_days_that_the_plan_shows_whole(market, tier, today):
    plan = plan_for(market, tier)
    chosen = default_range(plan, today)
    days = trading_days(market, chosen.first, chosen.last)
    has_ticks = bool(plan.plan.rest - {TapeTable.BARS})
    assert len(days) == (DAYS_OF_TICKS if has_ticks else DAYS_OF_BARS)
    assert plan.first_day(today) <= chosen.first
    assert chosen.last < today
    assert not [day for day in trading_days(market, chosen.last, today) if chosen.last < day < today]
    assert plan.tier in chosen.reason


def test_a_named_last_day_is_kept():
    chosen = default_range(plan_for("stocks", "advanced"), TODAY, last=dt.date(2024, 4, 30))
    assert (chosen.first, chosen.last) == (dt.date(2024, 4, 24), dt.date(2024, 4, 30))


def test_a_last_day_before_the_plan_s_history_is_refused():
    with pytest.raises(PlanError, match="from 2022-05-15"):
        default_range(plan_for("stocks", "basic"), TODAY, last=dt.date(2020, 1, 1))


@pytest.mark.parametrize(("symbols", "expected"), [(5, 10), (1, 2), (300, 300 * 5)])
def test_bars_of_a_metered_plan_cost_a_call_for_thirty_days(symbols, expected):
    days = trading_days(Market.STOCKS, dt.date(2024, 3, 1), dt.date(2024, 4, 15))
    found = estimate(plan_for("stocks", "basic"), {TapeTable.BARS: days}, symbols)
    assert found.calls == expected


def test_a_metered_plan_s_time_is_its_rate():
    found = estimate(plan_for("stocks", "basic"), {TapeTable.BARS: [TODAY]}, 11)
    assert found.calls == 11
    assert found.seconds == 120


def test_the_estimated_calls_are_those_that_are_made(vendor):
    days = [Partition(day, Market.STOCKS) for day in trading_days(Market.STOCKS, dt.date(2024, 3, 20), TODAY)]
    vendor.rows["bars/AAPL"] = [row for day in days for row in minute_bars(2, day.session.regular_start)]
    rest = RestSource(
        vendor.base_url, f"{KEY}-estimate", {}, clock=lambda: NOW, bars_until={Market.STOCKS: days[-1].date}
    )
    for day in days:
        assert pl.concat(rest.bars(day, ["AAPL"])).height == 2
    promised = estimate(plan_for("stocks", "basic"), {TapeTable.BARS: [day.date for day in days]}, 1)
    assert len(vendor.seen) == promised.calls == 2


def test_an_unlimited_plan_counts_pages_and_completeness_checks():
    plan, days = plan_for("stocks", "advanced"), [TODAY, TODAY]
    sample = Sample(TapeTable.TRADES, "AAPL", 50_000, 0.3, 2.0)
    found = estimate(plan, {TapeTable.BARS: days, TapeTable.TRADES: days, TapeTable.QUOTES: days}, 3, [sample])
    assert [(table.tape, table.calls) for table in found.tables] == [
        (TapeTable.BARS, 12), (TapeTable.TRADES, 30), (TapeTable.QUOTES, 12)
    ]  # fmt: skip
    assert found.seconds == 54 * 2.0 / 3
    assert any("50,000 rows" in said for said in found.assumptions)


def test_tables_that_the_plan_lacks_cost_nothing():
    found = estimate(plan_for("stocks", "starter"), {tape: [TODAY] for tape in TapeTable}, 2)
    assert [table.tape for table in found.tables] == [TapeTable.BARS]


def test_a_sample_measures_how_much_of_the_day_a_page_holds(vendor):
    session = STOCKS.session
    rows = stock_trades(100, ties=False)
    for number, row in enumerate(rows):
        row["sip_timestamp"] = session.extended_start + number * (session.extended_end - session.extended_start) // 100
    vendor.rows["trades/AAPL"] = rows
    rest = RestSource(vendor.base_url, KEY, {Market.STOCKS: "advanced"}, clock=lambda: NOW, page_limit=25)
    sample = rest.sample(TapeTable.TRADES, STOCKS, "AAPL")
    assert (sample.rows, sample.share) == (25, pytest.approx(0.24))
    assert sample.pages == 5
    assert len(vendor.seen) == 1
    whole = RestSource(vendor.base_url, KEY, {Market.STOCKS: "advanced"}, clock=lambda: NOW)
    assert whole.sample(TapeTable.TRADES, STOCKS, "AAPL").pages == 1
