"""The kernel that generates a day's quotes and trades, event by event.

Orders and quotes arrive as a Poisson process of varying rate. The sides of orders persist, because large orders are split
into many (Lillo, Mike and Farmer 2005), and anticipate the next move of the price a little. Each order prints one to four
trades at the best bid or offer.
"""

from typing import NamedTuple

import numpy as np

from tapewatch.emulator.synthetic import book
from tapewatch.emulator.synthetic.activity import (
    FLOW,
    FORESEEN_S,
    HALF_SPREAD,
    MID,
    ORDERS,
    QUOTES,
    SIZE,
    VOLATILITY,
    Grids,
)
from tapewatch.emulator.synthetic.book import ASK, BID, IMPACT, LAST, LEFT, NS_PER_SECOND, SIDE, STEP_NS, TRADES
from tapewatch.emulator.synthetic.randomness import Floats, State, exponential, normal, uniform
from tapewatch.market.compiled import njit

#: Kinds of print; `frames` translates them to condition codes.
REGULAR, SWEEP, OFF_EXCHANGE, LATE_PRICED, AUCTION_OPEN, OFFICIAL_OPEN, AUCTION_CLOSE, OFFICIAL_CLOSE = range(8)

#: Trade prices count hundredths of a tick: off-exchange prints improve on the quote by less than one.
SUB_TICKS = 100

# How strongly the sides of orders anticipate the price.
_FORESIGHT = 0.9
# The share of orders that are part of a large order, and the share of the others that begin one.
_OF_PARENTS, _NEW_PARENTS = 0.6, 0.12
_IMPACT = 0.12
_MARGIN_NS = 1_000_000
_ROOM_DEVIATIONS = 12.0


#: Rows of the array of prints; all but the size are whole numbers.
PRINT_TIME, PRINT_PRICE, PRINT_SIZE, PRINT_SIDE, PRINT_KIND = range(5)


class Auctions(NamedTuple):
    """The seconds of the opening and the closing auction (negative: none), and the closing auction's size."""

    opens: int
    closes: int
    size: float


class SimulatedFlow(NamedTuple):
    """A day's quotes and prints, one a column, in the rows that `book` and this module name.

    Times are ns from the grid's start, strictly increasing over both arrays. Prices are ticks for quotes and hundredths of
    a tick for prints, sizes are in medians.
    """

    quotes: Floats
    prints: Floats

    def lowered(self, ticks: float) -> "SimulatedFlow":
        """The same day with every price lowered by `ticks`."""
        quotes, prints = self.quotes.copy(), self.prints.copy()
        quotes[[book.QUOTE_BID, book.QUOTE_ASK]] -= ticks
        prints[PRINT_PRICE] -= ticks * SUB_TICKS
        return SimulatedFlow(quotes, prints)


def simulate(grids: Grids, auctions: Auctions, *, has_off_exchange: bool, state: State) -> SimulatedFlow:
    """Generate a day.

    Args:
        grids: the day by the second.
        auctions: their times and size.
        has_off_exchange: whether some trades print off exchange, at a better or a late price.
        state: the random numbers; the state is advanced.
    """
    # An order may need a new quote first: at most one more quote for each.
    quotes = np.empty((5, _room(grids.expected_trades + grids.expected_quotes)))
    prints = np.empty((5, _room(grids.expected_trades)))
    memory = np.zeros(book.MEMORY)
    _run(grids.rows, auctions, has_off_exchange, state, memory, quotes, prints)
    return SimulatedFlow(quotes[:, : int(memory[book.QUOTES])], prints[:, : int(memory[TRADES])])


def _room(expected: int) -> int:
    """An upper bound of a Poisson number of rows that come up to four at a time."""
    return expected + int(_ROOM_DEVIATIONS * 2.0 * np.sqrt(expected)) + 64


@njit(cache=True, nogil=True)
def _run(
    grid: Floats,
    auctions: Auctions,
    has_off_exchange: bool,
    state: State,
    memory: Floats,
    quotes: Floats,
    prints: Floats,
) -> None:
    seconds = grid.shape[1] - 1
    end = seconds * NS_PER_SECOND - _MARGIN_NS
    second, now = 0, 0.0
    wait = exponential(state)
    while second < seconds:
        rate = grid[ORDERS, second] + grid[QUOTES, second]
        left = rate * (second + 1 - now)
        if wait > left:
            # No more events in this second: the rest of the wait continues at the next second's rate.
            wait -= left
            second += 1
            now = float(second)
            if second in (auctions.opens, auctions.closes):
                _hold_auction(grid, second, auctions, state, memory, quotes, prints)
            continue
        now += wait / rate
        wait = exponential(state)
        memory[LAST] = max(memory[LAST] + STEP_NS, np.floor(now * NS_PER_SECOND))
        if memory[LAST] > end:
            break
        efficient = grid[MID, second] + (grid[MID, second + 1] - grid[MID, second]) * (now - second)
        fair = book.pushed(memory, efficient, now)
        coming = _coming(grid, second, efficient)
        is_order = uniform(state) * rate < grid[ORDERS, second]
        if not is_order or not book.is_tradable(memory, fair):
            book.renew(grid, second, fair, coming, state, memory, quotes)
        if is_order:
            _trade(grid, second, efficient, coming, has_off_exchange, state, memory, prints)


