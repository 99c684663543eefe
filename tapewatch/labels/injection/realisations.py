"""Three independent realisations of each kind of anomaly: other courses, prints and quotes, one of them in bursts."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tapewatch.labels.injection import paths
from tapewatch.labels.injection.ticks import Ticks
from tapewatch.market.instruments import NS_PER_SECOND

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Rng = np.random.Generator

_MS: Final = 1_000_000


@dataclass(frozen=True)
class Own:
    """Sizes that the symbol trades in, without the largest, and its trades a second."""

    sizes: Floats
    rate: float


#: Changes a stretch by an amount: bps of price, or what is added of trades, quotes or seconds. None where it cannot.
Change = Callable[[Ticks, float, Own, Rng], Ticks | None]


@dataclass(frozen=True)
class Realisation:
    """One way in which a kind occurs, and how many seconds it takes."""

    name: str
    seconds: int
    change: Change


def _uniform(ticks: Ticks, count: int, rng: Rng) -> Integers:
    return np.sort(rng.integers(ticks.start, ticks.end, count))


def _hump(ticks: Ticks, count: int, rng: Rng) -> Integers:
    """Few, many, few."""
    return np.sort((ticks.start + rng.beta(2.0, 3.0, count) * (ticks.end - ticks.start - 1)).astype(np.int64))


def _bursts(ticks: Ticks, count: int, rng: Rng) -> Integers:
    """In bursts of about a dozen within a tenth of a second."""
    starts = rng.integers(ticks.start, ticks.end - 100 * _MS, max(1, count // 12))
    return np.sort(rng.choice(starts, count) + rng.integers(0, 100 * _MS, count))


Times = Callable[[Ticks, int, Rng], Integers]


def _with_prints(ticks: Ticks, times: Integers, sides: Integers, sizes: Floats, rng: Rng) -> Ticks | None:
    """With regular trades at the touch, copies of the stretch's own."""
    known = ticks.trade_row[~ticks.trade_new]
    if not known.size:
        known = np.array([row for row in [ticks.trades.height - 1] if row >= 0], dtype=np.int64)
    if not known.size:
        return None
    bid, ask = ticks.touch(times)
    return ticks.with_trades(times, np.where(sides > 0, ask, bid), sizes, rng.choice(known, times.size), sides)


def _sizes(own: Own, count: int, total: float, rng: Rng) -> Floats:
    """Own sizes that sum to `total`, whole where the symbol trades in whole units."""
    drawn = rng.choice(own.sizes, count)
    scaled = drawn * (total / drawn.sum())
    if not bool(np.all(own.sizes == np.round(own.sizes))):
        return np.asarray(np.maximum(np.round(scaled, 8), 1e-8))
    whole = np.maximum(np.floor(scaled), 1.0)
    # What rounding took off goes to the largest.
    whole[np.argmax(whole)] += max(round(total - whole.sum()), 0)
    return np.asarray(whole)


def _volume(times: Times, larger: float) -> Change:
    """Trades worth `amount` shares, each `larger` times as large as usual, on both sides."""

    def change(ticks: Ticks, amount: float, own: Own, rng: Rng) -> Ticks | None:
        if not own.sizes.size or amount <= 0:
            return None
        count = max(2, round(amount / (larger * own.sizes.mean())))
        sides = rng.choice(np.array([-1, 1]), count)
        return _with_prints(ticks, times(ticks, count, rng), sides, _sizes(own, count, amount, rng), rng)

    return change


