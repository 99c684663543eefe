"""The labelled anomalies of a synthetic day: their schedule and their effects.

An anomaly changes the grids from which the ordinary day is generated (price path, arrival rates, sizes, spread, depth,
flow), so that its quotes and trades stay consistent. A shift of the price fades by the day's end, so that the next day
starts at the same price as without the anomaly.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tapewatch.emulator.synthetic.price_path import PricePath
from tapewatch.emulator.synthetic.randomness import Floats, State, normals, stream, uniform
from tapewatch.emulator.synthetic.universe import Instrument
from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND, Session

#: Each kind's shortest and longest duration in seconds.
DURATIONS: dict[str, tuple[int, int]] = {
    "volume_spike": (180, 600),
    "price_jump": (60, 150),
    "flash_crash": (150, 480),
    "volatility_burst": (240, 720),
    "spread_blowout": (180, 600),
    "quote_stuffing": (60, 240),
    "one_sided_flow": (240, 720),
    "correlation_break": (360, 900),
    "pump_and_dump": (480, 900),
    "feed_outage": (180, 720),
}
KINDS = tuple(DURATIONS)

_MARGIN_NS = 20 * NS_PER_MINUTE
_FEWEST, _MOST = 2, 4
# Each anomaly has its own part of the day and keeps this share of it free at both ends.
_CLEARANCE = 0.1


@dataclass(frozen=True, slots=True)
class ScheduledAnomaly:
    """One anomaly; times in ns UTC, half-open."""

    event_id: str
    kind: str
    start: int
    end: int


@dataclass(slots=True)
class Effects:
    """Changes of a day by the second: an additive log shift and flow, `flicker`, and multipliers (1 is no change)."""

    shift: Floats
    trade_rate: Floats
    quote_rate: Floats
    size: Floats
    spread: Floats
    depth: Floats
    flow: Floats
    flicker: Floats

    @classmethod
    def none(cls, seconds: int) -> "Effects":
        one = {name: np.ones(seconds) for name in ("trade_rate", "quote_rate", "size", "spread", "depth")}
        return cls(shift=np.zeros(seconds + 1), flow=np.zeros(seconds), flicker=np.zeros(seconds), **one)

    def scale(self, window: slice, **multipliers: float) -> None:
        """Multiply some of the multipliers within a window."""
        for name, multiplier in multipliers.items():
            getattr(self, name)[window] *= multiplier


@dataclass(frozen=True, slots=True)
class _Stage:
    """An anomaly's seconds, day and random numbers."""

    first: int
    last: int
    day: PricePath
    volatility: float
    draw: State

    @property
    def window(self) -> slice:
        return slice(self.first, self.last)

    @property
    def seconds(self) -> int:
        return self.last - self.first

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * uniform(self.draw)

    def side(self) -> float:
        return 1.0 if uniform(self.draw) < 0.5 else -1.0

    def part(self, begin: float, end: float) -> slice:
        return slice(self.first + int(begin * self.seconds), self.first + int(end * self.seconds))


def schedule(seed: int, symbol: str, session: Session) -> list[ScheduledAnomaly]:
    """The anomalies of a symbol's day in order of time: two to four that do not overlap, in the regular session and at
    least 20 minutes from its ends."""
    draw = stream(seed, "anomalies", symbol, session.date)
    first, last = session.regular_start + _MARGIN_NS, session.regular_end - _MARGIN_NS
    count = _FEWEST + int(uniform(draw) * (_MOST - _FEWEST + 1))
    stretch = (last - first) // count
    kinds = list(KINDS)
    events = []
    for number in range(count):
        kind = kinds.pop(int(uniform(draw) * len(kinds)))
        shortest, longest = DURATIONS[kind]
        duration = (shortest + int(uniform(draw) * (longest - shortest))) * NS_PER_SECOND
        room = int(stretch * (1.0 - 2.0 * _CLEARANCE)) - duration
        offset = int(stretch * _CLEARANCE) + int(uniform(draw) * max(room, 0))
        start = (first + number * stretch + offset) // NS_PER_SECOND * NS_PER_SECOND
        events.append(ScheduledAnomaly(f"{symbol}-{session.date:%Y%m%d}-{number + 1}", kind, start, start + duration))
    return events


def effects(
    seed: int, instrument: Instrument, session: Session, day: PricePath, events: list[ScheduledAnomaly]
) -> Effects:
    result = Effects.none(day.variance.size)
    for event in events:
        first = (event.start - session.extended_start) // NS_PER_SECOND
        last = (event.end - session.extended_start) // NS_PER_SECOND
        stage = _Stage(first, last, day, instrument.volatility, stream(seed, "effects", event.event_id))
        _ACTS[event.kind](result, stage)
    return result


