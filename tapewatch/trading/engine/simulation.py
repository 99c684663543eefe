"""A simulated account at the market: takes orders, advances along the tape, and carries its state from part to part.

The same events and orders give the same fills in one part as in many, so that a backtest and a paper account agree.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from tapewatch.market.arrays import Array, flat
from tapewatch.market.instruments import Market
from tapewatch.market.tables.trading import ORDERS, TIMES_IN_FORCE
from tapewatch.trading.engine import records
from tapewatch.trading.engine.calendar import calendar_of, session_ends, sessions_at
from tapewatch.trading.engine.kernel import advance, cancel
from tapewatch.trading.engine.records import DAY, NEVER, NO_PRICE, NONE, REFUSED, WAITING, Calendar, Events, Output
from tapewatch.trading.engine.refusals import Reason, faults, kernel_refusal
from tapewatch.trading.engine.settings import EngineSettings
from tapewatch.trading.engine.tape import Tape

_KINDS = {"market": records.MARKET, "limit": records.LIMIT, "stop": records.STOP}
_FORCES = dict(zip(TIMES_IN_FORCE, (records.DAY, records.GTC, records.IOC), strict=True))
_FIRST_ROOM = 1024
#: A refusal: its identity, the order's, symbol, time in ns, reason, detail.
Refusal = tuple[str, str | None, str, int, Reason, str]


class Simulation:
    """Cash, positions and open orders of an account, and what is known of each symbol.

    Args:
        settings: account, costs and rules.
        is_bars: whether orders that arrive before the first event wait for bars, or are tried against quotes.
    """

    def __init__(self, settings: EngineSettings, *, is_bars: bool = False) -> None:
        self.settings = settings
        self.is_bars = is_bars
        self.symbols: dict[str, int] = {}
        self.markets: dict[Market, int] = {}
        self.accounts = np.zeros(1, dtype=records.ACCOUNT)
        self.accounts["cash"] = settings.cash_cents
        self.slots = np.zeros(0, dtype=records.SLOT)
        self.reaches = np.zeros(0, dtype=records.REACH)
        self.orders = np.zeros(0, dtype=records.ORDER)
        self.submitted = ORDERS.empty()
        self.ids: dict[str, int] = {}
        self.refused: list[Refusal] = []
        self.written: dict[str, list[Array]] = {name: [] for name in Output._fields}
        self.queue: Array = np.zeros(0, dtype=np.int64)
        self._out = _room(_FIRST_ROOM)

    @property
    def clock(self) -> int:
        """Time of the last event or arrival (ns UTC); 0 before the first."""
        return int(self.accounts["clock"][0])

    @property
    def equity_cents(self) -> int:
        """Cash and positions."""
        return int(self.accounts["cash"][0] + self.accounts["value"][0])

    def quantity(self, symbol: str) -> float:
        """What is held of a symbol; negative if short."""
        slot = self.symbols.get(symbol)
        return 0.0 if slot is None else float(self.slots["quantity"][slot])

    def submit(
        self,
        orders: pl.DataFrame,
        *,
        now: int | None = None,
        objections: Mapping[str, tuple[Reason, str]] | None = None,
    ) -> None:
        """Send `ORDERS`; those that no market would take are refused at once, the others when they arrive.

        Args:
            orders: `ORDERS`, in the order in which they were decided.
            now: the time (ns UTC); an order that was decided later is refused.
            objections: reason and detail of orders that are refused in any case.

        Raises:
            SchemaError: the frame is no `ORDERS`.
        """
        orders = self._without_repeated(ORDERS.conform(orders))
        if orders.is_empty():
            return
        first = self.orders.size
        self.ids.update(zip(orders["order_id"], range(first, first + orders.height), strict=True))
        self.submitted = pl.concat([self.submitted, orders]) if first else orders
        rows = self._records(orders)
        bad = {order_id: (Reason(reason), detail) for order_id, reason, detail in faults(orders).iter_rows()}
        for order_id, (reason, detail) in {**(objections or {}), **bad}.items():
            self._refuse(rows, order_id, first, reason, detail)
        if now is not None:
            for number in np.flatnonzero((flat(orders["time"]) > now) & (rows["state"] == WAITING)):
                text = f"it was decided {(orders['time'].dt.epoch('ns')[int(number)] - now) / 1e9:.3f} s from now: send it then"
                self._refuse(rows, orders["order_id"][int(number)], first, Reason.FUTURE, text)
        self.orders = np.concatenate([self.orders, rows])
        queue = np.concatenate([self.queue, first + np.flatnonzero(rows["state"] == WAITING)])
        self.queue = queue[np.argsort(self.orders["active"][queue], kind="stable")]

    def advance(self, tape: Tape, until: int | None = None) -> None:
        """Process the events of a part of the tape and the orders that arrive up to `until`, by default its last event.

        Raises:
            ValueError: the part begins before the clock.
        """
        if tape.first and tape.first < self.clock:
            raise ValueError(f"the tape steps back: {tape.first} ns is before the clock's {self.clock} ns")
        self.is_bars = tape.is_bars if tape.events.time.size else self.is_bars
        self.refused += [
            (f"{fault.symbol}#{fault.reason}#{fault.time}", None, fault.symbol, fault.time, fault.reason, fault.detail)
            for fault in tape.faults
        ]
        slots = np.array([self.slot_of(name) for name in tape.symbols], dtype=np.int32)
        events = tape.events._replace(symbol=slots[tape.events.symbol]) if slots.size else tape.events
        until = max(self.clock, tape.last) if until is None else until
        self._run(events, until)

    def cancel(self, order_ids: Sequence[str], at: int) -> None:
        """Cancel orders that are open or on their way."""
        numbers = np.array([self.ids[name] for name in order_ids if name in self.ids], dtype=np.int64)
        waiting = numbers[self.orders["state"][numbers] == WAITING]
        self.orders["state"][waiting], self.orders["ended"][waiting] = records.CANCELLED, at
        self.queue = self.queue[~np.isin(self.queue, waiting)]
        cancel(self.accounts, self.slots, self.orders, numbers, at)

    def slot_of(self, symbol: str) -> int:
        """The row of a symbol in `slots`, new if it was not seen before."""
        if symbol not in self.symbols:
            market = self.settings.market_of(symbol)
            slot = np.zeros(1, dtype=records.SLOT)
            slot["market"] = self.markets.setdefault(market, len(self.markets))
            slot["day"] = slot["first"] = slot["last"] = NONE
            slot["mark"] = np.nan
            slot["lot"] = self.settings.lot_of(symbol)
            slot["multiplier"] = self.settings.multiplier_of(symbol)
            slot["borrow_bps"] = self.settings.borrow.rate_of(symbol)
            self.symbols[symbol] = self.slots.size
            self.slots = np.concatenate([self.slots, slot])
            self.reaches = np.concatenate([self.reaches, np.zeros(1, dtype=records.REACH)])
        return self.symbols[symbol]

    def refuse_late(self) -> None:
        """Refuse the orders that were decided after the last event, or for a symbol that the tape has no price of."""
        times = flat(self.submitted["time"])
        late = self.queue[times[self.queue] > self.clock] if self.queue.size else self.queue
        for number in late.tolist():
            symbol = self.submitted["symbol"][number]
            reason, text = Reason.FUTURE, "it was decided after the tape's end"
            if not self.slots["mark"][self.orders["symbol"][number]] > 0:
                reason, text = kernel_refusal(NO_PRICE, str(symbol), 0, 0)
            self._refuse(self.orders, self.submitted["order_id"][number], 0, reason, text)
        self.queue = self.queue[~np.isin(self.queue, late)]

    def _run(self, events: Events, until: int) -> None:
        times = [int(time) for time in (*events.time[:1], *events.time[-1:], self.clock, until) if time]
        if not times:
            return
        calendar = self._calendar(min(times), max(times))
        sessions = sessions_at(calendar, self.clock)
        terms = self.settings.terms(is_bars=self.is_bars)
        event = arrival = 0
        while True:
            event, arrival = advance(
                events, event, self.orders, self.queue, arrival, until, self.accounts, self.slots, self.reaches, sessions,
                calendar, terms, self._out,
            )  # fmt: skip
            self._collect()
            waits = arrival < self.queue.size and self.orders["active"][self.queue[arrival]] <= until
            if event == events.time.size and not waits:
                break
            self._out = _room(4 * max(self._out.fills.size, int(self.accounts["open"][0])))
        self.queue = self.queue[arrival:]

    def _collect(self) -> None:
        for name, count in zip(Output._fields, ("fills", "changes", "flows", "marks"), strict=True):
            rows = int(self.accounts[count][0])
            if rows:
                self.written[name].append(getattr(self._out, name)[:rows].copy())
            self.accounts[count] = 0

    def _calendar(self, first: int, last: int) -> Calendar:
        return calendar_of(list(self.markets), first, last, is_extended=self.settings.trades_extended_hours)

    def _without_repeated(self, orders: pl.DataFrame) -> pl.DataFrame:
        is_repeated = ~orders["order_id"].is_first_distinct() | orders["order_id"].is_in(list(self.ids))
        for row in orders.filter(is_repeated).iter_rows(named=True):
            identity = f"{row['order_id']}#{len(self.refused)}"
            at = int(row["time"].timestamp() * 1e9)
            text = "an order of this identity came before: give each order its own"
            self.refused.append((identity, row["order_id"], str(row["symbol"]), at, Reason.REPEATED, text))
        return orders.filter(~is_repeated)

    def _records(self, orders: pl.DataFrame) -> Array:
        """The orders as the kernel reads them."""
        rows = np.zeros(orders.height, dtype=records.ORDER)
        keys = self.settings.keys_of(orders["order_id"].to_list())
        names = orders["symbol"].cast(pl.String)
        distinct = names.unique(maintain_order=True).to_list()
        rows["symbol"] = names.replace_strict(
            distinct, [self.slot_of(name) for name in distinct], return_dtype=pl.Int64
        )
        rows["key"] = keys.view(np.int64)
        # An order that comes late meets the market as it is now.
        rows["active"] = np.maximum(flat(orders["time"]) + self.settings.latency.delays(keys), self.clock)
        rows["expires"] = flat(orders["expires_time"].dt.epoch("ns"), null=NEVER)
        rows["side"], rows["quantity"] = flat(orders["side"], null=0), flat(orders["quantity"])
        rows["kind"] = orders["kind"].replace_strict(_KINDS, default=NONE, return_dtype=pl.Int64)
        rows["force"] = orders["time_in_force"].replace_strict(_FORCES, default=NONE, return_dtype=pl.Int64)
        rows["limit"], rows["stop"] = flat(orders["limit_price"]), flat(orders["stop_price"])
        rows["next"] = NONE
        calendar = self._calendar(int(rows["active"].min()), int(rows["active"].max()))
        for market in range(len(self.markets)):
            is_day = (rows["force"] == DAY) & (self.slots["market"][rows["symbol"]] == market)
            ends = session_ends(calendar, market, rows["active"][is_day])
            rows["expires"][is_day] = np.minimum(rows["expires"][is_day], ends)
        return rows

    def _refuse(self, rows: Array, order_id: str, first: int, reason: Reason, detail: str) -> None:
        number = self.ids[order_id]
        row = rows[number - first]
        at = max(int(row["active"]), self.clock)
        row["state"], row["ended"] = REFUSED, at
        name = str(self.submitted["symbol"][number])
        self.refused.append((order_id, order_id, name, at, reason, detail))


def _room(rows: int) -> Output:
    return Output(
        np.zeros(rows, dtype=records.FILL),
        np.zeros(rows, dtype=records.CHANGE),
        np.zeros(rows, dtype=records.FLOW),
        np.zeros(rows, dtype=records.EQUITY_ROW),
    )
