"""An instrument's efficient price: factor returns from day to day, and a path by the second within the day.

The log price reverts slowly to the instrument's level. Each day adds market, sector and own returns that are hashed from
the date, so that a day needs no earlier day and starts where the previous one ended.

Volatility clusters: a day's variance is spread over its seconds by the time of day times the exponentials of two
Ornstein-Uhlenbeck processes, one of the market and one of the instrument.
"""

import datetime as dt
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tapewatch.emulator.synthetic.randomness import Floats, State, exp, normal, normals, stream
from tapewatch.emulator.synthetic.universe import Instrument
from tapewatch.market.compiled import njit
from tapewatch.market.instruments import NS_PER_SECOND, Market, Session

_EPOCH = dt.date(2003, 1, 1)
_REVERSION = 0.004
# The overnight and the intraday part of a stock's daily volatility (shares of variance 0.2 and 0.8).
_OVERNIGHT, _INTRADAY = 0.4472135955, 0.894427191
# Daily volatility of the market's and of a sector's factor.
_FACTOR_VOLATILITY = {
    Market.STOCKS: (0.0095, 0.006),
    Market.CRYPTO: (0.024, 0.014),
    Market.FOREX: (0.004, 0.002),
    Market.INDICES: (0.0095, 0.002),
    Market.OPTIONS: (0.03, 0.02),
    Market.FUTURES: (0.008, 0.004),
}
# The variance of a second outside regular hours, relative to a midday second.
_EXTENDED_VARIANCE = 0.12


@dataclass(frozen=True, slots=True)
class PricePath:
    """A day's grid of seconds from `session.extended_start`.

    `log_price` is relative to the instrument's level and has one more entry than there are seconds; `factor` is the part of
    it that market and sector explain, from 0; `relative_volatility` is each second's volatility relative to the usual
    volatility at that time of day.
    """

    log_price: Floats
    factor: Floats
    variance: Floats
    relative_volatility: Floats


def path(seed: int, instrument: Instrument, session: Session) -> PricePath:
    """The instrument's efficient price, second by second, before anomalies."""
    market, date = instrument.market, session.date
    keys = f"{market}", f"{market}:{instrument.sector}", instrument.symbol
    scales = _volatilities(instrument)
    level_before, night, *intraday = _daily(seed, keys, scales, market, date)
    clock, excitement = _market_clock(seed, session)
    own_excitement = _excitement(stream(seed, "excitement", instrument.symbol, date), clock.size, 0.35, 600.0)
    own_clock = _normalised(clock * own_excitement)
    sector = _driver(seed, keys[1], session) * scales[1]
    factor = _driver(seed, keys[0], session) * scales[0] + sector
    factor = _bridged(factor, clock, intraday[0] + intraday[1])
    shocks = normals(stream(seed, "own", instrument.symbol, date), clock.size)
    own = _bridged(_cumulated(shocks, own_clock, scales[2]), own_clock, intraday[2])
    relative = np.sqrt(excitement * own_excitement)
    start = level_before + night
    variance = instrument.volatility * instrument.volatility * own_clock
    return PricePath(start + factor + own, factor, variance, relative)


def _volatilities(instrument: Instrument) -> tuple[float, float, float]:
    """The instrument's daily volatility by driver: market, sector, own."""
    of_market, of_sector = _FACTOR_VOLATILITY[instrument.market]
    by_market, by_sector = instrument.market_beta * of_market, instrument.sector_beta * of_sector
    explained, total = by_market**2 + by_sector**2, instrument.volatility**2
    # At least a fifth of the variance is the instrument's own.
    return by_market, by_sector, float(np.sqrt(max(total - explained, 0.2 * total)))


def _daily(
    seed: int, keys: tuple[str, str, str], scales: tuple[float, float, float], market: Market, date: dt.date
) -> tuple[float, float, float, float, float]:
    """The log level at the previous day's end, the overnight return, and the day's market, sector and own returns."""
    days = (date - _EPOCH).days + 1
    seeds = np.array([stream(seed, "daily", key)[0] for key in keys], dtype=np.uint64)
    return _walk(seeds, np.array(scales), days, _EPOCH.weekday(), market.is_continuous)


@njit(cache=True)
def _walk(
    seeds: State, scales: Floats, days: int, weekday: int, is_continuous: bool
) -> tuple[float, float, float, float, float]:
    level = 0.0
    states = seeds.copy()
    before, night = 0.0, 0.0
    day_returns = np.zeros(3)
    for day in range(days):
        before, night = level, 0.0
        rests = not is_continuous and (weekday + day) % 7 >= 5
        for driver in range(3):
            gap = normal(states[driver : driver + 1]) * scales[driver]
            step = normal(states[driver : driver + 1]) * scales[driver]
            if rests:
                gap, step = 0.0, 0.0
            night += 0.0 if is_continuous else _OVERNIGHT * gap
            day_returns[driver] = step if is_continuous else _INTRADAY * step
        day_returns[2] -= 0.0 if rests else _REVERSION * level
        level = before + night + day_returns[0] + day_returns[1] + day_returns[2]
    return before, night, day_returns[0], day_returns[1], day_returns[2]