def _move(result: Effects, stage: _Stage, points: list[tuple[float, float]]) -> None:
    """Shift the price along `points` (share of the window, log shift); the last shift fades over the rest of the day."""
    shares, values = zip(*points, strict=True)
    grid = np.arange(stage.seconds + 1) / stage.seconds
    result.shift[stage.first : stage.last + 1] += np.interp(grid, shares, values)
    rest = result.shift.size - 1 - stage.last
    result.shift[stage.last + 1 :] += values[-1] * (1.0 - np.arange(1, rest + 1) / rest)


def _volume_spike(result: Effects, stage: _Stage) -> None:
    result.scale(stage.window, trade_rate=stage.between(5.0, 10.0), quote_rate=2.0, size=stage.between(1.8, 3.0))


def _price_jump(result: Effects, stage: _Stage) -> None:
    jump = stage.side() * stage.volatility * stage.between(0.55, 1.0)
    _move(result, stage, [(0.0, 0.0), (3.0 / stage.seconds, jump), (1.0, jump)])
    result.scale(stage.window, trade_rate=4.0, quote_rate=3.0, spread=1.8)
    result.flow[stage.part(0.0, 0.5)] += 0.5 * np.sign(jump)


def _flash_crash(result: Effects, stage: _Stage) -> None:
    depth = -stage.volatility * stage.between(1.1, 1.9)
    _move(result, stage, [(0.0, 0.0), (0.3, depth), (0.4, 0.9 * depth), (0.9, 0.08 * depth), (1.0, 0.05 * depth)])
    result.scale(stage.window, trade_rate=4.0, quote_rate=3.0)
    result.scale(stage.part(0.0, 0.6), spread=3.0, depth=0.3)
    result.flow[stage.part(0.0, 0.3)] -= 0.6
    result.flow[stage.part(0.4, 0.9)] += 0.4


def _volatility_burst(result: Effects, stage: _Stage) -> None:
    scale = stage.between(5.0, 8.0)
    shocks = normals(stage.draw, stage.seconds) * np.sqrt(stage.day.variance[stage.window])
    walk = np.concatenate([[0.0], np.cumsum(shocks)]) * scale
    points = list(zip(np.arange(stage.seconds + 1) / stage.seconds, walk, strict=True))
    _move(result, stage, points)
    result.scale(stage.window, trade_rate=2.0, quote_rate=2.0, spread=1.8)


def _spread_blowout(result: Effects, stage: _Stage) -> None:
    result.scale(stage.window, spread=stage.between(6.0, 10.0), depth=0.3, trade_rate=0.8)


def _quote_stuffing(result: Effects, stage: _Stage) -> None:
    result.scale(stage.window, quote_rate=stage.between(15.0, 25.0))
    result.flicker[stage.window] = 1.0
    result.scale(stage.window, depth=0.6)


def _one_sided_flow(result: Effects, stage: _Stage) -> None:
    side = stage.side()
    result.flow[stage.window] += 0.9 * side
    result.scale(stage.window, trade_rate=2.0)
    drift = side * stage.volatility * 0.12
    _move(result, stage, [(0.0, 0.0), (1.0, drift)])


def _correlation_break(result: Effects, stage: _Stage) -> None:
    # Subtracting twice the factor's move reverses the price's reaction to it; a drift against the factor is added.
    factor = stage.day.factor[stage.first : stage.last + 1] - stage.day.factor[stage.first]
    against = -1.0 if factor[-1] > 0 else 1.0
    grid = np.arange(stage.seconds + 1) / stage.seconds
    walk = -2.0 * factor + against * stage.volatility * stage.between(0.35, 0.6) * grid
    _move(result, stage, list(zip(grid, walk, strict=True)))
    result.scale(stage.window, trade_rate=1.3)
    result.flow[stage.window] += 0.35 * against


def _pump_and_dump(result: Effects, stage: _Stage) -> None:
    top = stage.volatility * stage.between(1.4, 2.2)
    _move(result, stage, [(0.0, 0.0), (0.35, 0.3 * top), (0.7, top), (0.85, 0.35 * top), (1.0, 0.1 * top)])
    result.scale(stage.part(0.0, 0.7), trade_rate=3.0)
    result.scale(stage.part(0.7, 1.0), trade_rate=6.0)
    result.scale(stage.window, quote_rate=2.5)
    result.scale(stage.part(0.7, 1.0), size=2.0)
    result.flow[stage.part(0.0, 0.7)] += 0.6
    result.flow[stage.part(0.7, 1.0)] -= 0.75


def _feed_outage(result: Effects, stage: _Stage) -> None:
    result.trade_rate[stage.window] = 0.0
    result.quote_rate[stage.window] = 0.0


_ACTS: dict[str, Callable[[Effects, _Stage], None]] = {
    "volume_spike": _volume_spike,
    "price_jump": _price_jump,
    "flash_crash": _flash_crash,
    "volatility_burst": _volatility_burst,
    "spread_blowout": _spread_blowout,
    "quote_stuffing": _quote_stuffing,
    "one_sided_flow": _one_sided_flow,
    "correlation_break": _correlation_break,
    "pump_and_dump": _pump_and_dump,
    "feed_outage": _feed_outage,
}
