"""Protections of a paper account: limits that change its risk state, lock a symbol for a while, or refuse an order."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import polars as pl

from tapewatch.market.instruments import NS_PER_SECOND, Market, session_at

_DAY_NS = 24 * 3600 * NS_PER_SECOND
_LEAST_RETURNS = 20
#: The end of a state that lasts while no prices come.
FEED_IS_BACK = -1


class RiskState(StrEnum):
    """What an account may do: anything, only reduce its positions, or nothing."""

    ACTIVE = "ACTIVE"
    REDUCING = "REDUCING"
    HALTED = "HALTED"


class ProtectionError(ValueError):
    """A limit that makes no sense; the message names it."""


@dataclass(frozen=True, slots=True)
class Protections:
    """Limits of an account; None switches one off.

    Args:
        max_drawdown: loss from the highest equity, as a share of it, that halts the account.
        daily_loss: loss since the start of the UTC day, as a share, after which it may only reduce until the day ends.
        cooldown_s: no new position in a symbol for so long after a loss in it.
        guard_losses: so many losing trades within `guard_window_s` let the account only reduce for `guard_pause_s`.
        symbol_exposure: a position's value and what open orders add to it, as a share of the equity.
        market_exposure: the same for all symbols of a market.
        correlation, correlated_exposure: an order may not bring the positions whose minute returns have at least this
            correlation with its symbol's, signed by side, beyond that share of the equity.
        stale_s: no new position in a symbol whose last price is older.
        feed_stale_s: silence of all symbols within the hours of their markets that halts the account until prices are back.
        order_age_s: orders that were decided so long ago are refused.
    """

    max_drawdown: float | None = 0.20
    daily_loss: float | None = 0.05
    cooldown_s: float | None = None
    guard_losses: int | None = 4
    guard_window_s: float = 3_600
    guard_pause_s: float = 1_800
    symbol_exposure: float | None = 0.25
    market_exposure: float | None = 1.0
    correlation: float | None = None
    correlated_exposure: float = 0.5
    stale_s: float | None = 180
    feed_stale_s: float | None = 300
    order_age_s: float | None = 300

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ProtectionError(f"{name} is {value}: give a number above 0, or none to switch it off")

    @classmethod
    def none(cls) -> "Protections":
        """No limit at all."""
        return cls(**dict.fromkeys(_SWITCHES))  # type: ignore[arg-type]


_SWITCHES = (
    "max_drawdown", "daily_loss", "cooldown_s", "guard_losses", "symbol_exposure", "market_exposure", "correlation",
    "stale_s", "feed_stale_s", "order_age_s",
)  # fmt: skip


@dataclass(slots=True)
class Watermarks:
    """What the limits on equity compare with, in cents; `day` is the start of the UTC day in ns."""

    peak: int
    day_equity: int
    day: int

    def update(self, now: int, equity: int) -> None:
        """A new equity; the first of a day is what the day's loss is measured from."""
        day = now // _DAY_NS * _DAY_NS
        if day != self.day:
            self.day, self.day_equity = day, equity
        self.peak = max(self.peak, equity)


@dataclass(frozen=True, slots=True)
class Transition:
    """A new risk state; `until` (ns) ends it by itself, 0 never, `FEED_IS_BACK` with the next price."""

    state: RiskState
    reason: str
    until: int = 0


@dataclass(frozen=True, slots=True)
class Lock:
    """No new position in a symbol until a time (ns)."""

    symbol: str
    reason: str
    until: int


def transition(
    limits: Protections, marks: Watermarks, now: int, equity: int, losses: Sequence[int]
) -> Transition | None:
    """The risk state that equity or recent losses demand.

    Args:
        losses: times (ns) of trades that closed at a loss.
    """
    if limits.max_drawdown is not None and equity <= marks.peak * (1 - limits.max_drawdown):
        fall = 1 - equity / marks.peak
        return Transition(RiskState.HALTED, f"drawdown of {fall:.1%}: the limit is {limits.max_drawdown:.1%}")
    if limits.daily_loss is not None and equity <= marks.day_equity * (1 - limits.daily_loss):
        fall = 1 - equity / marks.day_equity
        text = f"loss of {fall:.1%} today: the limit is {limits.daily_loss:.1%}"
        return Transition(RiskState.REDUCING, text, marks.day + _DAY_NS)
    if limits.guard_losses is not None:
        recent = sum(time > now - limits.guard_window_s * NS_PER_SECOND for time in losses)
        if recent >= limits.guard_losses:
            text = f"{recent} losing trades within {limits.guard_window_s:.0f} s"
            return Transition(RiskState.REDUCING, text, now + int(limits.guard_pause_s * NS_PER_SECOND))
    return None