@lru_cache(maxsize=16)
def _market_clock(seed: int, session: Session) -> tuple[Floats, Floats]:
    """Each second's share of the day's variance, common to the market, and the excitement in it (mean about 1)."""
    seconds = (session.extended_end - session.extended_start) // NS_PER_SECOND
    excitement = _excitement(stream(seed, "excitement", session.market, session.date), seconds, 0.5, 2700.0)
    return _normalised(daily_shape(session, seconds, 3.0, 0.6, _EXTENDED_VARIANCE) * excitement), excitement


@lru_cache(maxsize=64)
def _driver(seed: int, key: str, session: Session) -> Floats:
    """A factor's path over the day in units of its daily volatility."""
    clock, _ = _market_clock(seed, session)
    scale = 1.0 if session.market.is_continuous else _INTRADAY
    return _cumulated(normals(stream(seed, "factor", key, session.date), clock.size), clock, scale)


def regular_seconds(session: Session) -> tuple[int, int]:
    """The grid's seconds at which regular hours begin and end."""
    opens, closes = session.regular_start - session.extended_start, session.regular_end - session.extended_start
    return opens // NS_PER_SECOND, closes // NS_PER_SECOND


def daily_shape(session: Session, seconds: int, opening: float, closing: float, extended: float) -> Floats:
    """The relative activity of each second: U-shaped in regular hours, a wave in a continuous market."""
    if session.market.is_continuous:
        return _daily_wave(seconds)
    return _u_shape(seconds, *regular_seconds(session), opening, closing, extended)


@njit(cache=True)
def _u_shape(seconds: int, opens: int, closes: int, opening: float, closing: float, extended: float) -> Floats:
    shape = np.empty(seconds)
    for i in range(seconds):
        if i < opens:
            x = i / opens
            shape[i] = extended * (0.3 + 0.7 * x * x)
        elif i >= closes:
            x = (i - closes) / (seconds - closes)
            shape[i] = extended * (0.2 + 1.6 * (1.0 - x) * (1.0 - x) * (1.0 - x))
        else:
            x = (i - opens) / (closes - opens)
            late, early = x * x * x * x, (1.0 - x) * (1.0 - x) * (1.0 - x) * (1.0 - x)
            shape[i] = 0.7 + opening * early * early * early + 0.8 * early + closing * late * late * (1.0 + late)
    return shape


@njit(cache=True)
def _daily_wave(seconds: int) -> Floats:
    # Quietest at 04:00 UTC, busiest at 16:00, parabolic in between.
    shape = np.empty(seconds)
    for i in range(seconds):
        hours = i * 24.0 / seconds
        distance = abs(hours - 16.0)
        distance = min(distance, 24.0 - distance) / 12.0
        shape[i] = 0.55 + 1.1 * (1.0 - distance) * (1.0 - distance)
    return shape


@njit(cache=True)
def _excitement(state: State, seconds: int, deviation: float, half_life: float) -> Floats:
    """The exponential of an Ornstein-Uhlenbeck process, updated every five seconds."""
    out = np.empty(seconds)
    step = 5
    keep = 1.0 - 0.6931471805599453 * step / half_life
    shock = deviation * np.sqrt(1.0 - keep * keep)
    log = deviation * normal(state)
    value = 1.0
    for i in range(seconds):
        if i % step == 0:
            log = keep * log + shock * normal(state)
            value = exp(2.0 * log - 2.0 * deviation * deviation)
        out[i] = value
    return out


@njit(cache=True)
def _normalised(weights: Floats) -> Floats:
    total = 0.0
    for i in range(weights.size):
        total += weights[i]
    return weights / total


@njit(cache=True)
def _cumulated(shocks: Floats, clock: Floats, scale: float) -> Floats:
    out = np.empty(clock.size + 1)
    out[0] = 0.0
    for i in range(clock.size):
        out[i + 1] = out[i] + scale * np.sqrt(clock[i]) * shocks[i]
    return out


@njit(cache=True)
def _bridged(walk: Floats, clock: Floats, target: float) -> Floats:
    """The walk, adjusted in proportion to the clock so that it ends at the target."""
    out = np.empty(walk.size)
    missing, elapsed = target - walk[-1], 0.0
    out[0] = walk[0]
    for i in range(clock.size):
        elapsed += clock[i]
        out[i + 1] = walk[i + 1] + missing * elapsed
    return out
