"""What trading costs: fees, market impact, borrow, latency. Each is a small model that can be exchanged for another."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tapewatch.market.instruments import NS_PER_SECOND

_NS_PER_MS = NS_PER_SECOND // 1_000


class CostError(ValueError):
    """A cost that makes no sense; the message names it and its value."""


def _refuse_negative(**values: float) -> None:
    for name, value in values.items():
        if not 0 <= value < np.inf:
            raise CostError(f"{name} is {value}: give a finite number from 0 up")


@dataclass(frozen=True, slots=True)
class Fees:
    """Fee of an order: units × `per_unit` + notional × basis points, and at least `minimum` for an order that trades.

    Each part of an order pays what the order owes so far less what it has paid, in whole cents.

    Args:
        per_unit: quote currency for each unit.
        taker_bps: share of the notional that takes liquidity.
        maker_bps: share of the notional that provided it; negative for a rebate.
        sale_bps: share of the notional of sales, on top (taxes, regulators).
        minimum: least fee of an order, in quote currency.
    """

    per_unit: float = 0.0
    taker_bps: float = 0.0
    maker_bps: float = 0.0
    sale_bps: float = 0.0
    minimum: float = 0.0

    def __post_init__(self) -> None:
        _refuse_negative(per_unit=self.per_unit, taker_bps=self.taker_bps, sale_bps=self.sale_bps, minimum=self.minimum)
        if not np.isfinite(self.maker_bps):
            raise CostError(f"maker_bps is {self.maker_bps}: give a finite number")


@dataclass(frozen=True, slots=True)
class Impact:
    """Price impact of an order that takes liquidity: `coefficient_bps` × (quantity / available) ^ `exponent`.

    `available` is the displayed size, or the bar's volume. 0.5 is the square root of Almgren et al. (2005), "Direct estimation
    of equity market impact". A limit order never pays more than its limit.
    """

    coefficient_bps: float = 0.0
    exponent: float = 0.5

    def __post_init__(self) -> None:
        _refuse_negative(coefficient_bps=self.coefficient_bps, exponent=self.exponent)


@dataclass(frozen=True, slots=True)
class Borrow:
    """Borrow fee of short positions: value × annual rate × calendar days / 360, booked with the next session's first event.

    Args:
        annual_bps: rate of all symbols.
        by_symbol: rates of symbols that are harder to borrow.
    """

    annual_bps: float = 0.0
    by_symbol: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _refuse_negative(
            annual_bps=self.annual_bps, **{f"rate of {name}": rate for name, rate in self.by_symbol.items()}
        )

    def rate_of(self, symbol: str) -> float:
        """Basis points a year."""
        return self.by_symbol.get(symbol, self.annual_bps)


class Latency(Protocol):
    """Time from a decision to the order's arrival at the market."""

    def delays(self, keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        """Nanoseconds for each order; `keys` are random numbers that belong to the orders."""
        ...


@dataclass(frozen=True, slots=True)
class ConstantLatency:
    """The same delay for every order."""

    milliseconds: float = 0.0

    def __post_init__(self) -> None:
        _refuse_negative(milliseconds=self.milliseconds)

    def delays(self, keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        """As `Latency.delays`."""
        return np.full(keys.size, round(self.milliseconds * _NS_PER_MS), dtype=np.int64)


@dataclass(frozen=True, slots=True)
class RandomLatency:
    """A fixed delay and an exponential one with the given mean, drawn from the order's key."""

    milliseconds: float
    mean_extra_ms: float

    def __post_init__(self) -> None:
        _refuse_negative(milliseconds=self.milliseconds, mean_extra_ms=self.mean_extra_ms)

    def delays(self, keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        """As `Latency.delays`."""
        uniform = (keys >> np.uint64(11)).astype(np.float64) / float(1 << 53)
        total = self.milliseconds - self.mean_extra_ms * np.log1p(-uniform)
        return np.rint(total * _NS_PER_MS).astype(np.int64)
