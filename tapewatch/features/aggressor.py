"""Trade signing: the side that the market states, the quote rule, and the tick rule (Lee and Ready 1991).

The quote rule compares a trade with the midpoint in force: above it a buyer initiated, below it a seller. At the midpoint, or
without a valid quote, the tick rule decides by the last price that differed. The quote must be strictly earlier than the
trade, since a quote of the same instant may be its consequence; Lee and Ready's delay of five seconds is not applied.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from tapewatch.features.records import FlatQuotes, Span
from tapewatch.features.sums import flat_quotes, spans
from tapewatch.features.ticks import OPEN_CLOSE, VOLUME, compiled, has_side, quote_side
from tapewatch.market.arrays import (
    EXTENDED_SHIFT,
    SIDE_SHIFT,
    Array,
    FlatTrades,
    SessionBounds,
    flat_trades,
    session_bounds,
)
from tapewatch.market.conditions import STOCK_UPDATE_RULES, Updates
from tapewatch.market.instruments import Market, Session
from tapewatch.market.prices import floor_of
from tapewatch.market.tables import QUOTES

Sides = npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class AggressorAgreement:
    """Agreement of two ways to sign trades, over the trades that both sign.

    In crypto, the vendor's codes against the quote rule; elsewhere, the quote rule against the tick rule.
    """

    compared: int
    agreeing: int

    @property
    def share(self) -> float | None:
        """Share of compared trades that agree; None without any."""
        return self.agreeing / self.compared if self.compared else None


def aggressor_agreement(
    trades: pl.DataFrame,
    quotes: pl.DataFrame | None,
    session: Session,
    rules: Mapping[int, Updates] = STOCK_UPDATE_RULES,
) -> AggressorAgreement:
    """Agreement of codes and quote rule (crypto), or of quote rule and tick rule (other markets).

    Args:
        trades, quotes: rows of whole symbols, sorted as their tables say.
        session: the day they belong to; its market decides what is compared.
        rules: condition code to allowed fields, for stocks.
    """
    stated, by_quote, by_tick = sides_by_rule(trades, quotes, session, rules)
    other = stated if session.market is Market.CRYPTO else by_tick
    is_signed = (other != 0) & (by_quote != 0)
    return AggressorAgreement(int(is_signed.sum()), int((is_signed & (other == by_quote)).sum()))


def sides_by_rule(
    trades: pl.DataFrame, quotes: pl.DataFrame | None, session: Session, rules: Mapping[int, Updates]
) -> tuple[Sides, Sides, Sides]:
    """The side of each trade as its market states it, by the quote rule alone, and by the tick rule alone.

    1 for a buyer, -1 for a seller, 0 where unknown. A trade whose conditions keep it out of the last price or the volume has
    no side by rule. Arguments as in `aggressor_agreement`.
    """
    trade_symbols, flat_t = flat_trades(trades, session, rules)
    quote_symbols, flat_q = flat_quotes(QUOTES.empty() if quotes is None else quotes)
    by_quote, by_tick = np.zeros((2, trades.height), dtype=np.int8)
    floor = floor_of(session.market)
    for span in spans(trade_symbols, (trade_symbols, flat_t.offsets), (quote_symbols, flat_q.offsets)):
        _rule_sides(flat_t, flat_q, span, session_bounds(session), floor, by_quote, by_tick)
    stated = (flat_t.traits[flat_t.condition] >> SIDE_SHIFT).astype(np.int8) - 1
    if flat_t.withdrawn.size:
        stated[flat_t.withdrawn] = 0
    return stated, by_quote, by_tick


@compiled
def _rule_sides(
    trades: FlatTrades,
    quotes: FlatQuotes,
    span: Span,
    hours: SessionBounds,
    floor: float,
    by_quote: Array,
    by_tick: Array,
) -> None:
    """Sign every trade of one symbol that sets price and volume, by the quote rule and by the tick rule alone."""
    quote, last, direction = span.first_quote, np.nan, 0
    for row in range(span.first_trade, span.last_trade):
        at, price = trades.time[row], trades.price[row]
        while quote < span.last_quote and quotes.time[quote] < at:
            quote += 1
        if trades.withdrawn.size and trades.withdrawn[row]:
            continue
        trait = trades.traits[trades.condition[row]]
        may_update = trait if hours.regular_start <= at < hours.regular_end else trait >> EXTENDED_SHIFT
        if not price > floor or not may_update & OPEN_CLOSE:
            continue
        if not np.isnan(last) and price != last:
            direction = 1 if price > last else -1
        last = price
        if not may_update & VOLUME:
            continue
        by_tick[row] = direction
        if quote > span.first_quote:
            bid, ask = quotes.bid[quote - 1], quotes.ask[quote - 1]
            bid_size, ask_size = quotes.bid_size[quote - 1], quotes.ask_size[quote - 1]
            if has_side(bid, bid_size, floor) and has_side(ask, ask_size, floor) and bid <= ask:
                by_quote[row] = quote_side(price, bid, ask)