def stale_from(limits: Protections, priced: Mapping[Market, int], at: int) -> int | None:
    """From when on (ns) the feed counts as stale, as far as is known at a time; None where it cannot.

    Args:
        priced: when the newest price of each market became known (ns).
        at: only markets in their regular hours count.
    """
    if limits.feed_stale_s is None:
        return None
    since = []
    for market, last in priced.items():
        session = session_at(market, at - 1)
        if session is not None and session.regular_start < at <= session.regular_end:
            since.append(max(last, session.regular_start))
    return max(since) + int(limits.feed_stale_s * NS_PER_SECOND) if since else None


def is_active(state: RiskState, until: int, at: int) -> bool:
    """Whether an account may trade freely at a time (ns): its state is ACTIVE, or ended by then."""
    return state is RiskState.ACTIVE or 0 < until <= at


def cooldowns(limits: Protections, losses: Mapping[str, int]) -> Iterator[Lock]:
    """Locks of symbols in which a trade closed at a loss, by its time (ns)."""
    if limits.cooldown_s is not None:
        for symbol, time in losses.items():
            yield Lock(symbol, "cooldown", time + int(limits.cooldown_s * NS_PER_SECOND))


@dataclass(frozen=True, slots=True)
class Exposure:
    """An account as its protections see it before an order: values in cents, signed.

    `values` are positions and what open orders add to them; `markets` names each symbol's market, `priced` when its last price
    came (ns).
    """

    state: RiskState
    equity: int
    quantities: Mapping[str, float]
    values: Mapping[str, int]
    markets: Mapping[str, str]
    priced: Mapping[str, int]
    locks: Mapping[str, Lock]


def objection(
    limits: Protections,
    account: Exposure,
    symbol: str,
    side: int,
    quantity: float,
    price: float,
    now: int,
    returns: pl.DataFrame,
) -> str | None:
    """Why an order may not be sent; None if it may.

    Args:
        price: in cents for one unit.
        returns: minute returns, a column a symbol; empty where no correlation is limited.
    """
    held = account.quantities.get(symbol, 0.0)
    if account.state is RiskState.HALTED:
        return "the account is HALTED: `tapewatch paper resume` lets it trade again"
    if held * side < 0 and quantity <= abs(held):
        return None
    if account.state is RiskState.REDUCING:
        return "the account is REDUCING: only orders that reduce a position are taken"
    lock = account.locks.get(symbol)
    if lock is not None and now < lock.until:
        return f"{symbol} is locked for {(lock.until - now) / NS_PER_SECOND:,.0f} s more: {lock.reason}"
    age = now - account.priced.get(symbol, now)
    if limits.stale_s is not None and age > limits.stale_s * NS_PER_SECOND:
        return f"the last price of {symbol} is {age / NS_PER_SECOND:,.0f} s old: the limit is {limits.stale_s:.0f} s"
    after = dict(account.values)
    after[symbol] = after.get(symbol, 0) + round(side * quantity * price)
    return _exposure_objection(limits, account, symbol, side, after, returns)


def _exposure_objection(
    limits: Protections, account: Exposure, symbol: str, side: int, after: Mapping[str, int], returns: pl.DataFrame
) -> str | None:
    equity = max(account.equity, 0)
    if limits.symbol_exposure is not None and abs(after[symbol]) > limits.symbol_exposure * equity:
        return _beyond(symbol, abs(after[symbol]), equity, limits.symbol_exposure)
    if limits.market_exposure is not None:
        market = account.markets[symbol]
        total = sum(abs(value) for name, value in after.items() if account.markets[name] == market)
        if total > limits.market_exposure * equity:
            return _beyond(f"market {market}", total, equity, limits.market_exposure)
    if limits.correlation is not None:
        alike = correlated(returns, symbol, side, after, limits.correlation)
        total = sum(abs(after[name]) for name in alike)
        if len(alike) > 1 and total > limits.correlated_exposure * equity:
            return _beyond(f"correlated {', '.join(sorted(alike))}", total, equity, limits.correlated_exposure)
    return None


def _beyond(what: str, value: int, equity: int, limit: float) -> str:
    share = f"{value / equity:.0%}" if equity else "all"
    return f"{what} would be {share} of the equity: the limit is {limit:.0%}"


def correlated(returns: pl.DataFrame, symbol: str, side: int, values: Mapping[str, int], limit: float) -> set[str]:
    """The symbol, and those whose positions move with an order in it: correlation × side × sign of the position ≥ `limit`.

    Pairs with fewer than 20 common returns are left out, since their correlation says nothing.
    """
    alike = {symbol}
    if symbol not in returns.columns:
        return alike
    own = returns[symbol].to_numpy()
    for name, value in values.items():
        if name == symbol or not value or name not in returns.columns:
            continue
        other = returns[name].to_numpy()
        both = np.isfinite(own) & np.isfinite(other)
        if both.sum() < _LEAST_RETURNS or not own[both].std() or not other[both].std():
            continue
        if np.corrcoef(own[both], other[both])[0, 1] * side * np.sign(value) >= limit:
            alike.add(name)
    return alike
