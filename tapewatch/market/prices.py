"""Which numbers are prices in a market.

A price is above zero, except for futures, where any finite number is a price: crude oil settled at -37.63 on 2020-04-20,
and spreads between contracts may be negative. An empty side of a quote has price 0; a futures side of price 0 is empty
only if its size is not above 0.
"""

import math

import polars as pl

from tapewatch.market.instruments import Market

_LARGEST = 1.7976931348623157e308
_NEGATIVE_TOO = frozenset({Market.FUTURES})


def may_be_negative(market: Market) -> bool:
    """Whether the market's prices may be zero or negative."""
    return market in _NEGATIVE_TOO


def floor_of(market: Market) -> float:
    """Lower bound of the market's prices, excluded: 0 or minus infinity."""
    return -math.inf if may_be_negative(market) else 0.0


def is_price(value: float, market: Market) -> bool:
    """Whether this may be the price of a trade or bar."""
    return floor_of(market) < value <= _LARGEST


def is_side(value: float, market: Market) -> bool:
    """Whether this may be the price of a side of a quote; 0 if the side is empty."""
    return value == 0 or is_price(value, market)


def is_no_price(column: str, market: Market) -> pl.Expr:
    """Where `is_price` does not hold; null stays null."""
    # NaN sorts above every number.
    value = pl.col(column)
    return (value <= floor_of(market)) | (value > _LARGEST)


def is_no_side(column: str, market: Market) -> pl.Expr:
    """Where `is_side` does not hold; null stays null."""
    return is_no_price(column, market) & (pl.col(column) != 0)


def price_rule(market: Market, *, may_be_empty: bool = False) -> str:
    """The rule in words, for error messages; `may_be_empty` for the side of a quote."""
    if may_be_negative(market):
        return "finite number"
    return "finite number from zero up" if may_be_empty else "finite number above zero"


def is_two_sided(market: Market) -> pl.Expr:
    """Whether both sides of a `QUOTES` row have a price."""
    return _is_stated("bid", market) & _is_stated("ask", market)


def _is_stated(side: str, market: Market) -> pl.Expr:
    price = pl.col(f"{side}_price")
    if not may_be_negative(market):
        return price > 0
    return (price != 0) | (pl.col(f"{side}_size") > 0).fill_null(value=False)
