"""Sides by code, quote rule and tick rule, and their agreement."""

import datetime as dt

import numpy as np
import polars as pl
import pytest

from tapewatch.emulator.synthetic import flow
from tapewatch.emulator.synthetic import market as synthetic
from tapewatch.features.aggressor import AggressorAgreement, aggressor_agreement
from tapewatch.features.microstructure import microstructure
from tapewatch.market.instruments import Market, session_of
from tapewatch.market.tables.tape import QUOTES, TRADES
from tests.support.recorded import TICK_DAYS, recorded_quotes, recorded_trades
from tests.support.sides import aggressor_sides
from tests.support.tapes import random_tape, stock_session, tape_of

SESSION = stock_session()
CRYPTO = session_of(Market.CRYPTO, dt.date(2024, 3, 5))


def sides(trades, quotes=(), session=SESSION, **options) -> list[int]:
    return aggressor_sides(*tape_of(trades, quotes, session=session, **options), session).to_list()


def test_the_quote_rule() -> None:
    assert sides([(1, 10.06, 1), (2, 10.04, 1), (3, 9, 1), (4, 12, 1)], [(0, 10, 10.1)]) == [1, -1, -1, 1]


def test_the_midpoint_falls_back_to_the_last_tick_that_moved() -> None:
    trades = [(1, 10.05, 1), (2, 10.01, 1), (3, 10.05, 1), (4, 10.05, 1), (5, 10.09, 1), (6, 10.05, 1)]
    assert sides(trades, [(0, 10, 10.1)]) == [0, -1, 1, 1, 1, -1]


def test_the_tick_rule_alone_without_quotes() -> None:
    assert sides([(1, 10, 1), (2, 10, 1), (3, 11, 1), (4, 11, 1), (5, 10, 1), (6, 10, 1)]) == [0, 0, 1, 1, -1, -1]


@pytest.mark.parametrize("quote", [(0, 10.2, 10.0), (0, 10, 0), (0, 0, 10)])
def test_invalid_quotes_give_no_side(quote) -> None:
    assert sides([(1, 10, 1), (2, 10.5, 1), (3, 10.4, 1)], [(-1, 20, 21), quote]) == [0, 1, -1]


def test_a_quote_of_the_same_instant_is_not_in_force_yet() -> None:
    assert sides([(1, 10.5, 1)], [(0, 10, 10.2), (1, 11, 11.2)]) == [1]
    assert sides([(1.001, 10.5, 1)], [(0, 10, 10.2), (1, 11, 11.2)]) == [-1]


def test_trades_that_set_no_price_or_no_volume_have_no_side_and_move_no_tick() -> None:
    assert sides([(1, 10, 1), (2, 99, 1, "2"), (3, 11, 1), (4, 12, 1, "15"), (5, 11, 1), (6, 13, 1, "38")]) == [
        0,
        0,
        1,
        0,
        1,
        0,
    ]


def test_an_odd_lot_has_a_side_and_moves_no_tick() -> None:
    trades = [
        (1, 10, 1),
        (2, 11, 1, "37"),
        (3, 10, 1, "14,37"),
        (4, 9, 1, "37"),
        (5, 10, 1),
        (6, 9.5, 1),
        (7, 9.5, 1, "37"),
    ]
    assert sides(trades) == [0, 1, 0, -1, 0, -1, -1]
    assert sides(trades[:2], [(0, 10.2, 10.4)]) == [-1, 1]
    # At the midpoint of the quote, the last price of the round lots decides.
    assert sides([(1, 10, 1), (2, 10.3, 1, "37"), (3, 10.3, 1)], [(1.5, 10.2, 10.4)])[1:] == [1, 1]


def test_an_odd_lot_that_is_more_than_that_has_none() -> None:
    # Sold out of sequence, average price, outside regular hours and late.
    assert sides([(1, 10, 1), (2, 11, 1, "37,32"), (3, 11, 1, "2,37"), (4, 11, 1, "12,37")]) == [0, 0, 0, 0]
    assert sides([(-60, 10, 1, "12"), (-50, 11, 1, "12,37"), (-40, 10, 1, "12")]) == [0, 1, 0]


def test_odd_lots_enter_the_flow_and_not_the_prices() -> None:
    tape = tape_of([(1, 10.09, 100), (2, 10.01, 7, "37"), (3, 12.5, 3, "37")], [(0, 10, 10.1)])
    (row,) = microstructure(*tape, SESSION).filter(pl.col("trade_count") > 0).to_dicts()
    assert (row["buy_volume"], row["sell_volume"], row["buy_count"], row["sell_count"]) == (103, 7, 2, 1)
    assert row["last_price"] == 10.09


