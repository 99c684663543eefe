"""Anomalies of ten kinds put into a copy of a tape at chosen strengths, each in one of three realisations.

A strength is a multiple of what the symbol itself reaches: of the 99th percentile of the kind's measure over windows as long as the
anomaly that start within 15 minutes of that time of day.
"""

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, product
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from tapewatch.labels.injection.injection import TO_CLOSE_NS, assembled, between, by_symbol, spliced, tick_of
from tapewatch.labels.injection.measures import PRICE, measured, natural, peer_weights, seconds_of
from tapewatch.labels.injection.realisations import REALISATIONS, Own, Realisation
from tapewatch.labels.injection.ticks import Ticks
from tapewatch.labels.truth import TRUTH_EVENTS_SCHEMA
from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND, Session
from tapewatch.market.tables.tape import QUOTES, TRADES

Floats = npt.NDArray[np.float64]

#: Weak, medium and strong.
STRENGTHS: Final = (1.25, 2.5, 5.0)
#: `measured` is the kind's measure after injection, `natural` the 99th percentile, `strength` what was asked for.
MEASURED_EVENTS_SCHEMA: Final = pl.Schema(
    {
        **TRUTH_EVENTS_SCHEMA,
        "realisation": pl.String(),
        "strength": pl.Float64(),
        "natural": pl.Float64(),
        "measured": pl.Float64(),
    }
)
#: A measure may miss what was asked for by so much: prices move by ticks.
_TOLERANCE: Final = 0.08
_CLOSE: Final = 0.01
_STEPS: Final = 24
_FROM_OPEN_S: Final = 30 * 60
_QUIET_S: Final = 12 * 60
_LOOK_BACK_NS: Final = 30 * NS_PER_MINUTE
_TRIES: Final = 6
_LONGEST_OUTAGE_S: Final = 900


@dataclass(frozen=True)
class MeasuredTape:
    """A distorted tape, and its events (columns of `MEASURED_EVENTS_SCHEMA`)."""

    trades: pl.DataFrame
    quotes: pl.DataFrame | None
    events: pl.DataFrame


@dataclass(frozen=True)
class Nature:
    """What symbols do by themselves: grids of seconds of whole sessions, and the peers of each symbol."""

    grids: Mapping[str, Sequence[Floats]]
    dates: Sequence[object]
    peers: Mapping[str, Sequence[tuple[str, float]]]

    @classmethod
    def of(cls, days: Sequence[tuple[pl.DataFrame, pl.DataFrame | None, Session]]) -> Self:
        """Measured on TRADES, QUOTES (or None) and session of each day, of the same market."""
        grids: dict[str, list[Floats]] = {}
        for trades, quotes, session in days:
            tapes = by_symbol(trades), by_symbol(quotes) if quotes is not None else {}
            for symbol in sorted(set().union(*tapes)):
                ticks = Ticks.between(*_of(symbol, *tapes), session.regular_start, session.regular_end, 1.0)
                grids.setdefault(symbol, []).append(seconds_of(ticks))
        # A symbol that lacks a day has no windows to compare on it.
        whole = {symbol: grid for symbol, grid in grids.items() if len(grid) == len(days)}
        return cls(whole, [session.date for *_, session in days], peer_weights(whole))

    def peer_prices(self, symbol: str, day: int) -> Floats:
        """Weighted prices of the symbol's peers on a day (peers x seconds)."""
        rows = [slope * self.grids[other][day][PRICE] for other, slope in self.peers[symbol]]
        return np.stack(rows) if rows else np.empty((0, self.grids[symbol][day].shape[1]))


