"""Execution that heeds liquidity: participation caps, limits by the spread, and the schedule of Almgren and Chriss (2000)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

Floats = npt.NDArray[np.float64]


def capped_schedule(quantity: float, volumes: npt.ArrayLike, participation: float) -> tuple[Floats, float]:
    """The amounts to trade in each interval, at most `participation` of its expected volume, as early as possible.

    Args:
        quantity: signed amount.
        volumes: expected volumes of the intervals, not negative.
        participation: above 0 and at most 1.

    Returns: signed amounts, and what is left over.

    Raises:
        ValueError: the cap lies outside its range, or a volume is negative.
    """
    room = np.asarray(volumes, dtype=np.float64)
    if not 0 < participation <= 1 or (room < 0).any():
        raise ValueError(
            f"a participation of {participation} of volumes {room.tolist()[:3]} is none: choose 0 to 1, volumes from 0"
        )
    done = np.minimum(np.cumsum(room * participation), abs(quantity))
    slices = np.diff(done, prepend=0.0)
    return np.sign(quantity) * slices, float(np.sign(quantity) * (abs(quantity) - (done[-1] if done.size else 0.0)))


def exit_minutes(notional: pl.Expr, minute_notional: pl.Expr, participation: float) -> pl.Expr:
    """Minutes to trade a notional at the participation cap; null where nothing is traded."""
    return pl.when(minute_notional > 0).then(notional / (minute_notional * participation))


def limit_price(side: pl.Expr, price: pl.Expr, spread_bps: pl.Expr, *, aggression: float = 0.5) -> pl.Expr:
    """A limit around the midquote: 0 rests at the own side of the spread, 0.5 at the midquote, 1 takes the other side.

    Args:
        side: 1 to buy, -1 to sell.
        price: midquote.
        spread_bps: quoted spread.
        aggression: 0 to 1.
    """
    return price * (1.0 + side * (aggression - 0.5) * spread_bps * 1e-4)


@dataclass(frozen=True, slots=True)
class ImpactModel:
    """The market of Almgren and Chriss (2000): prices in currency, amounts in units, time in one unit throughout.

    Attributes:
        volatility: sigma, currency a root of time.
        fixed_cost: epsilon, currency a unit: half the spread and fees.
        permanent: gamma, currency a unit squared.
        temporary: eta, currency a unit over units a time.
    """

    volatility: float
    fixed_cost: float
    permanent: float
    temporary: float

    def __post_init__(self) -> None:
        if min(self.volatility, self.fixed_cost, self.permanent) < 0 or self.temporary <= 0:
            raise ValueError(f"impact cannot be negative, and the temporary one must be above zero: {self}")


@dataclass(frozen=True, slots=True)
class Schedule:
    """Holdings at the intervals' ends (from the whole amount to 0), trades, and the cost's expectation and variance."""

    holdings: Floats
    trades: Floats
    expected_cost: float
    variance: float
    urgency: float


def optimal_schedule(
    quantity: float, duration: float, intervals: int, risk_aversion: float, market: ImpactModel
) -> Schedule:
    """The schedule that minimises expected cost plus `risk_aversion` times variance (Almgren and Chriss 2000, equations 17 to 20).

    Holdings fall as sinh(κ (T − t)) / sinh(κ T), with 2 (cosh(κ τ) − 1) / τ² = λ sigma² / (eta − gamma τ / 2). Without risk
    aversion it is a straight line.

    Raises:
        ValueError: no interval or duration, a negative risk aversion, or so coarse intervals that permanent impact exceeds the
            temporary one.
    """
    if intervals < 1 or duration <= 0 or risk_aversion < 0:
        raise ValueError(f"{intervals} intervals in {duration} with a risk aversion of {risk_aversion} are no schedule")
    tau = duration / intervals
    effective = market.temporary - 0.5 * market.permanent * tau
    if effective <= 0:
        raise ValueError(f"intervals of {tau} are too long for this impact: choose more intervals")
    squared = risk_aversion * market.volatility**2 / effective
    kappa = float(np.arccosh(0.5 * squared * tau**2 + 1.0) / tau)
    left = duration - tau * np.arange(intervals + 1)
    # Divided by the greatest term, since the hyperbolic sine of a long schedule overflows.
    shape = (
        np.exp(kappa * (left - duration)) * -np.expm1(-2.0 * kappa * left) / -np.expm1(-2.0 * kappa * duration)
        if kappa > 0
        else left / duration
    )
    holdings = quantity * shape
    trades = -np.diff(holdings)
    expected = (
        0.5 * market.permanent * quantity**2
        + market.fixed_cost * float(np.abs(trades).sum())
        + effective / tau * float((trades**2).sum())
    )
    variance = market.volatility**2 * tau * float((holdings[1:] ** 2).sum())
    return Schedule(np.asarray(holdings), np.asarray(trades), expected, variance, kappa)