def _flow(times: Times, *, turns_all: bool) -> Change:
    """`amount` trades more of one side than of the other; maybe the trades that are there take the side too."""

    def change(ticks: Ticks, amount: float, own: Own, rng: Rng) -> Ticks | None:
        side = int(rng.choice([-1, 1]))
        if not own.sizes.size:
            return None
        now = ticks.sides()
        turned = ticks
        if turns_all and ticks.is_quoted:
            bid, ask = ticks.touch(ticks.trade_time)
            turned = replace(
                ticks,
                trade_price=ask if side > 0 else bid,
                stated=np.full(now.size, side) if ticks.market == "crypto" else ticks.stated,
            )
            now = np.full(now.size, side)
        elif not ticks.is_quoted:
            now = np.full(now.size, side)
        count = round(amount - side * now.sum())
        if count <= 0:
            return None
        # A turned trade lies on a touch, also where the book was crossed.
        sizes = rng.choice(own.sizes, count)
        done = _with_prints(turned, times(ticks, count, rng), np.full(count, side), sizes, rng)
        return done if done is None or ticks.is_quoted else _never_back(done, side)

    return change


def _never_back(ticks: Ticks, side: int) -> Ticks:
    """Prices that never fall (or rise), so that the tick rule finds one side only."""
    best = np.maximum if side > 0 else np.minimum
    start = round(ticks.price + side * ticks.tick, 10)
    return replace(ticks, trade_price=best(best.accumulate(ticks.trade_price), start))


