"""The table of plans: what it grants, its checks, and how it clamps ranges of days."""

import datetime as dt
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapewatch.feeds.plans.addresses import stream_address
from tapewatch.feeds.plans.table import (
    PLANS_FILE,
    TIERS,
    PlanError,
    Recency,
    TapeTable,
    clamp_range,
    load_plans,
    plan_for,
)
from tapewatch.market.instruments import Market

TODAY = dt.date(2024, 2, 29)
DAYS = st.dates(dt.date(1995, 1, 1), dt.date(2030, 1, 1))


def test_every_market_has_every_tier_that_settings_accept():
    assert set(load_plans()) == {(market, tier) for market in Market for tier in TIERS}


@pytest.mark.parametrize(
    ("tier", "granted", "calls", "first_day"),
    [
        ("basic", {"bars"}, 5, dt.date(2022, 2, 28)),
        ("starter", {"bars"}, None, dt.date(2019, 2, 28)),
        ("developer", {"bars", "trades"}, None, dt.date(2014, 2, 28)),
        ("advanced", {"bars", "trades", "quotes"}, None, dt.date(2003, 9, 10)),
    ],
)
def test_stock_plans(tier, granted, calls, first_day):
    plan = plan_for(Market.STOCKS, tier)
    assert {table for table in TapeTable if plan.grants(table)} == granted
    assert plan.plan.calls_per_minute == calls
    assert plan.first_day(TODAY) == first_day
    assert plan.setting == "POLYGON_TIER_STOCKS"


def test_flat_file_rights_grow_with_the_plan_and_basic_has_none():
    for market in Market:
        rights = [plan_for(market, tier).plan.flat_files for tier in TIERS]
        assert not rights[0]
        assert all(smaller <= larger for smaller, larger in pairwise(rights))
        assert not plan_for(market, "basic").plan.websocket


def test_streams_follow_the_vendor_s_plans():
    stocks = [plan_for(Market.STOCKS, tier) for tier in TIERS]
    assert stocks[1].channels == ("AM",)
    assert [plan.stream_recency for plan in stocks[1:]] == [Recency.DELAYED, Recency.DELAYED, Recency.REAL_TIME]
    assert {"A", "T"} <= set(stocks[2].channels)
    for market in (Market.CRYPTO, Market.FOREX):
        assert plan_for(market, "starter").stream_recency is Recency.REAL_TIME
    assert "XL2" in plan_for(Market.CRYPTO, "advanced").channels
    assert plan_for(Market.FUTURES, "starter").stream_recency.delay == dt.timedelta(minutes=10)
    assert plan_for(Market.OPTIONS, "advanced").symbols_a_channel == {"Q": 1000}
    assert all(plan_for(market, "advanced").connections == 1 for market in Market)


def test_a_stream_may_be_late_where_rest_is_not(tmp_path: Path):
    edited = tmp_path / "plans.toml"
    text = PLANS_FILE.read_text(encoding="utf-8")
    head, advanced = text.split("[stocks.advanced]\n", 1)
    edited.write_text(f'{head}[stocks.advanced]\nstream_recency = "delayed_15m"\n{advanced}', "utf-8")
    plan = plan_for("stocks", "advanced", path=edited)
    assert plan.stream_recency is Recency.DELAYED
    assert plan.plan.recency is Recency.REAL_TIME
    assert stream_address(plan, "https://api.polygon.io") == "wss://delayed.polygon.io/stocks"


@pytest.mark.parametrize(
    ("rest_url", "base", "override", "address"),
    [
        ("https://api.polygon.io", None, None, "wss://socket.polygon.io/stocks"),
        ("https://api.massive.com", None, None, "wss://socket.massive.com/stocks"),
        ("http://127.0.0.1:8900", None, None, "ws://127.0.0.1:8900/stocks"),
        ("https://api.polygon.io", "ws://127.0.0.1:9000/", None, "ws://127.0.0.1:9000/stocks"),
        ("https://api.polygon.io", "ws://127.0.0.1:9000", "wss://own.example/feed", "wss://own.example/feed"),
        ("https://api.polygon.io", None, "wss://own.example", "wss://own.example/stocks"),
    ],
)
def test_the_address_of_a_market_s_stream(rest_url, base, override, address):
    assert stream_address(plan_for("stocks", "advanced"), rest_url, base=base, override=override) == address


@pytest.mark.parametrize(
    "address",
    ["http://x", "ws://", "socket.polygon.io", "wss://me:secret@host"],  # pragma: allowlist secret
)
def test_an_invalid_stream_address_is_refused_without_repeating_it(address):
    with pytest.raises(PlanError, match="POLYGON_WS_URL_STOCKS") as caught:
        stream_address(plan_for("stocks", "advanced"), "https://api.polygon.io", override=address)
    assert "secret" not in str(caught.value)


