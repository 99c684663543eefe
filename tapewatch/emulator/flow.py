"""One pass over a day's seconds that quotes and trades them: the order flow meets the book, event by event.

Quotes follow the efficient price at a breathing distance, lean against what aggressive orders push, and show more depth
on the side that is about to win. Orders arrive as a Poisson process of varying rate; their sides persist, because large
orders are cut into many (Lillo, Mike and Farmer 2005), and know a little of the next seconds. Each order prints one to
four trades against the book as it stands. Not here: dtypes, codes and names (`frames`).
"""

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from tapewatch.emulator.activity import Grids
from tapewatch.emulator.randomness import Floats, State, exponential, normal, uniform

Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.uint8]

#: Kinds of print, which `frames` turns into condition codes.
REGULAR, SWEEP, MIDPOINT, LATE_PRICED, AUCTION_OPEN, AUCTION_CLOSE, OFFICIAL_OPEN, OFFICIAL_CLOSE = range(8)

#: Trade prices count hundredths of a tick: off-exchange prints improve on the quote by less than one.
SUB_TICKS = 100

_FORESIGHT_S = 4
_MEMORY_S = 25.0


@dataclass(frozen=True, slots=True)
class Tape:
    """What the kernel wrote: times in ns from the grid's start, strictly increasing; quotes in ticks, trades in
    hundredths of a tick; sizes in units of the median size."""

    quote_time: Ints
    bid: Ints
    ask: Ints
    bid_size: Floats
    ask_size: Floats
    trade_time: Ints
    trade_price: Ints
    trade_size: Floats
    side: npt.NDArray[np.int8]
    kind: Codes


def tape(grids: Grids, opens: int, closes: int, auction_size: float, state: State) -> Tape:
    """Quote and trade a day.

    Args:
        grids: the day by the second.
        opens, closes: seconds of the opening and the closing auction; negative where the market holds none.
        auction_size: size of the closing auction in median trades.
        state: the random numbers, which are used up.
    """
    trades, quotes = grids.expected
    # Ten standard deviations of the Poisson counts; a quote may also be forced by a trade that would miss the book.
    room_trades = trades + int(20 * np.sqrt(trades)) + 64
    room_quotes = quotes + trades + int(20 * np.sqrt(quotes + trades)) + 64
    times = np.empty(room_quotes, np.int64), np.empty(room_trades, np.int64)
    book = np.empty((2, room_quotes), np.int64)
    depths = np.empty((2, room_quotes))
    price, size = np.empty(room_trades, np.int64), np.empty(room_trades)
    side, kind = np.empty(room_trades, np.int8), np.empty(room_trades, np.uint8)
    q, t = _run(
        grids.mid, grids.half_spread, grids.orders, grids.quotes, grids.size, grids.depth, grids.flow, grids.flicker,
        grids.volatility, opens, closes, auction_size, state, *times, book, depths, price, size, side, kind,
    )  # fmt: skip
    return Tape(
        times[0][:q], book[0, :q], book[1, :q], depths[0, :q], depths[1, :q], times[1][:t], price[:t], size[:t],
        side[:t], kind[:t],
    )  # fmt: skip


