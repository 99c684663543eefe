"""The bets of a day that are not closed yet, and the minutes at which something may be decided on them."""

from dataclasses import dataclass, field

import numpy as np
import polars as pl

from tapewatch.market.arrays import Array, flat
from tapewatch.market.instruments import NS_PER_MINUTE, Session
from tapewatch.trading.bets.orders import bets_of, closing_orders, names
from tapewatch.trading.bets.path import NEVER, Paths
from tapewatch.trading.bets.rules import BetRules
from tapewatch.trading.engine import Simulation
from tapewatch.trading.engine.outcome import fills_so_far, orders_and_fills
from tapewatch.trading.engine.records import OPEN

_OPENING = ":open"


@dataclass(slots=True)
class _Bet:
    """A bet whose opening order was sent.

    Attributes:
        symbol, side, target_bps, horizon_minutes: of its signal.
        time, expires: of the opening order (ns UTC).
        orders: numbers of its orders in the simulation, the opening one first.
        is_settled: whether the opening order can trade no more.
        is_held: whether something is held that no order closes.
        is_closing: whether an order that closes it is on its way.
        met: end of its path (ns UTC), once it is settled.
    """

    symbol: str
    side: int
    target_bps: float
    horizon_minutes: int
    time: int
    expires: int
    quantity: float
    orders: list[int] = field(default_factory=list)
    filled: float = 0.0
    price: float = 0.0
    fill_ns: int = 0
    is_settled: bool = False
    is_held: bool = False
    is_closing: bool = False
    met: int = NEVER


class OpenBets:
    """Sends the orders of a day's signals to a simulation.

    `bets_of` the account and `closings` of them, as the live path makes them each minute, for those bets alone of which an order has
    traded or ended since.

    Args:
        signals: SIGNALS of the session.
        opened: `openings` of them.
        bars: minute bars of the session, with known_time.
        session: the day.
        rules: how signals become orders.
        simulation: the account.
    """

    def __init__(
        self,
        signals: pl.DataFrame,
        opened: pl.DataFrame,
        bars: pl.DataFrame,
        session: Session,
        rules: BetRules,
        simulation: Simulation,
    ) -> None:
        self._signals, self._opened, self._paths = names(signals), opened, Paths(bars, session)
        self._session, self._rules, self._simulation = session, rules, simulation
        self._times = flat(opened["time"])
        columns = ("bet", pl.col("symbol").cast(pl.String), "side", "target_bps", "horizon_minutes")
        signal = {bet: of_bet for bet, *of_bet in self._signals.select(columns).iter_rows()}
        sent = zip(
            opened["order_id"],
            self._times.tolist(),
            flat(opened["expires_time"]).tolist(),
            opened["quantity"],
            strict=True,
        )
        self._waiting = {
            (bet := order_id.removesuffix(_OPENING)): _Bet(*signal[bet], *of_order) for order_id, *of_order in sent
        }
        self._bets: dict[str, _Bet] = {}

    def next_minute(self, clock: int) -> int | None:
        """The next minute's end (ns UTC) after `clock` at which something may be decided; None if there is none."""
        following, last = clock + NS_PER_MINUTE, self._session.regular_end - self._rules.closing_ns
        new = np.searchsorted(self._times, clock, side="right")
        times = self._times[new : new + 1].tolist()
        for bet in self._bets.values():
            if not bet.is_settled:
                times.append(following)
            elif bet.is_held and clock < self._session.regular_end:
                times.append(max(min(last, bet.met), following))
        return min(times, default=None)

    def decide(self, now: int) -> None:
        """Send the orders that open and close bets at `now`, up to which the simulation has advanced."""
        for bet in self._bets.values():
            if self._has_changed(bet, now):
                self._look(bet, now)
        first, end = np.searchsorted(self._times, [now, now + 1])
        orders = self._opened[int(first) : int(end)]
        if due := {
            name: bet for name, bet in self._bets.items() if bet.is_settled and bet.is_held and self._is_due(bet, now)
        }:
            orders = pl.concat([orders, closing_orders(self._frame(due), now)])
        if orders.height:
            self._simulation.submit(orders)
            for order_id in orders["order_id"]:
                self._follow(order_id)

    def _has_changed(self, bet: _Bet, now: int) -> bool:
        """Whether the opening order has traded or ended, or the last closing order ended, since the bet was looked at."""
        rows = self._simulation.orders
        if not bet.is_settled:
            return bool(rows["filled"][bet.orders[0]] != bet.filled) or bet.expires <= now
        return bet.is_closing and bool(rows["state"][bet.orders[-1]] > OPEN)

    def _look(self, bet: _Bet, now: int) -> None:
        """Bring what is known of a bet up to date, as `bets_of` and `closings` define it."""
        rows = self._simulation.orders
        fills = fills_so_far(self._simulation)
        traded = {number: fills[fills["order"] == number] for number in bet.orders}
        opening, *closings = bet.orders
        bet.filled, was_settled = float(rows["filled"][opening]), bet.is_settled
        filled = _sum(traded[opening]["quantity"])
        bet.is_settled = (traded[opening].size > 0 and filled >= bet.quantity) or bet.expires <= now
        is_going_on = {number: bool(rows["state"][number] <= OPEN) for number in closings}
        bet.is_closing = any(is_going_on.values())
        closing = _sum(
            np.array(
                [
                    rows["quantity"][each] if going_on else _sum(traded[each]["quantity"])
                    for each, going_on in is_going_on.items()
                ]
            )
        )
        bet.is_held = filled > closing
        if bet.is_settled and bet.is_held and not was_settled:
            bet.fill_ns = int(traded[opening]["time"].max())
            bet.price = _sum(traded[opening]["price"] * traded[opening]["quantity"]) / filled
            bet.met = self._end_ns(bet, self._session.regular_end)

    def _is_due(self, bet: _Bet, now: int) -> bool:
        """Whether a bet is to be closed at `now`, by the bars that are known then."""
        if now >= self._session.regular_end - self._rules.closing_ns or bet.time < self._session.day_start:
            return True
        return bet.met <= now and self._end_ns(bet, now, known_ns=now) <= now

    def _end_ns(self, bet: _Bet, through_ns: int, known_ns: int = NEVER) -> int:
        signal = (bet.symbol, bet.side, bet.price, bet.fill_ns, bet.target_bps, bet.horizon_minutes)
        return self._paths.end_ns(*signal, through_ns=through_ns, known_ns=known_ns)

    def _follow(self, order_id: str) -> None:
        """Note an order that was sent."""
        name, number = order_id.rpartition(":")[0], self._simulation.ids[order_id]
        if order_id.endswith(_OPENING):
            bet = self._bets.setdefault(name, self._waiting[name])
        else:
            bet = self._bets[name]
            bet.is_closing = bool(self._simulation.orders["state"][number] <= OPEN)
            bet.is_held = not bet.is_closing
        if number not in bet.orders:  # else it was refused as repeated
            bet.orders.append(number)

    def _frame(self, bets: dict[str, _Bet]) -> pl.DataFrame:
        """`bets_of` these bets."""
        numbers = sorted(number for bet in bets.values() for number in bet.orders)
        signals = self._signals.filter(pl.col("bet").is_in(list(bets)))
        return bets_of(signals, *orders_and_fills(self._simulation, numbers))


def _sum(values: Array) -> float:
    """In order, as the sums of a group in a frame are made."""
    return float(sum(values.tolist()))
