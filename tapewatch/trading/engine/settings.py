"""What the engine assumes of market and account."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND, Market, market_of
from tapewatch.trading.costs import Borrow, ConstantLatency, Fees, Impact, Latency
from tapewatch.trading.engine.records import Terms

_CENTS = 100
_CONTRACT = 100.0
_FRACTION = 1e-8
#: Markets that trade in whole units.
_WHOLE = frozenset({Market.STOCKS, Market.OPTIONS, Market.FUTURES, Market.INDICES})


class SettingsError(ValueError):
    """A setting of the engine that makes no sense; the message names it and its value."""


@dataclass(frozen=True)
class EngineSettings:
    """Account, costs and rules of a simulation.

    Args:
        cash: start capital in the quote currency.
        fees, impact, borrow, latency: cost models.
        leverage: the gross value of all positions may reach this multiple of the equity.
        allows_short: False refuses orders that would sell more than is held.
        depth_share: share of a displayed size, a trade or a bar's volume that the account may take.
        queue_probability: chance that a resting order is met when a trade of others is at its limit.
        half_spread_bps: what a taker pays beyond the price of a bar; quotes have their own spread.
        trades_extended_hours: stocks also trade before and after the regular session.
        mark_s: length of the intervals of `EQUITY`.
        seed: of the queue and of random latencies.
        market: the market of symbols without a prefix (futures look like stocks).
        multipliers: units of the underlying in one contract; options have 100, others 1.
        longest_gap_days: a row of the tape further ahead of its symbol's last one is refused as a clock that jumps.
    """

    cash: float = 100_000.0
    fees: Fees = field(default_factory=Fees)
    impact: Impact = field(default_factory=Impact)
    borrow: Borrow = field(default_factory=Borrow)
    latency: Latency = field(default_factory=ConstantLatency)
    leverage: float = 1.0
    allows_short: bool = True
    depth_share: float = 1.0
    queue_probability: float = 0.5
    half_spread_bps: float = 0.0
    trades_extended_hours: bool = False
    mark_s: int = 60
    seed: int = 0
    market: Market = Market.STOCKS
    multipliers: Mapping[str, float] = field(default_factory=dict)
    longest_gap_days: float = 10.0

    def __post_init__(self) -> None:
        above_zero = {"cash": self.cash, "leverage": self.leverage, "mark_s": self.mark_s}
        for name, value in {**above_zero, "longest_gap_days": self.longest_gap_days, **self.multipliers}.items():
            if not 0 < value < np.inf:
                raise SettingsError(f"{name} is {value}: give a finite number above 0")
        for name in ("depth_share", "queue_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingsError(f"{name} is {getattr(self, name)}: give a number from 0 to 1")
        if not 0 <= self.half_spread_bps < np.inf:
            raise SettingsError(f"half_spread_bps is {self.half_spread_bps}: give a finite number from 0 up")

    @property
    def cash_cents(self) -> int:
        """Start capital in cents."""
        return round(self.cash * _CENTS)

    @property
    def longest_gap_ns(self) -> int:
        """`longest_gap_days` in nanoseconds."""
        return int(self.longest_gap_days * 24 * 60 * NS_PER_MINUTE)

    def market_of(self, symbol: str) -> Market:
        """The market that a symbol trades in."""
        found = market_of(symbol)
        return self.market if found is Market.STOCKS else found

    def lot_of(self, symbol: str) -> float:
        """The least amount of a part of an order."""
        return 1.0 if self.market_of(symbol) in _WHOLE else _FRACTION

    def multiplier_of(self, symbol: str) -> float:
        """Units of the underlying in one contract."""
        return self.multipliers.get(symbol, _CONTRACT if self.market_of(symbol) is Market.OPTIONS else 1.0)

    def keys_of(self, order_ids: Sequence[str]) -> npt.NDArray[np.uint64]:
        """A random number for each order, by its identity and the seed alone (CRC-32, mixed by SplitMix64)."""
        sums = np.fromiter((zlib.crc32(name.encode()) for name in order_ids), np.uint64, len(order_ids))
        mixed = sums + np.uint64(self.seed * 0x9E3779B97F4A7C15 % 2**64)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
        return mixed ^ (mixed >> np.uint64(31))

    def terms(self, *, is_bars: bool) -> Terms:
        """The settings as the kernel reads them."""
        return Terms(
            is_bars=is_bars,
            leverage=float(self.leverage),
            depth_share=float(self.depth_share),
            queue_probability=float(self.queue_probability),
            half_spread_bps=float(self.half_spread_bps),
            per_unit=float(self.fees.per_unit),
            taker_bps=float(self.fees.taker_bps),
            maker_bps=float(self.fees.maker_bps),
            sale_bps=float(self.fees.sale_bps),
            minimum_fee=float(self.fees.minimum),
            impact_bps=float(self.impact.coefficient_bps),
            impact_exponent=float(self.impact.exponent),
            mark_ns=int(self.mark_s * NS_PER_SECOND),
            allows_short=bool(self.allows_short),
        )

    @property
    def digest(self) -> str:
        """Names the settings, so that a paper account is not continued with others."""
        return f"{zlib.crc32(repr(self).encode()):08x}"
