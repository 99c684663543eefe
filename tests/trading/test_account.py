"""The account: orders rest on what was known, fills and profit by hand, and its record."""

import numpy as np
import polars as pl
import pytest

from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.signals import SIGNALS
from tapewatch.market.tables.tape import TRADES
from tapewatch.trading.account import Account, trade_day
from tapewatch.trading.record import account_record, capacities
from tapewatch.trading.signals.risk import RiskRules
from tests.support.trading_rows import DAY, bars_at, outcome, session, signal

#: From 100 to 101 at minute 8, then flat.
PRICES = [100.0] * 8 + [101.0] * 22
FREE = RiskRules(fee_bps=0.0)


def bars(prices: list[float], symbol: str = "AAA") -> pl.DataFrame:
    found = bars_at({symbol: prices})
    return found.with_columns(volume=pl.lit(1e6), known_time=pl.col("time") + pl.duration(minutes=1))


@pytest.mark.parametrize(("side", "profit"), [(1, 100.0), (-1, -100.0)])
def test_a_bet_is_opened_and_closed_at_the_next_open(side: int, profit: float) -> None:
    account = trade_day(signal(5, side, cost_bps=0.0), bars(PRICES), session(), FREE, is_sized=False)
    # 100 shares; the jump at minute 8 touches the barrier, which is known at minute 9.
    assert account.fills.select("quantity", "price").rows() == [(100.0, 100.0), (100.0, 101.0)]
    assert account.profit == pytest.approx(profit)
    assert account.refusals.is_empty()
    assert account.bets["filled"].to_list() == [100.0]


def test_costs_are_paid_on_both_sides() -> None:
    found = signal(5, cost_bps=4.0, spread_bps=4.0)
    account = trade_day(found, bars(PRICES), session(), RiskRules(fee_bps=1.0), is_sized=False)
    # Of 4 bps two are fees, and half of the rest is paid on each side.
    bought, sold = 100 * 100.0 * (1 + 1e-4), 100 * 101.0 * (1 - 1e-4)
    assert account.profit == pytest.approx((sold - bought) - 1e-4 * (sold + bought), abs=0.02)


def test_a_bar_gives_its_participation_and_no_more() -> None:
    thin = bars(PRICES).with_columns(volume=pl.lit(300.0))
    account = trade_day(signal(5, cost_bps=0.0), thin, session(), FREE, is_sized=False)
    # A tenth of 300 shares a minute: what the opening order's two minutes give, and the same on the way out.
    assert account.fills["quantity"].to_list() == [30.0, 30.0, 30.0, 30.0]
    assert account.bets.select("quantity", "filled", "closed").row(0) == (100.0, 60.0, 60.0)


def test_quotes_are_met_where_there_are_any() -> None:
    quotes = bars(PRICES).select(
        "symbol", "time", bid_price=pl.col("open") - 0.01, ask_price=pl.col("open") + 0.01, bid_size=pl.lit(500.0),
        ask_size=pl.lit(500.0),
    )  # fmt: skip
    ticks = (quotes, TRADES.empty())
    account = trade_day(signal(5, cost_bps=0.0), bars(PRICES), session(), FREE, ticks=ticks, is_sized=False)
    assert account.fills["price"].to_list() == pytest.approx([100.01, 100.99])
    other = (quotes.with_columns(symbol=pl.lit("BBB")), TRADES.empty())
    account = trade_day(signal(5, cost_bps=0.0), bars(PRICES), session(), FREE, ticks=other, is_sized=False)
    assert account.fills["price"].to_list() == [100.0, 101.0]


def test_a_day_without_bets_leaves_the_account_alone() -> None:
    account = trade_day(SIGNALS.empty(), bars(PRICES), session())
    assert (account.orders, account.profit, account.equity.height) == (0, 0.0, 0)
    assert trade_day(signal(5), bars(PRICES), session()).orders == 0
    assert account_record("idle", {Partition(DAY, Market.STOCKS): Account()}).facts["profit"] == 0.0


def test_the_record_of_a_day_by_hand() -> None:
    account = trade_day(signal(5, cost_bps=0.0), bars(PRICES), session(), FREE, is_sized=False)
    record = account_record("unit", {Partition(DAY, Market.STOCKS): account})
    assert record.facts["profit"] == pytest.approx(100.0)
    assert record.hours["profit_share"].sum() == pytest.approx(1e-3)
    assert record.facts["daily_turnover"] == pytest.approx((10_000 + 10_100) / 100_000)
    held = account.gross_weights > 0
    assert record.facts["time_in_market"] == pytest.approx(held.mean())
    assert 0 < held.sum() < held.size


def test_capacity_by_hand() -> None:
    bets = pl.concat([outcome(0, 10.0), outcome(1, 6.0)])
    (row,) = capacities(signal(5, exit_minutes=0.1), bets).to_dicts()
    # Gross 12 bps, spread 2, fees 1; a minute trades a million at 5 bps; impact is 0.5 of the volatility each way.
    assert row["capacity"] == pytest.approx(1e6 * ((12.0 - 3.0) / (2 * 0.5 * 5.0)) ** 2)
    assert np.isfinite(row["mean_gross_bps"])