@njit(cache=True)
def _coming(grid: Floats, second: int, price: float) -> float:
    """The direction of the efficient price in -1 … 1: its next move over twice its deviation."""
    ahead = min(second + FORESEEN_S, grid.shape[1] - 1)
    move = (grid[MID, ahead] - price) / (2.0 * grid[VOLATILITY, second])
    return float(min(max(move, -1.0), 1.0))


@njit(cache=True)
def _trade(
    grid: Floats,
    second: int,
    price: float,
    coming: float,
    has_off_exchange: bool,
    state: State,
    memory: Floats,
    prints: Floats,
) -> None:
    sign = _side(grid[FLOW, second], coming, state, memory)
    touch = memory[ASK if sign > 0 else BID] * SUB_TICKS
    count = _prints(state)
    memory[LAST] += STEP_NS
    for number in range(count):
        kind, at = (SWEEP if count > 1 else REGULAR), touch
        draw = uniform(state)
        if has_off_exchange and count == 1 and draw < 0.224:
            kind = OFF_EXCHANGE
            if draw < 0.10:
                at = (memory[BID] + memory[ASK]) * (SUB_TICKS // 2)
            elif draw < 0.22:
                at = touch - sign * np.floor(1.0 + 20.0 * uniform(state))
            else:
                kind = LATE_PRICED
                at = np.floor((price + 40.0 * grid[HALF_SPREAD, second] * normal(state)) * SUB_TICKS)
        if number > 0:
            memory[LAST] += np.floor(STEP_NS + 40_000.0 * uniform(state))
        _write(memory, prints, at, book.amount(state) * grid[SIZE, second], sign, kind)
    memory[IMPACT] += sign * grid[HALF_SPREAD, second] * _IMPACT * (1.0 + 0.5 * count)


@njit(cache=True)
def _side(flow: float, coming: float, state: State, memory: Floats) -> float:
    """Buy (1) or sell (-1): the side of the current large order, or a random side tilted by `coming` and `flow`."""
    tilt = min(max(_FORESIGHT * coming + flow, -0.97), 0.97)
    fresh = 1.0 if uniform(state) < 0.5 + 0.5 * tilt else -1.0
    if memory[LEFT] > 0 and uniform(state) < _OF_PARENTS:
        memory[LEFT] -= 1
        # One-sided flow overrides a large order on the other side.
        return fresh if uniform(state) < abs(flow) else memory[SIDE]
    if memory[LEFT] == 0 and uniform(state) < _NEW_PARENTS:
        memory[SIDE] = fresh
        memory[LEFT] = np.floor(2.0 / (0.08 + uniform(state)))
    return fresh


@njit(cache=True)
def _prints(state: State) -> int:
    """The number of prints of an order, `activity.PRINTS_PER_ORDER` on average."""
    draw = uniform(state)
    if draw < 0.68:
        return 1
    return 2 if draw < 0.86 else (3 if draw < 0.96 else 4)


@njit(cache=True)
def _hold_auction(
    grid: Floats, second: int, auctions: Auctions, state: State, memory: Floats, quotes: Floats, prints: Floats
) -> None:
    """Print the auction's cross inside a new quote, and the official price after it."""
    memory[LAST] = max(memory[LAST] + STEP_NS, second * NS_PER_SECOND + 2_000_000)
    book.renew_for_auction(grid, second, memory, quotes)
    is_open = second == auctions.opens
    cross, official = (AUCTION_OPEN, OFFICIAL_OPEN) if is_open else (AUCTION_CLOSE, OFFICIAL_CLOSE)
    size = auctions.size * (0.25 if is_open else 1.0) * (0.7 + 0.6 * uniform(state))
    at = np.floor(0.5 * (memory[BID] + memory[ASK])) * SUB_TICKS
    memory[LAST] += 1_000_000
    _write(memory, prints, at, size, 0.0, cross)
    memory[LAST] += 250_000_000
    _write(memory, prints, at, size, 0.0, official)


@njit(cache=True)
def _write(memory: Floats, prints: Floats, price: float, size: float, side: float, kind: int) -> None:
    number = np.int64(memory[TRADES])
    prints[PRINT_TIME, number] = memory[LAST]
    prints[PRINT_PRICE, number] = max(price, 1.0)
    prints[PRINT_SIZE, number] = size
    prints[PRINT_SIDE, number] = side
    prints[PRINT_KIND, number] = kind
    memory[TRADES] = number + 1