def test_unknown_plan_names_the_setting_and_the_choices():
    with pytest.raises(PlanError, match=r"crypto has no plan 'gold': set POLYGON_TIER_CRYPTO to one of basic, starter"):
        plan_for(Market.CRYPTO, "gold")


@given(first=DAYS, last=DAYS, tier=st.sampled_from(TIERS), market=st.sampled_from(list(Market)))
def test_a_clamped_range_is_the_intersection_and_reports_the_cut(first, last, tier, market):
    plan = plan_for(market, tier)
    wanted = set(range(first.toordinal(), last.toordinal() + 1))
    shown = set(range(plan.first_day(TODAY).toordinal(), plan.last_day(TODAY).toordinal() + 1))
    if not wanted & shown:
        with pytest.raises(PlanError):
            clamp_range(plan, first, last, today=TODAY)
        return
    clamped = clamp_range(plan, first, last, today=TODAY)
    assert set(range(clamped.first.toordinal(), clamped.last.toordinal() + 1)) == wanted & shown
    assert bool(clamped.message) == (wanted - shown != set())


def test_clamping_names_what_it_left_out_and_the_way_out():
    clamped = clamp_range(plan_for("stocks", "basic"), dt.date(2020, 1, 1), dt.date(2024, 2, 29), today=TODAY)
    assert clamped.message == (
        "the plan 'basic' leaves out 2020-01-01 … 2022-02-27 (older than the plan's history) and 2024-02-29 … 2024-02-29 "
        "(newer than the plan shows) of stocks: set POLYGON_TIER_STOCKS to the plan you bought, or use --flat-files"
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("calls_per_minute = 5", 'calls_per_minute = "five"', r"\[stocks.basic\].*Expected `int"),
        ("calls_per_minute = 5", "calls_per_minute = 0", r"\[stocks.basic\].*calls_per_minute is 0"),
        ("calls_per_minute = 5", "calls_a_minute = 5", r"\[stocks.basic\].*calls_a_minute"),
        ('recency = "end_of_day"', 'recency = "soon"', r"\[stocks.basic\].*soon"),
        ("[indices]", "[bonds]", r"\[bonds\] is not a market; the markets are stocks"),
        ("[stocks.basic]", "[stocks.basic", "is not valid TOML"),
        ('[crypto.basic]\ncalls_per_minute = 5\nhistory_years = 2\nrecency = "end_of_day"\nrest = ["bars"]',
         '[crypto.basic]\nrecency = "end_of_day"\nrest = ["quotes"]', r"rest grants quotes, which the market does not have"),
        ("first_day = 2003-09-10", "", r"\[stocks\].*first_day"),
        ('websocket = ["AM", "A", "T"]', 'websocket = ["AM", "TT"]', r"\[stocks.developer\].*grants TT; the market's channels are T, Q"),
        ("symbols_a_channel = { Q = 1000 }", "symbols_a_channel = { QQ = 1000 }", r"\[options\].*limits QQ, which is not a channel"),
        ("symbols_a_channel = { Q = 1000 }", "connections = 0", r"\[options\].*connections is 0"),
        ('recency = "real_time"', 'recency = "end_of_day"', "a stream cannot be end_of_day"),
        ("advised_calls_per_second = 90", "advised_calls_per_second = -1", "must be a number above 0"),
    ],
)  # fmt: skip
def test_a_broken_table_is_refused_with_its_place(tmp_path: Path, old, new, message):
    text = PLANS_FILE.read_text(encoding="utf-8")
    assert old in text
    broken = tmp_path / "plans.toml"
    broken.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(PlanError, match=message):
        load_plans(broken)


def test_an_edited_table_is_used(tmp_path: Path):
    edited = tmp_path / "plans.toml"
    edited.write_text(
        PLANS_FILE.read_text(encoding="utf-8").replace("history_years = 10", "history_years = 12", 1), "utf-8"
    )
    assert plan_for("stocks", "developer", path=edited).first_day(TODAY) == dt.date(2012, 2, 29)


def test_a_table_that_is_nested_too_deep_is_refused(tmp_path: Path):
    (tmp_path / "deep.toml").write_text(f"a = {'[' * 100_000}{']' * 100_000}\n")
    with pytest.raises(PlanError, match=r"deep\.toml is nested too deep"):
        load_plans(tmp_path / "deep.toml")


def test_an_absent_table_is_named(tmp_path: Path):
    with pytest.raises(PlanError, match=r"cannot read the table of plans .*absent\.toml"):
        load_plans(tmp_path / "absent.toml")
