"""The best bid and offer in the kernel that generates a day: their state, their renewal, and the quotes written.

Quotes follow the efficient price at a varying distance, lean with the impact of aggressive orders, and show more depth on
the side toward which the price is about to move.
"""

import numpy as np

from tapewatch.emulator.synthetic.activity import DEPTH, FLICKER, HALF_SPREAD, MID
from tapewatch.emulator.synthetic.randomness import Floats, State, normal, uniform
from tapewatch.market.compiled import njit

NS_PER_SECOND = 1_000_000_000
#: The least time between two messages of a symbol.
STEP_NS = 1000

# The kernel's state is one array, because each array argument of a compiled function costs time: time of the last message,
# number of quotes and trades written, best prices in ticks (0 before the first quote), their sizes in medians, the orders'
# impact in ticks and its time in seconds, the quotes' noise, side and remaining prints of the current large order.
LAST, QUOTES, TRADES, BID, ASK, BID_SIZE, ASK_SIZE, IMPACT, IMPACT_TIME, NOISE, SIDE, LEFT = range(12)
MEMORY = 12

#: Rows of the array of quotes; all but the sizes are whole numbers.
QUOTE_TIME, QUOTE_BID, QUOTE_ASK, QUOTE_BID_SIZE, QUOTE_ASK_SIZE = range(5)

_IMPACT_MEMORY_S = 25.0
_NOISE_KEPT, _NOISE_ADDED = 0.9, 0.3
_AUCTION_DEPTH = 6.0


@njit(cache=True)
def is_tradable(memory: Floats, fair: float) -> bool:
    """Whether the best bid and offer enclose the price."""
    return bool(memory[BID] > 0 and memory[BID] <= fair <= memory[ASK])


@njit(cache=True)
def pushed(memory: Floats, fair: float, now: float) -> float:
    """The price plus the remaining impact of orders, which fades within half a minute."""
    fade = max(1.0 - (now - memory[IMPACT_TIME]) / _IMPACT_MEMORY_S, 0.0)
    memory[IMPACT] *= fade
    memory[IMPACT_TIME] = now
    return float(fair + memory[IMPACT])


@njit(cache=True)
def renew(grid: Floats, second: int, fair: float, coming: float, state: State, memory: Floats, quotes: Floats) -> None:
    """Write a quote around `fair`; `coming` in -1 … 1 is the direction of the price."""
    half = grid[HALF_SPREAD, second]
    noise = _NOISE_KEPT * memory[NOISE] + _NOISE_ADDED * normal(state)
    memory[NOISE] = noise
    spread, lean = half * (1.0 + 0.12 * abs(noise)), 0.25 * noise * half
    if grid[FLICKER, second] > 0.0 and memory[QUOTES] % 2 == 0:
        # Quote stuffing: every other quote jumps away and back.
        lean += 0.9 * half
    bid, ask = around(fair + lean, spread)
    if not bid <= fair <= ask:
        bid, ask = around(fair, spread)
    has_moved = bid != memory[BID] or ask != memory[ASK]
    if has_moved or uniform(state) < 0.5:
        memory[BID_SIZE] = amount(state) * (1.0 + 0.5 * coming) * grid[DEPTH, second]
    if has_moved or uniform(state) < 0.5:
        memory[ASK_SIZE] = amount(state) * (1.0 - 0.5 * coming) * grid[DEPTH, second]
    memory[BID], memory[ASK] = bid, ask
    write(memory, quotes)


@njit(cache=True)
def renew_for_auction(grid: Floats, second: int, memory: Floats, quotes: Floats) -> None:
    """Write the quote of an auction: deep, and at least two ticks wide."""
    bid, ask = around(grid[MID, second], max(grid[HALF_SPREAD, second], 1.0))
    memory[BID], memory[ASK] = bid, ask
    memory[BID_SIZE], memory[ASK_SIZE] = _AUCTION_DEPTH, _AUCTION_DEPTH
    write(memory, quotes)


@njit(cache=True)
def write(memory: Floats, quotes: Floats) -> None:
    """Write the current quote at the time of the last message."""
    number = np.int64(memory[QUOTES])
    quotes[QUOTE_TIME, number] = memory[LAST]
    quotes[QUOTE_BID, number], quotes[QUOTE_ASK, number] = memory[BID], memory[ASK]
    quotes[QUOTE_BID_SIZE, number], quotes[QUOTE_ASK_SIZE, number] = memory[BID_SIZE], memory[ASK_SIZE]
    memory[QUOTES] = number + 1


@njit(cache=True)
def around(fair: float, half: float) -> tuple[float, float]:
    """Bid and ask in whole ticks around a price, at least one tick apart."""
    bid, ask = np.floor(fair - half + 0.5), np.floor(fair + half + 0.5)
    if ask <= bid:
        bid = np.floor(fair)
        ask = bid + 1.0
    return max(bid, 1.0), max(ask, 2.0)


@njit(cache=True)
def amount(state: State) -> float:
    """A size around 1 with a power-law tail (exponent about 2)."""
    if uniform(state) < 0.9:
        return 0.05 + 1.6 * uniform(state)
    return float(1.5 / np.sqrt(0.004 + uniform(state)))
