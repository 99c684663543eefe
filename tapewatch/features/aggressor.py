"""Trade signing: the side that the market states, the quote rule, and the tick rule (Lee and Ready 1991).

The quote rule compares a trade with the midpoint in force: above it a buyer initiated, below it a seller. At the midpoint, or
without a valid quote, the tick rule decides by the last price that differed. The quote must be strictly earlier than the
trade, since a quote of the same instant may be its consequence; Lee and Ready's delay of five seconds is not applied. An odd lot
is signed by the same rules, but sets no last price for the trades after it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from tapewatch.features.records import FlatQuotes, Span
from tapewatch.features.sums import flat_quotes, spans
from tapewatch.features.ticks import OPEN_CLOSE, VOLUME, compiled, has_side, quote_side, tick_side
from tapewatch.market.arrays import (
    EXTENDED_SHIFT,
    SIDE_MASK,
    SIDE_SHIFT,
    SIGNED_SHIFT,
    Array,
    FlatTrades,
    SessionBounds,
    flat_trades,
    session_bounds,
)
from tapewatch.market.conditions import STOCK_UPDATE_RULES, Updates
from tapewatch.market.instruments import Market, Session
from tapewatch.market.prices import floor_of
from tapewatch.market.tables.tape import QUOTES

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


def agreement_by_exchange(
    trades: pl.DataFrame,
    quotes: pl.DataFrame | None,
    session: Session,
    rules: Mapping[int, Updates] = STOCK_UPDATE_RULES,
) -> pl.DataFrame:
    """Agreement of codes and quote rule (crypto), or of quote rule and tick rule (other markets).

    Args:
        trades, quotes: rows of whole symbols, sorted as their tables say.
        session: the day they belong to; its market decides what is compared.
        rules: condition code to allowed fields, for stocks.

    Returns:
        by `exchange` and `side` (1 buyer, -1 seller; by codes in crypto, else by tick): the trades that both ways sign,
        `compared`, and those among them signed alike, `agreeing`.
    """
    stated, by_quote, by_tick = sides_by_rule(trades, quotes, session, rules)
    other = stated if session.market is Market.CRYPTO else by_tick
    rows = trades.select("exchange", side=pl.Series(other, dtype=pl.Int8), by_quote=pl.Series(by_quote, dtype=pl.Int8))
    signed = rows.filter((pl.col("side") != 0) & (pl.col("by_quote") != 0))
    return (
        signed.group_by("exchange", "side")
        .agg(compared=pl.len(), agreeing=(pl.col("side") == pl.col("by_quote")).sum())
        .sort("exchange", "side")
    )


def aggressor_agreement(
    trades: pl.DataFrame,
    quotes: pl.DataFrame | None,
    session: Session,
    rules: Mapping[int, Updates] = STOCK_UPDATE_RULES,
) -> AggressorAgreement:
    """`agreement_by_exchange`, over all exchanges and both sides."""
    found = agreement_by_exchange(trades, quotes, session, rules)
    return AggressorAgreement(int(found["compared"].sum()), int(found["agreeing"].sum()))


def sides_by_rule(
    trades: pl.DataFrame, quotes: pl.DataFrame | None, session: Session, rules: Mapping[int, Updates]
) -> tuple[Sides, Sides, Sides]:
    """The side of each trade as its market states it, by the quote rule alone, and by the tick rule alone.

    1 for a buyer, -1 for a seller, 0 where unknown. A trade whose conditions keep it out of the last price or the volume has
    no side by rule, unless it is an odd lot and nothing else keeps it out. Arguments as in `aggressor_agreement`.
    """
    trade_symbols, flat_t = flat_trades(trades, session, rules)
    quote_symbols, flat_q = flat_quotes(QUOTES.empty() if quotes is None else quotes)
    by_quote, by_tick = np.zeros((2, trades.height), dtype=np.int8)
    floor = floor_of(session.market)
    for span in spans(trade_symbols, (trade_symbols, flat_t.offsets), (quote_symbols, flat_q.offsets)):
        _rule_sides(flat_t, flat_q, span, session_bounds(session), floor, by_quote, by_tick)
    stated = (flat_t.traits[flat_t.condition] >> SIDE_SHIFT & SIDE_MASK).astype(np.int8) - 1
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
    """Sign every trade of one symbol that sets price and volume, and every odd lot, by the quote rule and by the tick rule alone."""
    quote, last, direction = span.first_quote, np.nan, 0
    for row in range(span.first_trade, span.last_trade):
        at, price = trades.time[row], trades.price[row]
        while quote < span.last_quote and quotes.time[quote] < at:
            quote += 1
        if trades.withdrawn.size and trades.withdrawn[row]:
            continue
        trait = trades.traits[trades.condition[row]]
        is_regular = hours.regular_start <= at < hours.regular_end
        may_update = trait if is_regular else trait >> EXTENDED_SHIFT
        is_signed = trait >> (SIGNED_SHIFT if is_regular else SIGNED_SHIFT + 1) & 1
        if not price > floor or not (may_update & OPEN_CLOSE or is_signed):
            continue
        side = tick_side(price, last, direction)
        if may_update & OPEN_CLOSE:
            last, direction = price, side
        if not may_update & VOLUME:
            continue
        by_tick[row] = side
        if quote > span.first_quote:
            bid, ask = quotes.bid[quote - 1], quotes.ask[quote - 1]
            bid_size, ask_size = quotes.bid_size[quote - 1], quotes.ask_size[quote - 1]
            if has_side(bid, bid_size, floor) and has_side(ask, ask_size, floor) and bid <= ask:
                by_quote[row] = quote_side(price, bid, ask)
