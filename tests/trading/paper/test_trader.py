"""The trader of a paper account: its live orders equal the backtest's, a kill changes nothing, and risk states bind it."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import polars as pl
import pytest
import sqlalchemy as sa
from polars.testing import assert_frame_equal

from tapewatch.market.instruments import NS_PER_MINUTE, Market
from tapewatch.market.tables.live import ALERTS, LIVE_BARS
from tapewatch.market.tables.signals import SIGNALS
from tapewatch.market.tables.tape import TIME
from tapewatch.store.database.database import Database
from tapewatch.store.database.engine import transaction
from tapewatch.streaming.stop import Stop
from tapewatch.trading.bets.day import trade_signals
from tapewatch.trading.bets.orders import openings
from tapewatch.trading.bets.rules import BetRules
from tapewatch.trading.engine import Tape
from tapewatch.trading.paper.broker import PaperBroker
from tapewatch.trading.paper.feed import LiveAlerts
from tapewatch.trading.paper.ledger import PaperError, set_risk
from tapewatch.trading.paper.live import Pace, complete_until, follow_live
from tapewatch.trading.paper.protections import Protections, RiskState, stale_from
from tapewatch.trading.paper.trader import Trader, TraderRules
from tapewatch.trading.paper.view import account_view
from tapewatch.trading.signals.build import SignalRules, proposals, signals
from tapewatch.trading.signals.risk import RiskRules
from tests.support.crash_points import Killed
from tests.support.followed_day import (
    BEGIN,
    END,
    LIMITS,
    MARKET_DAY,
    RULES,
    SETTINGS,
    batch_signals,
    day,
    recorded,
    trader_on,
)
from tests.support.paper import ACCOUNT, state_of
from tests.support.trading_rows import outcome, session

SEED = 1
_PLAIN = pl.selectors.categorical().cast(pl.String)


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A day that was followed undisturbed."""
    with Database(f"sqlite:///{tmp_path_factory.mktemp('followed') / 'live.db'}") as database:
        recorded(database, SEED)
        assert trader_on(database).follow(END) == 75
        yield database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(f"sqlite:///{tmp_path / 'live.db'}") as database:
        recorded(database, SEED)
        yield database


@pytest.mark.long
def test_live_equals_the_backtest_order_by_order(followed: Database) -> None:
    signals = batch_signals(followed, SEED)
    bars = day(SEED)[0]
    outcome, bets = trade_signals(signals, Tape.of_bars(bars), bars, session(), SETTINGS, RULES.bets)
    live = state_of(followed)
    assert_frame_equal(
        live["paper_signals"].select(SIGNALS.schema.names()).with_columns(_PLAIN).sort(SIGNALS.key),
        signals.with_columns(_PLAIN).sort(SIGNALS.key),
    )
    columns = ["order_id", "time", "side", "quantity", "kind", "limit_price", "expires_time", "state", "filled"]
    assert_frame_equal(live["paper_orders"].select(columns), outcome.orders.select(columns).sort("order_id"))
    columns = ["fill_id", "time", "quantity", "price", "notional_cents", "fee_cents", "is_maker"]
    assert_frame_equal(
        live["paper_fills"].select(columns).sort("fill_id"), outcome.fills.select(columns).sort("fill_id")
    )
    assert outcome.fills.height > 5
    view = account_view(followed, ACCOUNT)
    assert view.facts["equity"] - SETTINGS.cash == pytest.approx(outcome.profit)
    assert view.bets["profit"].sum() == pytest.approx(outcome.profit, abs=0.01)
    assert view.bets.height == bets.height
    assert view.positions.is_empty()