def inject_at_strengths(
    trades: pl.DataFrame,
    quotes: pl.DataFrame | None,
    session: Session,
    nature: Nature,
    *,
    seed: int,
    per_symbol: int = 10,
    kinds: Sequence[str] | None = None,
    strengths: Sequence[float] = STRENGTHS,
    realisations: Sequence[int] = (0, 1, 2),
) -> MeasuredTape:
    """Put up to `per_symbol` anomalies into each symbol's regular session; outside their stretches nothing changes.

    Anomalies lie at least 30 minutes after the open, 15 before the close and 12 apart. Kinds take turns, and so do the strengths and
    realisations of a kind. One that a place cannot hold within 8 % of its strength (ticks too coarse, nature already stronger, no
    quotes, no trades, no peers) is tried in others, then left out. Added trades lie on the touch, moved ones stay on their side
    of the book, quotes follow prices by whole ticks.

    Args:
        trades: a TRADES frame of one market's day.
        quotes: a QUOTES frame, or None.
        session: that day's hours; the day is one of `nature`.
        nature: what is natural, of this and other days without anomalies.
        seed: of the random choices.
        per_symbol: anomalies wanted in each symbol.
        kinds: keys of `REALISATIONS`; by default all.
        strengths: multiples of the natural 99th percentile.
        realisations: positions in a kind's realisations.

    Returns:
        Frames of the same tables, sorted as those say. Added rows carry sequence numbers above the symbol's highest.

    Raises:
        ValueError: a kind is unknown, or the day is none of `nature`.
    """
    unknown = sorted(set(kinds or ()) - set(REALISATIONS))
    if unknown:
        raise ValueError(f"unknown kind(s) {', '.join(unknown)}: choose from {', '.join(REALISATIONS)}")
    if session.date not in nature.dates:
        raise ValueError(f"{session.date} is none of the days on which nature was measured: measure it on this day too")
    tapes = by_symbol(trades), by_symbol(quotes) if quotes is not None else {}
    all_trades, all_quotes, events = [], [], [pl.DataFrame(schema=MEASURED_EVENTS_SCHEMA)]
    for at, symbol in enumerate(sorted(set().union(*tapes))):
        own = _of(symbol, *tapes)
        rng = np.random.default_rng([seed, session.date.toordinal(), zlib.crc32(symbol.encode())])
        wanted = _wanted(kinds or list(REALISATIONS), strengths, realisations, seed * 7 + at, per_symbol, rng)
        found = list(_of_symbol(symbol, *own, session, nature, wanted, rng)) if symbol in nature.grids else []
        all_trades.append(spliced(own[0], [(t.start, t.end, t.frames()[0]) for t, _ in found]))
        all_quotes.append(spliced(own[1], [(t.start, t.end, t.frames()[1]) for t, _ in found]))
        events.append(pl.DataFrame([row for _, row in found], schema=MEASURED_EVENTS_SCHEMA))
    return MeasuredTape(
        assembled(TRADES.empty(), all_trades, TRADES.sort),
        None if quotes is None else assembled(QUOTES.empty(), all_quotes, QUOTES.sort),
        pl.concat(events),
    )


@dataclass(frozen=True)
class _Wanted:
    kind: str
    realisation: Realisation
    strength: float


def _wanted(
    kinds: Sequence[str],
    strengths: Sequence[float],
    realisations: Sequence[int],
    turn: int,
    number: int,
    rng: np.random.Generator,
) -> list[_Wanted]:
    """Kinds in random order, again and again; of each the next strength and realisation."""
    ways = list(product(strengths, realisations))
    found: list[_Wanted] = []
    for again in count():
        if len(found) >= number:
            return found[:number]
        for kind in rng.permutation(list(kinds)):
            # A step without a common factor visits all pairs.
            strength, realisation = ways[(turn * 4 + again + list(kinds).index(str(kind))) % len(ways)]
            found.append(_Wanted(str(kind), REALISATIONS[str(kind)][realisation], strength))
    raise AssertionError


def _of_symbol(
    symbol: str,
    trades: pl.DataFrame,
    quotes: pl.DataFrame,
    session: Session,
    nature: Nature,
    wanted: Sequence[_Wanted],
    rng: np.random.Generator,
) -> Iterator[tuple[Ticks, dict[str, object]]]:
    tick = tick_of(trades["price"] if quotes.is_empty() and trades.height else quotes["bid_price"])
    last = (session.regular_end - TO_CLOSE_NS - session.regular_start) // NS_PER_SECOND
    needs = [each.realisation.seconds + _QUIET_S for each in wanted]
    while needs and _FROM_OPEN_S + sum(needs) > last:
        needs.pop()
    slack = (last - _FROM_OPEN_S - sum(needs)) // max(len(needs), 1)
    at, number = _FROM_OPEN_S, 0
    place = _Place(symbol, trades, quotes, session, nature, tick)
    for want, need in zip(wanted, needs, strict=False):
        for _ in range(_TRIES):
            found = place.tried(want, at + int(rng.integers(0, slack + 1)), at + slack + need - _QUIET_S, rng)
            if found is not None:
                ticks, natural_value, value = found
                event = {"symbol": symbol, "event_id": f"{symbol}-{session.date}-{number:02d}", "kind": want.kind}
                times = {"start_time": ticks.start, "end_time": ticks.end}
                yield (
                    ticks,
                    event
                    | times
                    | {
                        "realisation": want.realisation.name,
                        "strength": want.strength,
                        "natural": natural_value,
                        "measured": value,
                    },
                )
                number += 1
                break
        at += slack + need