@numba.njit(cache=True)
def _run(
    mid: Floats, half_spread: Floats, orders: Floats, quotes: Floats, size_by: Floats, depth_by: Floats, flow: Floats,
    flicker: Floats, volatility: Floats, opens: int, closes: int, auction_size: float, state: State, quote_time: Ints,
    trade_time: Ints, book: Ints, depths: Floats, price: Ints, size: Floats, side: npt.NDArray[np.int8], kind: Codes,
) -> tuple[int, int]:  # fmt: skip
    q, t = 0, 0
    now, last = 0.0, 0
    second, seconds = 0, orders.size
    wait = exponential(state)
    impact, impact_time = 0.0, 0.0
    noise = 0.0
    parent_side, parent_left = 1, 0
    bid, ask = 0, 0
    is_quoted = False
    bid_depth, ask_depth = 1.0, 1.0
    while second < seconds:
        rate = orders[second] + quotes[second]
        remaining = (second + 1) - now
        if wait > rate * remaining:
            wait -= rate * remaining
            second += 1
            now = float(second)
            if second == opens or second == closes:
                # An auction prints at the open's or the close's first moment, inside a fresh quote.
                fair = mid[second]
                bid, ask = _around(fair, half_spread[second], 1.0)
                last = max(last + 1000, second * 1_000_000_000 + 2_000_000)
                quote_time[q], book[0, q], book[1, q], depths[0, q], depths[1, q] = last, bid, ask, 6.0, 6.0
                q += 1
                is_open = second == opens
                at = (bid + (ask - bid) // 2) * SUB_TICKS
                amount = auction_size * (0.25 if is_open else 1.0) * (0.7 + 0.6 * uniform(state))
                for official in range(2):
                    last += 1_000_000 + official * 250_000_000
                    trade_time[t], price[t], size[t], side[t] = last, at, amount, 0
                    kind[t] = (
                        (OFFICIAL_OPEN if is_open else OFFICIAL_CLOSE)
                        if official
                        else (AUCTION_OPEN if is_open else AUCTION_CLOSE)
                    )
                    t += 1
            continue
        now += wait / rate
        wait = exponential(state)
        last = max(last + 1000, np.int64(now * 1e9))
        if last > seconds * 1_000_000_000 - 1_000_000:
            break
        inside = now - second
        fair = mid[second] + (mid[second + 1] - mid[second]) * inside
        fade = 1.0 - (now - impact_time) / _MEMORY_S
        impact = impact * fade if fade > 0.0 else 0.0
        impact_time = now
        ahead = min(second + _FORESIGHT_S, seconds)
        coming = (mid[ahead] - fair) / (2.0 * volatility[second])
        coming = min(max(coming, -1.0), 1.0)
        is_order = uniform(state) * rate < orders[second]
        # An order that finds the book gone sees it renewed first.
        if not (is_order and is_quoted and bid <= fair + impact <= ask):
            noise = 0.9 * noise + 0.3 * normal(state)
            spread = half_spread[second] * (1.0 + 0.12 * abs(noise))
            lean = impact + 0.25 * noise * half_spread[second]
            if flicker[second] > 0.0:
                # Stuffing: the book jumps out and back by a tick, saying nothing.
                lean += 0.0 if q % 2 else 0.9 * half_spread[second]
                spread *= 1.0 + 0.5 * (q % 2)
            new_bid, new_ask = _around(fair + lean, spread, 0.0)
            if not new_bid <= fair + impact <= new_ask:
                new_bid, new_ask = _around(fair + impact, spread, 0.0)
            has_moved = new_bid != bid or new_ask != ask
            if has_moved or uniform(state) < 0.5:
                bid_depth = _amount(state) * (1.0 + 0.5 * coming)
            if has_moved or uniform(state) < 0.5:
                ask_depth = _amount(state) * (1.0 - 0.5 * coming)
            bid, ask = new_bid, new_ask
            is_quoted = True
            quote_time[q], book[0, q], book[1, q] = last, bid, ask
            depths[0, q], depths[1, q] = bid_depth * depth_by[second], ask_depth * depth_by[second]
            q += 1
            last += 1000
        if is_order:
            # The side: part of a parent order in work, or fresh, tilted by what is coming and by the day's pressure.
            pressure = flow[second]
            tilt = min(max(0.22 * coming + pressure, -0.97), 0.97)
            if parent_left > 0 and uniform(state) < 0.6:
                parent_left -= 1
                sign = parent_side
                if pressure != 0.0 and uniform(state) < abs(pressure):
                    sign = 1 if pressure > 0 else -1
            else:
                sign = 1 if uniform(state) < 0.5 + 0.5 * tilt else -1
                if parent_left == 0 and uniform(state) < 0.12:
                    parent_side = sign
                    parent_left = np.int64(3.0 / (0.04 + uniform(state)))
            draw = uniform(state)
            prints = 1 if draw < 0.68 else (2 if draw < 0.86 else (3 if draw < 0.96 else 4))
            touch = ask if sign > 0 else bid
            for number in range(prints):
                pick = uniform(state)
                what, at = REGULAR, touch * SUB_TICKS
                if prints > 1:
                    what = SWEEP
                elif pick < 0.10:
                    what = MIDPOINT
                    at = (bid + ask) * SUB_TICKS // 2
                elif pick < 0.22:
                    what = MIDPOINT
                    at -= sign * (1 + np.int64(uniform(state) * 20.0))
                elif pick < 0.224:
                    what = LATE_PRICED
                    at = np.int64((fair + normal(state) * 40.0 * half_spread[second]) * SUB_TICKS)
                if number > 0:
                    last += 1000 + np.int64(uniform(state) * 40_000.0)
                amount = _amount(state) * size_by[second]
                trade_time[t], price[t], size[t], side[t], kind[t] = last, at, amount, sign, what
                t += 1
            impact += sign * half_spread[second] * (0.10 + 0.08 * prints)
    return q, t


@numba.njit(cache=True)
def _around(fair: float, half: float, least: float) -> tuple[int, int]:
    """Bid and ask in whole ticks about a price, at least one tick apart."""
    half = max(half, 0.5 * least)
    bid = np.int64(np.floor(fair - half + 0.5))
    ask = np.int64(np.floor(fair + half + 0.5))
    if ask <= bid:
        bid = np.int64(np.floor(fair))
        ask = bid + 1
    return max(bid, 1), max(ask, 2)


@numba.njit(cache=True, inline="always")
def _amount(state: State) -> float:
    """A size about 1: many small, some large, a tail that falls off as a power of about 2."""
    draw = uniform(state)
    if draw < 0.9:
        return 0.05 + 1.6 * uniform(state)
    return 1.5 / np.sqrt(0.004 + uniform(state))