def _stuffing(times: Times, *, flickers: bool) -> Change:
    """`amount` more quotes: other sizes at the same prices, or the bid a tick lower and back within milliseconds."""

    def change(ticks: Ticks, amount: float, _: Own, rng: Rng) -> Ticks | None:
        count = round(amount)
        if not ticks.is_quoted or count <= 0:
            return None
        if flickers:
            when = times(ticks, (count + 1) // 2, rng)
            off = ticks.with_quotes(when, np.ones(when.size), ticks.tick)
            back = np.minimum(when + rng.integers(_MS, 20 * _MS, when.size), ticks.end - 1)
            back = np.sort(back)
            # Back to what the tape's own quotes say at that time.
            own = ticks.with_quotes(back, np.ones(back.size))
            return _merged(off, own)
        when = times(ticks, count, rng)
        return ticks.with_quotes(when, rng.integers(1, 6, count).astype(np.float64))

    return change


def _merged(one: Ticks, other: Ticks) -> Ticks:
    """The quotes of `one`, and the new ones of `other`."""
    new = other.quote_new
    every = np.append(one.quote_time, other.quote_time[new])
    order = np.argsort(every, kind="stable")

    def joined(name: str) -> Any:
        return np.asarray(np.append(getattr(one, name), getattr(other, name)[new])[order])

    names = ("quote_time", "quote_bid", "quote_ask", "quote_row", "quote_new", "lots")
    return replace(one, **{name: joined(name) for name in names})


def _move(course: Callable[[int, Rng], Floats], *, in_bursts: bool = False, prints: float = 0.0) -> Change:
    """Prices follow a course of `amount` bps, by half ticks of the midquote; `prints` times the usual trades go with it."""

    def change(ticks: Ticks, amount: float, own: Own, rng: Rng) -> Ticks | None:
        seconds = int((ticks.end - ticks.start) // NS_PER_SECOND)
        price = 0.5 * (ticks.bid + ticks.ask) if ticks.is_quoted else ticks.price
        if not price > 0:
            return None
        units = course(seconds, rng)
        halves = np.round(2.0 * price * np.expm1(amount * units / 1e4) / ticks.tick).astype(np.int64)
        if not ticks.is_quoted:
            halves = 2 * np.round(halves / 2).astype(np.int64)
        times, bid, ask = _changes(ticks, np.floor_divide(halves, 2), -np.floor_divide(-halves, 2), rng)
        if in_bursts:
            times, bid, ask = _restated(ticks, times, bid, ask, rng)
        moved = ticks.shifted(times, bid, ask)
        count = round(prints * own.rate * seconds)
        if moved is None or not count or not own.sizes.size:
            return moved
        when = (_bursts if in_bursts else _uniform)(ticks, count, rng)
        slope = np.gradient(units)[(when - ticks.start) // NS_PER_SECOND]
        sides = np.where(slope > 0, 1, np.where(slope < 0, -1, rng.choice([-1, 1], count)))
        return _with_prints(moved, when, sides, rng.choice(own.sizes, count), rng)

    return change


def _widen(course: Callable[[int, Rng], Floats], *, one_side: bool = False, in_bursts: bool = False) -> Change:
    """The spread widens by `amount` bps of the price: both sides move away, or the offer alone."""

    def change(ticks: Ticks, amount: float, _: Own, rng: Rng) -> Ticks | None:
        if not ticks.is_quoted:
            return None
        seconds = int((ticks.end - ticks.start) // NS_PER_SECOND)
        wider = np.round(amount / 1e4 * ticks.bid * course(seconds, rng) / ticks.tick).astype(np.int64)
        bid = np.zeros_like(wider) if one_side else -np.floor_divide(wider, 2)
        times, bid, ask = _changes(ticks, bid, bid + wider, rng)
        if in_bursts:
            times, bid, ask = _restated(ticks, times, bid, ask, rng)
        return ticks.shifted(times, bid, ask)

    return change


def _changes(ticks: Ticks, bid: Integers, ask: Integers, rng: Rng) -> tuple[Integers, Integers, Integers]:
    """When within its second each new place is taken, and the places."""
    within = rng.integers(50 * _MS, 900 * _MS, bid.size)
    is_new = (np.diff(bid, prepend=0) != 0) | (np.diff(ask, prepend=0) != 0)
    times = ticks.start + np.arange(bid.size) * NS_PER_SECOND + within
    return times[is_new], bid[is_new], ask[is_new]


def _restated(
    ticks: Ticks, times: Integers, bid: Integers, ask: Integers, rng: Rng
) -> tuple[Integers, Integers, Integers]:
    """Each place is stated two to six times within 80 ms."""
    repeats = rng.integers(2, 7, times.size)
    each = np.repeat(np.arange(times.size), repeats)
    first = np.append(True, each[1:] != each[:-1]) if each.size else np.empty(0, dtype=np.bool_)
    when = np.minimum(times[each] + np.where(first, 0, rng.integers(1, 80 * _MS, each.size)), ticks.end - 1)
    order = np.argsort(when, kind="stable")
    return when[order], bid[each][order], ask[each][order]


def _silent(ticks: Ticks, amount: float, _own: Own, _rng: Rng) -> Ticks | None:
    """Nothing comes for `amount` seconds, then the quote that is in force."""
    end = ticks.start + round(amount * NS_PER_SECOND)
    return _kept(ticks, lambda time: time >= end, [end]) if end < ticks.end else None


def _silent_twice(ticks: Ticks, amount: float, _own: Own, _rng: Rng) -> Ticks | None:
    """Nothing comes for `amount` seconds, something for two, nothing until a second before the end."""
    end, back = ticks.start + round(amount * NS_PER_SECOND), ticks.end - NS_PER_SECOND
    if end >= back:
        return None
    return _kept(ticks, lambda t: ((t >= end) & (t < end + 2 * NS_PER_SECOND)) | (t >= back), [end, back])


def _silent_and_late(ticks: Ticks, amount: float, _own: Own, _rng: Rng) -> Ticks | None:
    """Nothing comes for `amount` seconds, then all of it within a quarter of a second, in order."""
    end = ticks.start + round(amount * NS_PER_SECOND)
    burst = end + 250 * _MS
    times = np.unique(np.append(ticks.trade_time, ticks.quote_time))
    times = times[times < burst]
    if burst >= ticks.end:
        return None

    def late(time: Integers) -> Integers:
        rank = np.searchsorted(times, time)
        return np.where(time < burst, end + rank * (250 * _MS) // max(times.size, 1), time)

    return replace(ticks, trade_time=late(ticks.trade_time), quote_time=late(ticks.quote_time), is_cleared=True)


def _kept(ticks: Ticks, is_kept: Callable[[Integers], npt.NDArray[np.bool_]], returns: list[int]) -> Ticks:
    """The ticks that are kept, and the quote in force at each return."""
    if ticks.is_quoted:
        ticks = ticks.with_quotes(np.array(returns), np.ones(len(returns)))
    trades, quotes = is_kept(ticks.trade_time), is_kept(ticks.quote_time) | ticks.quote_new
    names = {"trade": ("time", "price", "size", "row", "new"), "quote": ("time", "bid", "ask", "row", "new")}
    chosen: dict[str, Any] = {
        f"{group}_{name}": getattr(ticks, f"{group}_{name}")[trades if group == "trade" else quotes]
        for group, of in names.items()
        for name in of
    }
    return replace(ticks, stated=ticks.stated[trades], lots=ticks.lots[quotes], is_cleared=True, **chosen)


#: Natural silences are the longest of so many seconds; the anomaly lasts as long as it is asked to.
OUTAGE_SECONDS: Final = 300

REALISATIONS: Final[dict[str, tuple[Realisation, ...]]] = {
    "volume_spike": (
        Realisation("even", 90, _volume(_uniform, 1.0)),
        Realisation("swelling", 150, _volume(_hump, 3.0)),
        Realisation("bursts", 120, _volume(_bursts, 1.5)),
    ),
    "price_jump": (
        Realisation("slow_return", 150, _move(paths.jump_and_slow_return)),
        Realisation("decay", 180, _move(paths.jump_in_steps_and_decay, prints=1.0)),
        Realisation("bursts", 120, _move(paths.jump_and_stay, in_bursts=True, prints=0.5)),
    ),
    "flash_crash": (
        Realisation("even", 120, _move(paths.crash_even)),
        Realisation("sudden", 150, _move(paths.crash_sudden, prints=1.0)),
        Realisation("bursts", 100, _move(paths.crash_in_stairs, in_bursts=True, prints=1.0)),
    ),
    "volatility_burst": (
        Realisation("noise", 180, _move(paths.noise)),
        Realisation("waves", 240, _move(paths.swinging, prints=0.5)),
        Realisation("bursts", 240, _move(paths.to_and_fro, in_bursts=True)),
    ),
    "spread_blowout": (
        Realisation("both_sides", 150, _widen(paths.wide)),
        Realisation("offer_only", 240, _widen(paths.widening, one_side=True)),
        Realisation("bursts", 180, _widen(paths.wide_now_and_then, in_bursts=True)),
    ),
    "quote_stuffing": (
        Realisation("sizes", 90, _stuffing(_uniform, flickers=False)),
        Realisation("flicker", 150, _stuffing(_hump, flickers=True)),
        Realisation("bursts", 120, _stuffing(_bursts, flickers=False)),
    ),
    "one_sided_flow": (
        Realisation("all_turned", 360, _flow(_uniform, turns_all=True)),
        Realisation("added", 420, _flow(_uniform, turns_all=False)),
        Realisation("bursts", 480, _flow(_bursts, turns_all=False)),
    ),
    "correlation_break": (
        Realisation("straight", 1200, _move(paths.drift_straight)),
        Realisation("smooth", 1500, _move(paths.drift_smooth)),
        Realisation("bursts", 1320, _move(paths.drift_in_steps, in_bursts=True)),
    ),
    "pump_and_dump": (
        Realisation("even", 480, _move(paths.pump_even, prints=1.0)),
        Realisation("hastening", 600, _move(paths.pump_hastening, prints=2.0)),
        Realisation("bursts", 540, _move(paths.pump_in_stairs, in_bursts=True, prints=1.5)),
    ),
    "feed_outage": (
        Realisation("silence", OUTAGE_SECONDS, _silent),
        Realisation("late_burst", OUTAGE_SECONDS, _silent_and_late),
        Realisation("stutter", OUTAGE_SECONDS, _silent_twice),
    ),
}
