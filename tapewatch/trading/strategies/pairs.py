"""Pairs by cointegration: two prices that have moved together return to each other (Engle and Granger 1987; Gatev et al. 2006)."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import polars as pl

from tapewatch.market.tables.tape import TIME
from tapewatch.trading.strategies.closes import Closes, Floats
from tapewatch.trading.strategies.cointegration import cointegration_p_value
from tapewatch.trading.strategies.proposals import PROPOSALS, proposed

STRATEGY = "pairs"


@dataclass(frozen=True, slots=True)
class PairRules:
    """How pairs are chosen and traded.

    Attributes:
        formation: minutes on which a pair is chosen; the next `trading` minutes trade it.
        p_value: the greatest of the cointegration test, times the number of pairs tested (Bonferroni).
        entry: distance from the mean, in standard deviations of the formation, at which a bet begins.
        most: pairs traded at a time, those with the smallest p-value.
        tested: pairs that are tested, those whose prices correlate most.
    """

    formation: int = 120
    trading: int = 120
    p_value: float = 0.05
    entry: float = 2.0
    most: int = 3
    tested: int = 100
    horizon_minutes: int = 30

    def __post_init__(self) -> None:
        if self.formation < 30 or self.trading < 1 or self.entry <= 0:
            raise ValueError(f"pairs need 30 minutes of formation at least, and positive distances: {self}")


@dataclass(frozen=True, slots=True)
class Pair:
    """log a − ratio × log b − level has the standard deviation `deviation` in the formation."""

    a: int
    b: int
    ratio: float
    level: float
    deviation: float
    p_value: float


def cointegrated(logs: Floats, rules: PairRules) -> list[Pair]:
    """The pairs of a formation window (minutes x symbols), smallest p-value first.

    Columns with a gap or without a move are left out, and prices that move against each other: both legs of a bet on them would be
    on the same side of the market. The first log price is regressed on the second; the test is `cointegration_p_value`.
    """
    usable = np.flatnonzero(np.isfinite(logs).all(axis=0) & (np.ptp(logs, axis=0) > 0))
    correlation = np.atleast_2d(np.corrcoef(logs[:, usable], rowvar=False)) if usable.size > 1 else np.empty((0, 0))
    ranked = sorted(combinations(range(usable.size), 2), key=lambda pair: -correlation[pair])
    tried = [(int(usable[a]), int(usable[b])) for a, b in ranked[: rules.tested] if correlation[a, b] > 0]
    found = []
    for a, b in tried:
        x, y = logs[:, b], logs[:, a]
        ratio = float(((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum())
        residual = y - ratio * x
        level, deviation = float(residual.mean()), float(residual.std(ddof=2))
        if deviation <= 1e-9:
            continue
        p_value = cointegration_p_value(y, residual - level, 1)
        if p_value * len(tried) <= rules.p_value:
            found.append(Pair(a, b, ratio, level, deviation, p_value))
    return sorted(found, key=lambda pair: pair.p_value)[: rules.most]


def pairs(prices: Closes, rules: PairRules | None = None) -> pl.DataFrame:
    """Two proposals, one a leg, where a cointegrated pair is `entry` deviations apart for the first time.

    Each leg names the other as its `partner`; their weights are 1 and the ratio, over the larger. A pair begins anew once it has come back within one deviation.

    Args:
        prices: of one session.
        rules: `PairRules()` by default.

    Returns: PROPOSALS.
    """
    rules = rules or PairRules()
    rows = [
        row
        for start in range(rules.formation, len(prices.logs), rules.trading)
        for row in _traded(prices, start, rules)
    ]
    if not rows:
        return pl.DataFrame(schema=PROPOSALS)
    names = ("symbol", "partner", "known_ns", "event_ns", "side", "weight")
    # Of several pairs that hold the same two symbols there is one; windows do not overlap.
    frame = pl.DataFrame(rows, schema=names, orient="row")
    return proposed(
        frame.with_columns(
            strategy=pl.lit(STRATEGY),
            known_time=pl.col("known_ns").cast(TIME),
            event_time=pl.col("event_ns").cast(TIME),
            horizon_minutes=pl.lit(rules.horizon_minutes),
        )
    )


def _traded(prices: Closes, start: int, rules: PairRules) -> Iterator[tuple[str, str, int, int, int, float]]:
    """Both legs of each entry in the minutes from `start` on, of pairs formed on those before."""
    formed = cointegrated(prices.logs[start - rules.formation : start], rules)
    window = prices.logs[start : start + rules.trading]
    for pair in formed:
        away = (window[:, pair.a] - pair.ratio * window[:, pair.b] - pair.level) / pair.deviation
        for at in entries(away, rules.entry):
            side = -int(np.sign(away[at]))
            known, event = int(prices.known_ns[start + at]), int(prices.known_ns[start - rules.formation])
            a, b = prices.symbols[pair.a], prices.symbols[pair.b]
            largest = max(1.0, pair.ratio)
            yield a, b, known, event, side, 1.0 / largest
            yield b, a, known, event, -side, pair.ratio / largest


def entries(away: Floats, entry: float) -> list[int]:
    """Where the distance first reaches `entry` since it was last within one deviation."""
    found, is_armed = [], True
    for at, distance in enumerate(np.abs(away)):
        if is_armed and distance >= entry:
            found.append(at)
            is_armed = False
        elif distance <= 1.0:
            is_armed = True
    return found