def test_dynamic_limits_live_equal_the_backtest_order_by_order(database: Database) -> None:
    """Bets sized by a record, opened where they break even."""
    risk = RiskRules(dynamic_limits=True)
    rules = TraderRules(SignalRules(risk), BetRules(risk))
    earlier = pl.col("event_time", "known_time").dt.offset_by("-30d").cast(TIME)
    names = ("continuation", "reversal")
    past = [outcome(at, 20.0 if at % 4 else -20.0, strategy=name) for name in names for at in range(90)]
    history = pl.concat(past).with_columns(earlier)
    broker = PaperBroker(database, ACCOUNT, SETTINGS, LIMITS)
    Trader(database, broker, [Market.STOCKS], rules, lambda _: history, begins=BEGIN).follow(END)
    bars, features, _ = day(SEED)
    alerts = LiveAlerts(database).known(Market.STOCKS, session(), session().day_end)
    found = signals(*proposals(alerts, features), history, rules=rules.signals)
    outcome_, _ = trade_signals(found, Tape.of_bars(bars), bars, session(), SETTINGS, rules.bets)
    columns = ["order_id", "time", "side", "quantity", "kind", "limit_price", "state", "filled"]
    live = state_of(database)["paper_orders"].select(columns)
    assert_frame_equal(live, outcome_.orders.select(columns).sort("order_id"))
    assert found["size"].abs().is_between(0.1, 0.9).any()
    plain = openings(found, session(), BetRules(), lambda _: 1.0)
    assert live.filter(pl.col("kind") == "limit").height == plain.height > 3
    assert not live.filter(pl.col("kind") == "limit")["limit_price"].equals(plain.sort("order_id")["limit_price"])


@pytest.mark.long
def test_killed_at_commits_equals_undisturbed(followed: Database, database: Database) -> None:
    """Every fourth commit is killed, those of broker and trader in turn, and another process goes on."""
    commits = kills = 0

    @contextmanager
    def killed(engine: sa.Engine, **options: Any) -> Iterator[sa.Connection]:
        nonlocal commits, kills
        with transaction(engine, **options) as connection:
            yield connection
            commits += not options
            if not options and commits % 9 == 0:
                kills += 1
                raise Killed

    while True:
        trader = trader_on(database)
        with (
            patch("tapewatch.trading.paper.broker.transaction", killed),
            patch("tapewatch.trading.paper.trader.transaction", killed),
            suppress(Killed),
        ):
            trader.follow(END)
            break
    assert kills > 12
    expected = state_of(followed)
    for name, frame in state_of(database).items():
        assert frame.equals(expected[name]), name


def test_followed_in_pieces_by_the_clock_of_a_replay_equals_at_once(followed: Database, database: Database) -> None:
    stop, looks = Stop(), 0

    def present() -> int:
        nonlocal looks
        looks += 1
        if looks > 3:
            stop.set()
        return END + looks * 10**15

    trader = trader_on(database)
    follow_live(trader, stop, Pace(0.001, 1.0), present)
    # The newest bar is of minute 70; the minute before is complete.
    assert trader.cursor == BEGIN + 69 * NS_PER_MINUTE
    again = trader_on(database)
    again.follow(END)
    assert state_of(database)["paper_orders"].equals(state_of(followed)["paper_orders"])
    # A long silence is passed over.
    assert again.follow(END + 10_000_000 * NS_PER_MINUTE) == 10


def test_a_live_tape_is_complete_up_to_the_grace_and_a_replay_up_to_its_newest_minute() -> None:
    minute = NS_PER_MINUTE
    assert complete_until(100 * minute, 99 * minute, 98 * minute) == 100 * minute
    assert complete_until(100 * minute, 50 * minute, 48 * minute) == 47 * minute
    assert complete_until(100 * minute, 50 * minute, None) is None


