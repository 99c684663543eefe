"""The engine's rules for bars as a plain Python loop: the peer of a benchmark, and with decimals a second source in tests.

Market, limit and stop orders, good until cancelled; a bar's volume bounds what is filled; fees in basis points; no leverage.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal

_CENT = Decimal("0.01")

Bar = tuple[int, int, str, float, float, float, float, float]
"""Known time, start, symbol, open, high, low, close, volume."""


@dataclass
class PlainOrder:
    """An order as text and numbers."""

    order_id: str
    symbol: str
    active: int
    side: int
    quantity: float
    kind: str
    limit: float | None = None
    stop: float | None = None
    filled: float = 0.0
    is_triggered: bool = False
    is_resting: bool = False


@dataclass
class FloatAccount:
    """Cash and positions in floats, the quickest that a plain loop can do, and what was filled: order, time, quantity, price."""

    cash: float
    fee_bps: float = 0.0
    positions: dict[str, float] = field(default_factory=dict)
    marks: dict[str, float] = field(default_factory=dict)
    fills: list[tuple[str, int, float, float]] = field(default_factory=list)
    equity: list[tuple[int, float]] = field(default_factory=list)

    def trade(self, order: PlainOrder, time: int, quantity: float, price: float) -> None:
        """Book a fill."""
        notional = price * quantity
        self.cash -= order.side * notional + notional * self.fee_bps / 10_000
        self.positions[order.symbol] = self.positions.get(order.symbol, 0.0) + order.side * quantity
        order.filled += quantity
        self.fills.append((order.order_id, time, quantity, price))

    def value(self) -> float:
        """Cash and positions at their marks."""
        return self.cash + sum(self.marks[symbol] * quantity for symbol, quantity in self.positions.items())


@dataclass
class PlainAccount:
    """Cash and positions in decimals, and what was filled: order, time, quantity, price."""

    cash: Decimal
    fee_bps: Decimal = Decimal(0)
    positions: dict[str, float] = field(default_factory=dict)
    marks: dict[str, float] = field(default_factory=dict)
    fills: list[tuple[str, int, float, float]] = field(default_factory=list)
    equity: list[tuple[int, Decimal]] = field(default_factory=list)

    def trade(self, order: PlainOrder, time: int, quantity: float, price: float) -> None:
        """Book a fill."""
        notional = (Decimal(str(price)) * Decimal(str(quantity))).quantize(_CENT, ROUND_HALF_UP)
        fee = (Decimal(str(price)) * Decimal(str(quantity)) * self.fee_bps / 10_000).quantize(_CENT, ROUND_HALF_UP)
        self.cash -= order.side * notional + fee
        self.positions[order.symbol] = self.positions.get(order.symbol, 0.0) + order.side * quantity
        order.filled += quantity
        self.fills.append((order.order_id, time, quantity, price))

    def value(self) -> Decimal:
        """Cash and positions at their marks."""
        held = (
            (Decimal(str(self.marks[symbol])) * Decimal(str(quantity))).quantize(_CENT, ROUND_HALF_UP)
            for symbol, quantity in self.positions.items()
            if quantity
        )
        return self.cash + sum(held, Decimal(0))


def plain_bars(
    orders: Iterable[PlainOrder], bars: Iterable[Bar], account: PlainAccount | FloatAccount, share: float = 1.0
) -> None:
    """Fill orders over bars in order of their known time; the account's equity is noted after each time."""
    waiting = sorted(orders, key=lambda order: order.active)
    open_orders: dict[str, list[PlainOrder]] = {}
    arrival, last = 0, None
    for known, start, symbol, *prices in bars:
        if last is not None and known != last:
            account.equity.append((last, account.value()))
        last = known
        while arrival < len(waiting) and waiting[arrival].active < known:
            order = waiting[arrival]
            if order.symbol in account.marks:
                open_orders.setdefault(order.symbol, []).append(order)
            arrival += 1
        at_market = [order for order in open_orders.get(symbol, ()) if order.active <= start]
        _match(at_market, known, prices, account, share)
        if at_market:
            open_orders[symbol] = [order for order in open_orders[symbol] if order.filled < order.quantity]
        account.marks[symbol] = prices[3]
    if last is not None:
        account.equity.append((last, account.value()))


def _match(
    orders: list[PlainOrder], known: int, prices: list[float], account: PlainAccount | FloatAccount, share: float
) -> None:
    open_, high, low, _, volume = prices
    left = volume * share
    triggered = set()
    for turn in ("stops", "limits"):
        for order in orders:
            price = None
            if order.kind == "stop" and not order.is_triggered:
                if turn == "stops" and (high >= order.stop if order.side > 0 else low <= order.stop):
                    order.is_triggered = True
                    triggered.add(order.order_id)
                    if order.limit is None:
                        price = max(open_, order.stop) if order.side > 0 else min(open_, order.stop)
            elif order.limit is None:
                price = open_ if turn == "stops" else None
            elif turn == "limits" and order.order_id not in triggered:
                price = _limit_price(order, open_, high, low)
            wanted = order.quantity - order.filled
            quantity = wanted if wanted <= left else float(int(left))
            if price is not None and quantity > 0:
                account.trade(order, known, quantity, price)
                left -= quantity
    for order in orders:
        order.is_resting = True


def _limit_price(order: PlainOrder, open_: float, high: float, low: float) -> float | None:
    if open_ < order.limit if order.side > 0 else open_ > order.limit:
        return order.limit if order.is_resting else open_
    is_through = low < order.limit if order.side > 0 else high > order.limit
    return order.limit if is_through else None


def plain_orders(rows: Iterable[Mapping[str, object]], active: Iterable[int]) -> list[PlainOrder]:
    """Orders of rows of `ORDERS`, and when they arrive."""
    return [
        PlainOrder(
            str(row["order_id"]),
            str(row["symbol"]),
            at,
            int(row["side"]),  # type: ignore[call-overload]
            float(row["quantity"]),  # type: ignore[arg-type]
            str(row["kind"]),
            row["limit_price"],  # type: ignore[arg-type]
            row["stop_price"],  # type: ignore[arg-type]
        )
        for row, at in zip(rows, active, strict=True)
    ]
