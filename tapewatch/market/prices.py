"""What a market takes for a price. Every reader of the tape, the lake and the kernels ask here.

A price lies above zero, but for futures: crude oil settled at -37.63 on 2020-04-20, and a spread between two contracts may
trade anywhere. There any finite number is one. A side of a quote that is empty is written as price 0 everywhere; a future's
is empty where its size is not above 0 either, since contracts can be had for nothing.
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
    """What every price of the market lies above: 0, or minus infinity."""
    return -math.inf if may_be_negative(market) else 0.0


def is_price(value: float, market: Market) -> bool:
    """Whether a trade or a bar may state this price."""
    return floor_of(market) < value <= _LARGEST


def is_side(value: float, market: Market) -> bool:
    """Whether a side of a quote may state this price; 0 stands for an empty one."""
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
    """What a price must be, in words; those of a side that may be empty on request."""
    if may_be_negative(market):
        return "finite number"
    return "finite number from zero up" if may_be_empty else "finite number above zero"


def is_two_sided(market: Market) -> pl.Expr:
    """Of rows of `QUOTES`: whether both sides state a price."""
    return _is_stated("bid", market) & _is_stated("ask", market)


def _is_stated(side: str, market: Market) -> pl.Expr:
    price = pl.col(f"{side}_price")
    if not may_be_negative(market):
        return price > 0
    return (price != 0) | (pl.col(f"{side}_size") > 0).fill_null(value=False)