def test_a_halted_account_decides_and_sends_nothing_and_resumed_closes_what_it_holds(database: Database) -> None:
    trader = trader_on(database)
    trader.follow(BEGIN + 40 * NS_PER_MINUTE)
    held = account_view(database, ACCOUNT).positions
    assert held.height
    known = account_view(database, ACCOUNT).signals["known_time"].dt.epoch("ns")
    assert max(known) <= BEGIN + 40 * NS_PER_MINUTE < max(database.read(ALERTS)["known_time"].dt.epoch("ns"))
    before = account_view(database, ACCOUNT).orders.height
    set_risk(database, ACCOUNT, RiskState.HALTED, "a person", "ann")
    trader.follow(BEGIN + 65 * NS_PER_MINUTE)
    view = account_view(database, ACCOUNT)
    assert view.orders.height == before
    assert max(view.signals["known_time"].dt.epoch("ns")) > BEGIN + 40 * NS_PER_MINUTE
    assert view.protections["reason"].to_list() == ["a person"]
    set_risk(database, ACCOUNT, RiskState.REDUCING, "careful", "ann")
    trader.follow(END)
    view = account_view(database, ACCOUNT)
    assert view.positions.is_empty()
    assert not view.orders.filter(
        pl.col("order_id").str.ends_with(":open"), pl.col("time") >= held["at_time"][0]
    ).height


def test_a_stale_feed_halts_until_prices_are_back(database: Database) -> None:
    bars = day(SEED)[0]
    minute = pl.col("time").dt.epoch("ns") - BEGIN
    gap = bars.filter((minute >= 40 * NS_PER_MINUTE) & (minute < 50 * NS_PER_MINUTE))
    database.remove(LIVE_BARS, MARKET_DAY, gap.select("symbol", "clock", "time"))
    limits = replace(LIMITS, feed_stale_s=240)
    trader = trader_on(database, limits)
    trader.follow(BEGIN + 43 * NS_PER_MINUTE)
    assert account_view(database, ACCOUNT).facts["state"] == "ACTIVE"
    trader.follow(BEGIN + 44 * NS_PER_MINUTE)
    facts = account_view(database, ACCOUNT).facts
    assert (facts["state"], facts["reason"]) == ("HALTED", "no price of any symbol for 240 s: the feed is stale")
    trader.follow(BEGIN + 50 * NS_PER_MINUTE)
    assert account_view(database, ACCOUNT).facts["state"] == "HALTED"
    trader.follow(BEGIN + 51 * NS_PER_MINUTE)
    assert account_view(database, ACCOUNT).facts["state"] == "ACTIVE"


def test_a_feed_can_be_stale_in_the_hours_of_its_markets_alone() -> None:
    limits, stocks = Protections(feed_stale_s=300), session()
    open_, close = stocks.regular_start, stocks.regular_end
    wait = 5 * NS_PER_MINUTE
    assert (
        stale_from(limits, {Market.STOCKS: open_ + NS_PER_MINUTE}, open_ + 3 * NS_PER_MINUTE)
        == open_ + NS_PER_MINUTE + wait
    )
    # The night before does not count, nor the evening.
    assert stale_from(limits, {Market.STOCKS: open_ - 900 * NS_PER_MINUTE}, open_ + NS_PER_MINUTE) == open_ + wait
    assert stale_from(limits, {Market.STOCKS: close}, close + NS_PER_MINUTE) is None
    both = {Market.STOCKS: open_, Market.CRYPTO: open_ + 2 * NS_PER_MINUTE}
    assert stale_from(limits, both, open_ + 3 * NS_PER_MINUTE) == open_ + 2 * NS_PER_MINUTE + wait
    assert stale_from(Protections.none(), both, open_) is None


def test_two_traders_and_other_rules_are_refused(database: Database) -> None:
    first, second = trader_on(database), trader_on(database)
    first.follow(BEGIN + 2 * NS_PER_MINUTE)
    with pytest.raises(PaperError, match=r"another (trader|broker)"):
        second.follow(BEGIN + 3 * NS_PER_MINUTE)
    with pytest.raises(PaperError, match="followed with other rules"):
        Trader(database, PaperBroker(database, ACCOUNT, SETTINGS, Protections.none()), [Market.STOCKS], TraderRules())
