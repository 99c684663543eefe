"""A price is above zero, or any finite number for futures."""

import math

import polars as pl
import pytest

from tapewatch.market.instruments import Market
from tapewatch.market.prices import is_no_price, is_no_side, is_price, is_side, is_two_sided, price_rule
from tapewatch.market.schema import SchemaError
from tapewatch.market.tables.tape import QUOTES, TRADES

OTHERS = [market for market in Market if market is not Market.FUTURES]
VALUES = [100.5, 5e-324, 1.7976931348623157e308, 0.0, -0.0, -37.63, math.nan, math.inf, -math.inf]


@pytest.mark.parametrize("market", OTHERS)
def test_a_price_is_above_zero(market: Market) -> None:
    assert [is_price(value, market) for value in VALUES] == [True] * 3 + [False] * 6
    assert [is_side(value, market) for value in VALUES] == [True] * 5 + [False] * 4
    assert price_rule(market) == "finite number above zero"


def test_a_futures_price_is_any_finite_number() -> None:
    assert [is_price(value, Market.FUTURES) for value in VALUES] == [True] * 6 + [False] * 3
    assert [is_side(value, Market.FUTURES) for value in VALUES] == [True] * 6 + [False] * 3
    assert price_rule(Market.FUTURES) == "finite number"


@pytest.mark.parametrize("market", list(Market))
def test_columns_follow_the_rule_of_values(market: Market) -> None:
    frame = pl.DataFrame({"price": [*VALUES, None]})
    found = frame.select(price=is_no_price("price", market), side=is_no_side("price", market)).to_dict(as_series=False)
    assert found == {
        "price": [*(not is_price(value, market) for value in VALUES), None],
        "side": [*(not is_side(value, market) for value in VALUES), None],
    }


def test_a_futures_side_at_zero_is_empty_only_without_size() -> None:
    quotes = pl.DataFrame(
        {
            "bid_price": [-0.02, 0.0, 0.0, 0.0, 5.0],
            "ask_price": [0.01, 0.01, 0.01, 0.01, 0.0],
            "bid_size": [3.0, 3.0, 0.0, None, 1.0],
            "ask_size": [4.0, 4.0, 4.0, 4.0, None],
        }
    )
    assert quotes.select(is_two_sided(Market.FUTURES)).to_series().to_list() == [True, True, False, False, False]
    assert quotes.select(is_two_sided(Market.STOCKS)).to_series().to_list() == [False] * 5


def test_tables_check_prices_by_market() -> None:
    quote = pl.DataFrame({"symbol": "A", "time": 0, "sequence_number": 1, "bid_price": -1.0, "ask_price": 0.0})
    frame = QUOTES.conform(quote)
    QUOTES.check(frame, Market.FUTURES)
    with pytest.raises(SchemaError, match=r"quotes: bid_price: below 0 in 1 row\(s\)$"):
        QUOTES.check(frame, Market.OPTIONS)
    infinite = TRADES.empty().clear(1).with_columns(price=pl.lit(-math.inf))
    assert "price: NaN or infinite in 1 row(s)" in list(TRADES.problems(infinite, Market.FUTURES))
