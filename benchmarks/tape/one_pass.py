"""Minute microstructure of a recorded day, and the same arrays in one compiled pass that leaves OHLCV and spread alone.

Run: python -m benchmarks.tape.one_pass [--rounds N]. Needs the recorded days. The peer passes over each symbol's trades and quotes by itself, honours
the vendor's rules for opens, highs and volume, and weighs the spread of valid quotes by time; it signs no trade and remembers nothing. It
runs on one core and reads arrays that are ready for it; ours begins with frames. The least of the rounds counts.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np

from benchmarks.measuring import MARKET_DATA
from tapewatch.features import kernel
from tapewatch.features.microstructure import microstructure
from tapewatch.features.records import MINUTE, fresh_states, room_for_waiting
from tapewatch.features.sums import flat_quotes, minute_sums, spans
from tapewatch.market.arrays import Array, flat_trades, session_bounds
from tapewatch.market.compiled import njit
from tapewatch.market.conditions import STOCK_UPDATE_RULES, Updates
from tapewatch.market.instruments import NS_PER_MINUTE, Market, Partition
from tapewatch.market.prices import floor_of
from tests.support.recorded import TICK_DAYS, recorded_quotes, recorded_trades

_OPEN_CLOSE, _HIGH_LOW, _VOLUME = (int(each) for each in (Updates.OPEN_CLOSE, Updates.HIGH_LOW, Updates.VOLUME))


@njit(nogil=True, error_model="numpy")
def one_pass(
    time: Array,
    price: Array,
    size: Array,
    condition: Array,
    traits: Array,
    at: Array,
    bid: Array,
    ask: Array,
    start: int,
    out: Array,
) -> None:
    """Fill `out`, minutes x (open, high, low, close, volume, notional, spread x time, time) with NaN prices before."""
    for row in range(time.size):
        minute, trait = (time[row] - start) // NS_PER_MINUTE, traits[condition[row]]
        if trait & _OPEN_CLOSE:
            if np.isnan(out[minute, 0]):
                out[minute, 0] = price[row]
            out[minute, 3] = price[row]
        if trait & _HIGH_LOW:
            out[minute, 1] = out[minute, 1] if price[row] <= out[minute, 1] else price[row]
            out[minute, 2] = out[minute, 2] if price[row] >= out[minute, 2] else price[row]
        if trait & _VOLUME:
            out[minute, 4] += size[row]
            out[minute, 5] += size[row] * price[row]
    for row in range(at.size - 1):
        if 0.0 < bid[row] <= ask[row]:
            spread = (ask[row] - bid[row]) / (0.5 * (ask[row] + bid[row]))
            since, until = at[row], at[row + 1]
            while since < until:
                minute = (since - start) // NS_PER_MINUTE
                end = min(until, start + (minute + 1) * NS_PER_MINUTE)
                out[minute, 6] += spread * (end - since)
                out[minute, 7] += end - since
                since = end


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25)
    rounds = parser.parse_args().rounds
    if not MARKET_DATA.is_dir():
        raise SystemExit(f"no recorded days at {MARKET_DATA}: set TAPEWATCH_MARKET_DATA")
    session = Partition(TICK_DAYS[-1], Market.STOCKS).session
    trades, quotes = (read(MARKET_DATA, TICK_DAYS[-1]).rechunk() for read in (recorded_trades, recorded_quotes))
    (trade_symbols, flat), (quote_symbols, quoted) = (
        flat_trades(trades, session, STOCK_UPDATE_RULES),
        flat_quotes(quotes),
    )
    names = tuple(sorted({*trade_symbols, *quote_symbols}))
    rows = spans(names, (trade_symbols, flat.offsets), (quote_symbols, quoted.offsets))
    sums = minute_sums(trades, quotes, session, STOCK_UPDATE_RULES, through_ns=session.day_end)
    starts = [sums["start"][sums.symbol == at] for at in range(len(names))]
    hours, floor = session_bounds(session), floor_of(session.market)

    def peer() -> list[Array]:
        found = []
        for row in rows:
            out = np.zeros((24 * 60, 8))
            out[:, :4] = np.nan
            t, q = slice(row.first_trade, row.last_trade), slice(row.first_quote, row.last_quote)
            one_pass(
                flat.time[t], flat.price[t], flat.size[t], flat.condition[t], flat.traits, quoted.time[q], quoted.bid[q],
                quoted.ask[q], session.day_start, out,
            )  # fmt: skip
            found.append(out)
        return found

    def passes() -> None:
        for row, start in zip(rows, starts, strict=True):
            minutes = np.zeros(start.size, dtype=MINUTE)
            minutes["start"] = start
            waiting = room_for_waiting(row.last_trade - row.first_trade)
            kernel.summarise(
                flat,
                quoted,
                row,
                hours,
                floor,
                False,
                False,
                minutes,
                fresh_states(1)[0],
                waiting,
                0,
                0,
                False,
                hours.day_end,
            )

    volume = sum(out[:, 4].sum() for out in peer())
    if not np.isclose(volume, sums["volume"].sum(), rtol=0.02):
        raise SystemExit(f"the peer's volume is {volume:,.0f}, ours {sums['volume'].sum():,.0f}")
    sides: dict[str, Callable[[], object]] = {
        "OHLCV and spread, one pass": peer,
        "our pass alone, one core": passes,
        "microstructure, from frames": lambda: microstructure(trades, quotes, session),
    }
    best = dict.fromkeys(sides, (np.inf, np.inf))
    for _ in range(rounds):
        for name, run in sides.items():
            began, busy = time.perf_counter(), time.process_time()
            run()
            best[name] = min(best[name][0], time.perf_counter() - began), min(best[name][1], time.process_time() - busy)
    ticks, first = trades.height + quotes.height, best["OHLCV and spread, one pass"]
    print(f"{TICK_DAYS[-1]}: {trades.height:,} trades, {quotes.height:,} quotes\n")
    print(f"{'':29}{'ms':>7}{'M ticks/s':>11}{'ratio':>7}{'CPU ms':>8}{'ratio':>7}")
    for name, (seconds, busy) in best.items():
        print(
            f"{name:29}{1e3 * seconds:7.1f}{ticks / seconds / 1e6:11.1f}{seconds / first[0]:7.2f}{1e3 * busy:8.1f}{busy / first[1]:7.2f}"
        )


if __name__ == "__main__":
    main()
