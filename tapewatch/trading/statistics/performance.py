"""Performance of a series of returns: ratios, drawdown, turnover, exposure, hit rate, capacity.

Returns are simple returns of equal periods (0.01 is one per cent), without NaN. A ratio whose denominator is zero is NaN, as is one
of fewer than two returns.
"""

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Performance:
    """The figures of a series of returns; `max_drawdown` is positive, the ratios are annual."""

    periods: int
    total_return: float
    annual_return: float
    annual_volatility: float
    sharpe: float
    sortino: float
    calmar: float
    max_drawdown: float
    longest_drawdown: int
    hit_rate: float

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def performance(returns: npt.ArrayLike, periods_a_year: float) -> Performance:
    """All figures of `returns`.

    Raises:
        ValueError: a return is not finite.
    """
    found = _checked(returns)
    grown = float(np.prod(1.0 + found)) if found.size else 1.0
    years = found.size / periods_a_year
    annual = (grown ** (1.0 / years) - 1.0 if grown > 0 else -1.0) if found.size else float("nan")
    deepest, longest = drawdown(found)
    return Performance(
        periods=found.size,
        total_return=grown - 1.0,
        annual_return=annual,
        annual_volatility=float(np.std(found, ddof=1) * np.sqrt(periods_a_year)) if found.size > 1 else float("nan"),
        sharpe=sharpe(found, periods_a_year),
        sortino=sortino(found, periods_a_year),
        calmar=annual / deepest if deepest > 0 else float("nan"),
        max_drawdown=deepest,
        longest_drawdown=longest,
        hit_rate=hit_rate(found),
    )


def sharpe(returns: npt.ArrayLike, periods_a_year: float = 1.0, *, risk_free: float = 0.0) -> float:
    """Mean excess return over its sample standard deviation, times the root of the periods a year (Sharpe 1994)."""
    excess = _checked(returns) - risk_free
    deviation = float(np.std(excess, ddof=1)) if excess.size > 1 else 0.0
    # Equal returns may differ by a rounding error.
    tiny = 1e-12 * float(np.abs(excess).max()) if excess.size else 0.0
    return float(excess.mean() / deviation * np.sqrt(periods_a_year)) if deviation > tiny else float("nan")


def sortino(returns: npt.ArrayLike, periods_a_year: float = 1.0, *, target: float = 0.0) -> float:
    """Mean return above the target over the downside deviation: the root mean square of the shortfalls of ALL periods."""
    excess = _checked(returns) - target
    downside = float(np.sqrt(np.mean(np.minimum(excess, 0.0) ** 2))) if excess.size else 0.0
    return float(excess.mean() / downside * np.sqrt(periods_a_year)) if downside > 0 else float("nan")


def drawdown(returns: npt.ArrayLike) -> tuple[float, int]:
    """The deepest fall of the compounded value from its highest so far, as a share, and the longest time below it, in periods."""
    value = np.concatenate([[1.0], np.cumprod(1.0 + _checked(returns))])
    under = 1.0 - value / np.maximum.accumulate(value)
    return float(under.max()), _longest_run(under > 0)


def hit_rate(returns: npt.ArrayLike) -> float:
    """Share of the returns other than zero that are above it."""
    found = _checked(returns)
    active = found[found != 0]
    return float((active > 0).mean()) if active.size else float("nan")


def exposure(weights: npt.ArrayLike) -> tuple[float, float]:
    """Share of the periods with a position, and the mean gross weight of all periods; `weights` periods x instruments."""
    gross = np.abs(_table(weights)).sum(axis=1)
    return (float((gross > 0).mean()), float(gross.mean())) if gross.size else (float("nan"), float("nan"))


def turnover(weights: npt.ArrayLike, periods_a_year: float = 1.0) -> float:
    """Mean sum of absolute changes of the weights a period, from none, times the periods a year: 2 for a position in and out."""
    held = _table(weights)
    changes = np.abs(np.diff(held, axis=0, prepend=np.zeros((1, held.shape[1])))).sum(axis=1)
    return float(changes.mean() * periods_a_year) if changes.size else float("nan")


def capacity(
    gross_bps: float, spread_cost_bps: float, volatility_bps: float, volume: float, *, impact: float = 1.0
) -> float:
    """The notional of a bet at which impact eats the edge, in the unit of `volume`.

    Impact follows the square root law: `impact` × volatility × √(notional / volume), on the way in and again on the way out
    (Almgren et al. 2005; Tóth et al. 2011). The capacity solves gross − spread cost = 2 × impact.

    Args:
        gross_bps: mean gross return of a bet.
        spread_cost_bps: spread and fees of opening and closing.
        volatility_bps: over the time in which `volume` is traded.
        volume: notional traded in the time of an execution.

    Returns: 0 where the edge does not pay the spread; NaN without volatility.
    """
    if volatility_bps <= 0 or impact <= 0:
        return float("nan")
    edge = max(gross_bps - spread_cost_bps, 0.0)
    return float(volume * (edge / (2.0 * impact * volatility_bps)) ** 2)


def _checked(returns: npt.ArrayLike) -> Floats:
    found = np.asarray(returns, dtype=np.float64)
    if not np.isfinite(found).all():
        raise ValueError(
            f"return {np.flatnonzero(~np.isfinite(found))[0]} is not finite: leave periods without one out"
        )
    return found


def _table(weights: npt.ArrayLike) -> Floats:
    held = np.asarray(weights, dtype=np.float64)
    return held[:, None] if held.ndim == 1 else held


def _longest_run(flags: npt.NDArray[np.bool_]) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return int((edges[1::2] - edges[::2]).max()) if edges.size else 0