@dataclass(frozen=True)
class _Place:
    """One symbol's day, into which anomalies are put."""

    symbol: str
    trades: pl.DataFrame
    quotes: pl.DataFrame
    session: Session
    nature: Nature
    tick: float

    def tried(
        self, want: _Wanted, second: int, latest: int, rng: np.random.Generator
    ) -> tuple[Ticks, float, float] | None:
        """The changed stretch from a second of the session, with its natural and its new measure; None where it cannot be.

        Args:
            latest: the second by which it ends.
        """
        day = list(self.nature.dates).index(self.session.date)
        width, peers, peer_days = want.realisation.seconds, None, None
        if want.kind == "correlation_break":
            peer_days = [self.nature.peer_prices(self.symbol, each) for each in range(len(self.nature.dates))]
            if not len(peer_days[0]):
                return None
        usual = natural(want.kind, self.nature.grids[self.symbol], second, width, peer_days)
        target = usual * want.strength
        if not target > 0:
            return None
        if want.kind == "feed_outage":
            width = _outage_seconds(want.realisation.name, target)
            if width > min(_LONGEST_OUTAGE_S, latest - second):
                return None
        if peer_days is not None:
            peers = peer_days[day][:, second : second + width]
        start = self.session.regular_start + second * NS_PER_SECOND
        ticks = Ticks.between(self.trades, self.quotes, start, start + width * NS_PER_SECOND, self.tick)
        if np.isnan(ticks.bid if ticks.is_quoted else ticks.price):
            return None
        own, plan = self._own(start), int(rng.integers(2**31))

        def changed(amount: float) -> tuple[Ticks | None, float]:
            done = want.realisation.change(ticks, amount, own, np.random.default_rng(plan))
            return done, np.nan if done is None else measured(want.kind, seconds_of(done), peers)

        best = _sought(changed, measured(want.kind, seconds_of(ticks), peers), target)
        return None if best is None else (best[0], usual, best[1])

    def _own(self, start: int) -> Own:
        recent = between(self.trades, start - _LOOK_BACK_NS, start).filter(
            (pl.col("price") > 0) & (pl.col("size") > 0) & (pl.col("correction").fill_null(0) <= 1)
        )
        sizes = recent["size"].to_numpy()
        if not sizes.size:
            return Own(np.empty(0), 0.0)
        most = np.quantile(sizes, 0.95, method="lower")
        return Own(np.minimum(sizes, most), recent.height * NS_PER_SECOND / _LOOK_BACK_NS)


def _outage_seconds(realisation: str, target: float) -> int:
    """How long an outage lasts whose longest silence is `target` seconds."""
    return round(1.7 * target) + 4 if realisation == "stutter" else round(target) + 2


def _sought(
    changed: Callable[[float], tuple[Ticks | None, float]], now: float, target: float
) -> tuple[Ticks, float] | None:
    """The change by which the measure reaches `target`: that of what is missing, else between the largest too small and the next."""
    if not now < target * (1.0 - _TOLERANCE):
        return None
    low, high, amount = 0.0, np.inf, target - now
    best: tuple[Ticks, float] | None = None
    for _ in range(_STEPS):
        done, value = changed(amount)
        if done is not None and (best is None or abs(value - target) < abs(best[1] - target)):
            best = done, value
        if done is not None and abs(value / target - 1.0) <= _CLOSE:
            break
        if done is not None and value < target:
            low = amount
        else:
            high = amount
        amount = 0.5 * (low + high) if np.isfinite(high) else 2.0 * amount
    return best if best is not None and abs(best[1] / target - 1.0) <= _TOLERANCE else None


def _of(
    symbol: str, trades: Mapping[str, pl.DataFrame], quotes: Mapping[str, pl.DataFrame]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The symbol's trades and quotes in time order, empty where it has none."""
    return trades.get(symbol, TRADES.empty()), quotes.get(symbol, QUOTES.empty())
