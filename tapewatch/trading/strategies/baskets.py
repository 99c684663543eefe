"""Baskets by cointegration: one price against a combination of two others, weighted so that common moves cancel."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from tapewatch.market.tables.tape import TIME
from tapewatch.trading.strategies.closes import Closes, Floats
from tapewatch.trading.strategies.cointegration import cointegration_p_value
from tapewatch.trading.strategies.pairs import entries
from tapewatch.trading.strategies.proposals import PROPOSALS, proposed

STRATEGY = "baskets"
#: A smaller share of a leg hedges nothing.
_LEAST_RATIO = 0.1
_LEAST_DEVIATION = 1e-9


@dataclass(frozen=True, slots=True)
class BasketRules:
    """How baskets are chosen and traded.

    Attributes:
        formation: minutes on which a basket is chosen; the next `trading` minutes trade it.
        p_value: the greatest of the cointegration test, times the number of baskets tested (Bonferroni).
        entry: distance from the mean, in standard deviations of the formation, at which a bet begins.
        most: baskets traded at a time, those with the smallest p-value.
    """

    formation: int = 120
    trading: int = 120
    p_value: float = 0.05
    entry: float = 2.0
    most: int = 2
    horizon_minutes: int = 30

    def __post_init__(self) -> None:
        if self.formation < 30 or self.trading < 1 or self.entry <= 0:
            raise ValueError(f"baskets need 30 minutes of formation at least, and positive distances: {self}")


@dataclass(frozen=True, slots=True)
class Basket:
    """log target − Σ ratio × log partner − level has the standard deviation `deviation` in the formation."""

    target: int
    partners: tuple[int, ...]
    ratios: Floats
    level: float
    deviation: float
    p_value: float


def cointegrated_baskets(logs: Floats, rules: BasketRules) -> list[Basket]:
    """The baskets of a formation window (minutes x symbols), smallest p-value first.

    Each symbol is tested with the two whose prices correlate most with its own; columns with a gap or without a move are left out.
    The test is `cointegration_p_value`. Baskets in which a partner moves against the
    target, or hardly counts, are left out: that is a pair.
    """
    tried = _candidates(logs)
    found = []
    for target, partners in tried:
        x, y = logs[:, partners], logs[:, target]
        design = np.column_stack([x, np.ones(len(x))])
        solved, _, rank, _ = np.linalg.lstsq(design, y, rcond=None)
        residual = y - design @ solved
        deviation = float(residual.std(ddof=design.shape[1]))
        if rank < design.shape[1] or deviation <= _LEAST_DEVIATION or (solved[:-1] < _LEAST_RATIO).any():
            continue
        p_value = cointegration_p_value(y, residual, len(partners))
        if p_value * len(tried) <= rules.p_value:
            found.append(
                Basket(
                    target,
                    tuple(partners),
                    np.asarray(solved[:-1], dtype=np.float64),
                    float(solved[-1]),
                    deviation,
                    p_value,
                )
            )
    return sorted(found, key=lambda basket: basket.p_value)[: rules.most]


def _candidates(logs: Floats) -> list[tuple[int, list[int]]]:
    """Each usable column with the two that correlate most with it, both above zero."""
    usable = np.flatnonzero(np.isfinite(logs).all(axis=0) & (np.ptp(logs, axis=0) > 0))
    if usable.size < 3:
        return []
    correlation = np.atleast_2d(np.corrcoef(logs[:, usable], rowvar=False))
    np.fill_diagonal(correlation, -np.inf)
    nearest = np.argsort(-correlation, axis=1, kind="stable")[:, :2]
    return [
        (int(usable[at]), [int(usable[other]) for other in sorted(others)])
        for at, others in enumerate(nearest)
        if (correlation[at, others] > 0).all()
    ]


def baskets(prices: Closes, rules: BasketRules | None = None) -> pl.DataFrame:
    """Three proposals, one a leg, where a basket is `entry` deviations apart for the first time.

    Each leg names the others as its `partner`, joined by `+`. The weights are those of the combination over the largest, so that the
    legs' sizes cancel common moves. A basket begins anew once it has come back within one deviation.

    Args:
        prices: of one session.
        rules: `BasketRules()` by default.

    Returns: PROPOSALS.
    """
    rules = rules or BasketRules()
    rows = [
        row
        for start in range(rules.formation, len(prices.logs), rules.trading)
        for row in _traded(prices, start, rules)
    ]
    if not rows:
        return pl.DataFrame(schema=PROPOSALS)
    names = ("symbol", "partner", "known_ns", "event_ns", "side", "weight")
    # Of baskets that hold the same symbols at one time the better one stays.
    frame = pl.DataFrame(rows, schema=names, orient="row").unique(
        ["symbol", "partner", "known_ns"], keep="first", maintain_order=True
    )
    return proposed(
        frame.with_columns(
            strategy=pl.lit(STRATEGY),
            known_time=pl.col("known_ns").cast(TIME),
            event_time=pl.col("event_ns").cast(TIME),
            horizon_minutes=pl.lit(rules.horizon_minutes),
        )
    )


def _traded(prices: Closes, start: int, rules: BasketRules) -> Iterator[tuple[str, str, int, int, int, float]]:
    """Every leg of each entry in the minutes from `start` on, of baskets formed on those before."""
    window = prices.logs[start : start + rules.trading]
    for basket in cointegrated_baskets(prices.logs[start - rules.formation : start], rules):
        fair = window[:, basket.partners] @ basket.ratios + basket.level
        away = (window[:, basket.target] - fair) / basket.deviation
        weights = np.concatenate([[1.0], -basket.ratios])
        weights /= np.abs(weights).max()
        legs = [prices.symbols[at] for at in (basket.target, *basket.partners)]
        for at in entries(away, rules.entry):
            known, event = int(prices.known_ns[start + at]), int(prices.known_ns[start - rules.formation])
            for leg, weight in zip(legs, weights.tolist(), strict=True):
                side = -int(np.sign(away[at] * weight))
                yield leg, "+".join(other for other in legs if other != leg), known, event, side, abs(weight)