def test_nearly_all_sides_of_a_tape_with_true_sides_are_right(monkeypatch) -> None:
    """The synthetic market knows who crossed the spread; its tape does not say."""
    made = []
    simulate = synthetic.simulate
    monkeypatch.setattr(synthetic, "simulate", lambda *given, **kw: made.append(simulate(*given, **kw)) or made[-1])
    day = synthetic.Synthetic(5, has_anomalies=False).day("AAPL", dt.date(2024, 3, 5))
    signed = aggressor_sides(day.trades, day.quotes, SESSION).to_numpy()
    true, kind = made[0].prints[flow.PRINT_SIDE], made[0].prints[flow.PRINT_KIND]
    is_odd = day.trades["conditions"].cast(pl.String).str.contains(r"\b37\b").to_numpy()
    # Auctions have no aggressor, and late prints are not signed on purpose.
    is_trade = (kind <= flow.OFF_EXCHANGE) & (true != 0)
    assert is_odd[is_trade].mean() > 0.2
    for of in (is_trade, is_trade & is_odd, is_trade & ~is_odd):
        assert np.mean(signed[of] != 0) > 0.99
        assert np.mean(signed[of & (signed != 0)] == true[of & (signed != 0)]) > 0.93


def test_crypto_sides_are_the_vendors_codes() -> None:
    trades = [(1, 10, 1, "1"), (2, 10, 1, "2"), (3, 10, 1, ""), (4, 10, 1, "0")]
    assert sides(trades, [(0, 1, 2)], CRYPTO, symbol="X:BTC-USD") == [-1, 1, 0, 0]


def test_symbols_are_independent_and_rows_keep_their_order() -> None:
    first = tape_of([(1, 10, 1), (2, 11, 1)], [(0, 1, 2)], symbol="AAA")
    second = tape_of([(1, 9, 1), (2, 8, 1)], symbol="BBB")
    trades, quotes = (pl.concat(pair) for pair in zip(first, second, strict=True))
    assert aggressor_sides(trades, quotes, SESSION).to_list() == [1, 1, 0, -1]


def test_no_trades() -> None:
    assert aggressor_sides(TRADES.empty(), QUOTES.empty(), SESSION).to_list() == []
    assert aggressor_agreement(TRADES.empty(), None, SESSION) == AggressorAgreement(0, 0)
    assert AggressorAgreement(0, 0).share is None


@pytest.mark.parametrize("seed", range(5))
def test_sides_add_up_to_the_volumes_of_the_minutes(seed) -> None:
    trades, quotes = random_tape(seed)
    signed = trades.with_columns(side=aggressor_sides(trades, quotes, SESSION))
    rows = microstructure(trades, quotes, SESSION)
    for side, name in ((1, "buy"), (-1, "sell")):
        one = signed.filter(pl.col("side") == side).group_by("symbol").agg(pl.col("size").sum(), pl.len())
        other = rows.group_by("symbol").agg(pl.col(f"{name}_volume").sum(), pl.col(f"{name}_count").sum())
        assert sorted(one.cast({"symbol": pl.String}).rows()) == sorted(other.cast({"symbol": pl.String}).rows())


def test_inverted_codes_disagree_with_the_quote_rule() -> None:
    right = [(second, 10 + second % 2, 1, "2" if second % 2 else "1") for second in range(1, 100)]
    inverted = [(*trade[:3], "1" if trade[3] == "2" else "2") for trade in right]
    quotes = [(0, 10.1, 10.9)]
    tape = tape_of(right, quotes, session=CRYPTO, symbol="X:BTC-USD")
    assert aggressor_agreement(*tape, CRYPTO) == AggressorAgreement(99, 99)
    tape = tape_of(inverted, quotes, session=CRYPTO, symbol="X:BTC-USD")
    assert aggressor_agreement(*tape, CRYPTO) == AggressorAgreement(99, 0)


def test_stocks_compare_the_two_rules() -> None:
    trades = [(1, 10.09, 1), (2, 10.08, 1), (3, 10.01, 1), (4, 10.05, 1)]
    # The second trade is a purchase by the quote and a sale by the tick; the first has no tick, the last no quote side.
    assert aggressor_agreement(*tape_of(trades, [(0, 10, 10.1)]), SESSION) == AggressorAgreement(2, 1)


@pytest.mark.real_tape
def test_the_rules_agree_on_most_recorded_trades(market_data) -> None:
    """The literature finds some 85 % (Finucane 2000; Theissen 2001)."""
    day = TICK_DAYS[0]
    agreement = aggressor_agreement(
        recorded_trades(market_data, day), recorded_quotes(market_data, day), stock_session(day)
    )
    assert agreement.compared > 120_000
    assert 0.8 < agreement.share < 0.95
