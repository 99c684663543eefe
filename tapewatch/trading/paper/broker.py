"""The broker of a paper account: takes orders, advances along the tape, and commits each step as one transaction.

A broker that was killed continues from the last commit, with the same outcome as one that was not: what a step reads (orders,
risk state, tape) and what it writes belong to one transaction, and the engine draws nothing from outside.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import sqlalchemy as sa

from tapewatch.market.arrays import Array
from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND, Market
from tapewatch.market.tables.paper import (
    PAPER_ACCOUNTS,
    PAPER_CASH_FLOWS,
    PAPER_EQUITY,
    PAPER_FILLS,
    PAPER_LOCKS,
    PAPER_ORDERS,
    PAPER_POSITIONS,
    PAPER_REFUSALS,
    PAPER_RISK,
)
from tapewatch.market.tables.tape import TIME
from tapewatch.store.database.database import Database
from tapewatch.store.database.engine import transaction
from tapewatch.trading.engine import EngineSettings, Simulation, Tape
from tapewatch.trading.engine.outcome import take_written
from tapewatch.trading.engine.records import OPEN, WAITING
from tapewatch.trading.engine.refusals import Reason
from tapewatch.trading.paper.ledger import (
    PaperError,
    account_row,
    inbox,
    locks_of,
    losses_of,
    open_account,
    risk_row,
    standing,
    write,
)
from tapewatch.trading.paper.parts import Slicer
from tapewatch.trading.paper.protections import (
    FEED_IS_BACK,
    Exposure,
    Lock,
    Protections,
    RiskState,
    Transition,
    Watermarks,
    cooldowns,
    is_active,
    objection,
    stale_from,
    transition,
)
from tapewatch.trading.paper.state import MONEY, changed, order_rows, position_rows, restored

_STEP_S = {True: 60, False: 1}
#: Minute returns of symbols up to a time (ns): a column each.
Returns = Callable[[list[str], int], pl.DataFrame]


class PaperBroker:
    """One account. Not thread-safe; of two brokers of one account the second to commit fails.

    Args:
        database: holds the account.
        account: its name; it is opened if there is none.
        settings: capital, costs and rules, the same each time.
        limits: its protections.
        is_bars: whether its tape is bars (steps of a minute) or quotes (steps of a second).
        returns: minute returns for the correlation limit.
        slicer: divides market orders when they are taken; None leaves them whole.

    Raises:
        PaperError: the account was opened with other settings.
        DatabaseError: the database cannot be used.
    """

    def __init__(
        self,
        database: Database,
        account: str,
        settings: EngineSettings,
        limits: Protections | None = None,
        *,
        is_bars: bool = True,
        returns: Returns | None = None,
        slicer: Slicer | None = None,
    ) -> None:
        self._database, self.account, self.settings = database, account, settings
        self._limits = limits or Protections()
        if self._limits.correlation is not None and returns is None:
            raise PaperError("a limit on correlation needs minute returns: trade against live bars, or switch it off")
        self._returns, self._slicer = returns, slicer
        self._step_ns = _STEP_S[is_bars] * NS_PER_SECOND
        self.is_new = open_account(database, account, settings, is_bars=is_bars)
        self._load()

    @property
    def cursor(self) -> int:
        """The tape up to here (ns UTC) was processed."""
        return self._cursor

    @property
    def simulation(self) -> Simulation:
        """The account in memory, as it was committed."""
        return self._simulation

    def process(self, tape: Tape, until: int) -> int:
        """Take the orders and the tape's events after the cursor, up to the last whole step before `until` (ns UTC).

        Returns: how many steps were committed.

        Raises:
            PaperError: another broker trades the account.
            DatabaseError: the database refuses; the account stands as at the last commit, and may be processed again.
        """
        until = until // self._step_ns * self._step_ns
        steps = 0
        try:
            for boundary in self._boundaries(tape, until):
                part = tape.part(self._cursor, boundary)
                steps += self._step(part if steps else replace(part, faults=tape.faults), boundary)
        except BaseException:
            self._load()
            raise
        return steps

    def _boundaries(self, tape: Tape, until: int) -> Iterator[int]:
        """Ends of steps with events, those at which the feed turns stale between them, and `until`, where orders may wait."""
        times = tape.events.time
        times = times[(times > self._cursor) & (times <= until)]
        ends = np.unique((times + self._step_ns - 1) // self._step_ns * self._step_ns).tolist()
        if until > self._cursor and until not in ends[-1:]:
            ends.append(until)
        for end in ends:
            silent = (stale_from(self._limits, self._priced(), at) for at in (self._cursor + self._step_ns, end))
            halts = {(since + self._step_ns - 1) // self._step_ns * self._step_ns for since in silent if since}
            yield from sorted(halt for halt in halts if self._cursor < halt < end)
            yield end

    def _load(self) -> None:
        with transaction(self._database.engine, reads_only=True) as connection:
            row = account_row(connection, self.account)
            positions, orders, self._next_number = standing(connection, self.account)
        self._simulation = restored(self.settings, row, positions, orders)
        self._numbers: Array = orders.sort("number")["number"].to_numpy().astype(np.int64)
        self._cursor, self._commits = int(row["cursor_ns"]), int(row["step"])

    def _step(self, part: Tape, boundary: int) -> bool:
        """One transaction; returns whether there was anything to do."""
        simulation = self._simulation
        with transaction(self._database.engine) as connection:
            row = account_row(connection, self.account, locks=True)
            if row["step"] != self._commits:
                raise PaperError(f"another broker trades paper account {self.account}: stop one of them")
            sent = inbox(connection, self.account, boundary)
            risk = risk_row(connection, self.account)
            state = self._state(risk, part, boundary)
            stale = self._stale(state, part, boundary)
            effective = stale.state if stale else state
            barred = [] if effective is RiskState.ACTIVE else self._barred(effective)
            if not (part.events.time.size or sent.height or barred or stale):
                return False
            before = (simulation.orders.copy(), simulation.slots.copy())
            locks = locks_of(connection, self.account)
            simulation.cancel(barred, max(simulation.clock, self._cursor))
            self._take(connection, sent, effective, locks)
            simulation.advance(part, boundary)
            self._commit(connection, row, risk, state, stale, before)
        self._commits += 1
        return True

    def _state(self, risk: Mapping[str, Any], part: Tape, boundary: int) -> RiskState:
        """The risk state of a step: what is stored, unless that has ended."""
        state, until = RiskState(risk["state"]), int(risk["until_ns"])
        is_back = until == FEED_IS_BACK and part.events.time.size > 0
        return RiskState.ACTIVE if is_back or is_active(state, until, boundary) else state

    def _stale(self, state: RiskState, part: Tape, boundary: int) -> Transition | None:
        """The halt of an active account whose feed is stale at the end of a step without prices."""
        if part.events.time.size or state is not RiskState.ACTIVE:
            return None
        since = stale_from(self._limits, self._priced(), boundary)
        if since is None or boundary < since:
            return None
        text = f"no price of any symbol for {self._limits.feed_stale_s:.0f} s: the feed is stale"
        return Transition(RiskState.HALTED, text, FEED_IS_BACK)

    def _priced(self) -> dict[Market, int]:
        """When the newest price of each market became known (ns)."""
        simulation = self._simulation
        width = NS_PER_MINUTE if simulation.is_bars else 0
        priced: dict[Market, int] = {}
        for name, slot in simulation.symbols.items():
            if quoted := int(simulation.slots["quote_time"][slot]):
                market = self.settings.market_of(name)
                priced[market] = max(priced.get(market, 0), quoted + width)
        return priced

    def _barred(self, state: RiskState) -> list[str]:
        """Open orders that the risk state forbids: all, or those that reduce no position."""
        simulation, names = self._simulation, self._simulation.submitted["order_id"]
        numbers = np.flatnonzero(np.isin(simulation.orders["state"], (OPEN, WAITING)))
        if state is RiskState.REDUCING:
            orders = simulation.orders[numbers]
            held = simulation.slots["quantity"][orders["symbol"]] * orders["side"]
            numbers = numbers[~((held < 0) & (orders["quantity"] - orders["filled"] <= -held))]
        return [names[int(number)] for number in numbers]

    def _take(self, connection: sa.Connection, sent: pl.DataFrame, state: RiskState, locks: Mapping[str, Lock]) -> None:
        """Send orders to the engine, those that a protection forbids with the objection."""
        simulation, limits = self._simulation, self._limits
        objections: dict[str, tuple[Reason, str]] = {}
        if self._slicer is not None:
            sent, objections = self._slicer.divided(connection, self.account, sent)
        for symbol in sent["symbol"].cast(pl.String).unique(maintain_order=True):
            simulation.slot_of(symbol)
        account = self._exposure(state, locks)
        values = dict(account.values)
        returns = self._returns(list(values), self._cursor) if self._returns and sent.height else pl.DataFrame()
        for row in sent.iter_rows(named=True):
            symbol, side, quantity = str(row["symbol"]), row["side"] or 0, row["quantity"] or 0.0
            slot = simulation.slots[simulation.symbols[symbol]]
            age_s = (simulation.clock - row["time"].timestamp() * NS_PER_SECOND) / NS_PER_SECOND
            if limits.order_age_s is not None and simulation.clock and age_s > limits.order_age_s:
                text = f"it was decided {age_s:,.0f} s ago: the limit is {limits.order_age_s:.0f} s"
                objections[row["order_id"]] = (Reason.STALE, text)
                continue
            price = _price(slot, row) * slot["multiplier"] * 100
            now = max(simulation.clock, self._cursor)
            text_or_none = objection(limits, account, symbol, side, quantity, price, now, returns)
            if text_or_none is None:
                values[symbol] += round(side * quantity * price)
                account = replace(account, values=values)
            else:
                objections[row["order_id"]] = (Reason.RISK, text_or_none)
        first = simulation.orders.size
        simulation.submit(sent, objections=objections)
        taken = simulation.orders.size - first
        self._numbers = np.concatenate([self._numbers, self._next_number + np.arange(taken)])
        self._next_number += taken

    def _exposure(self, state: RiskState, locks: Mapping[str, Lock]) -> Exposure:
        simulation = self._simulation
        slots = {name: simulation.slots[slot] for name, slot in simulation.symbols.items()}
        values = {name: int(slot["value"]) for name, slot in slots.items()}
        names = list(slots)
        for order in simulation.orders[np.isin(simulation.orders["state"], (OPEN, WAITING))]:
            values[names[order["symbol"]]] += int(order["side"] * order["reserved"])
        width = NS_PER_MINUTE if simulation.is_bars else 0
        return Exposure(
            state=state,
            equity=simulation.equity_cents,
            quantities={name: float(slot["quantity"]) for name, slot in slots.items()},
            values=values,
            markets={name: str(self.settings.market_of(name)) for name in slots},
            priced={name: int(slot["quote_time"]) + width for name, slot in slots.items() if slot["quote_time"]},
            locks=locks,
        )

    def _commit(
        self,
        connection: sa.Connection,
        row: dict[str, Any],
        risk: dict[str, Any],
        state: RiskState,
        stale: Transition | None,
        before: tuple[Array, Array],
    ) -> None:
        """Write what the step changed."""
        simulation, account = self._simulation, self.account
        names = list(simulation.symbols)
        realised_before = np.zeros(simulation.slots.size, dtype=np.int64)
        realised_before[: before[1].size] = before[1]["realised"]
        written = take_written(simulation)
        lost = {
            names[slot]: simulation.clock for slot in np.flatnonzero(simulation.slots["realised"] < realised_before)
        }
        self._cursor = max(self._cursor, simulation.clock)
        marks = Watermarks(int(row["peak_cents"]), int(row["day_cents"]), int(row["day_ns"]))
        marks.update(self._cursor, simulation.equity_cents)
        window = self._cursor - int(self._limits.guard_window_s * NS_PER_SECOND)
        losses = [time for time in (*losses_of(row), *lost.values()) if time > window]
        new = stale or transition(self._limits, marks, self._cursor, simulation.equity_cents, losses)
        self._write_risk(connection, risk, state, new)
        locks = [
            {"account": account, "symbol": lock.symbol, "at_time": None, "reason": lock.reason, "until_ns": lock.until}
            for lock in cooldowns(self._limits, lost)
        ]
        if locks:
            now = pl.lit(self._cursor).cast(TIME)
            write(connection, PAPER_LOCKS, pl.DataFrame(locks).with_columns(at_time=now))
        orders = changed(before[0], simulation.orders)
        write(connection, PAPER_ORDERS, order_rows(simulation, account, orders, self._numbers[orders]))
        slots = changed(before[1], simulation.slots)
        write(connection, PAPER_POSITIONS, position_rows(simulation, account, slots))
        for table, frame in (
            (PAPER_FILLS, written.fills),
            (PAPER_EQUITY, written.equity),
            (PAPER_CASH_FLOWS, written.cash_flows),
            (PAPER_REFUSALS, written.refusals),
        ):
            write(connection, table, frame.with_columns(account=pl.lit(account)))
        row |= {name: int(simulation.accounts[field][0]) for name, field in MONEY.items()}
        row |= {
            "cursor_ns": self._cursor,
            "step": self._commits + 1,
            "losses": json.dumps(losses),
            "is_bars": simulation.is_bars,
        }
        row |= {"peak_cents": marks.peak, "day_cents": marks.day_equity, "day_ns": marks.day}
        write(connection, PAPER_ACCOUNTS, pl.DataFrame([row]))

    def _write_risk(
        self, connection: sa.Connection, risk: dict[str, Any], state: RiskState, new: Transition | None
    ) -> None:
        """A protection makes the state stricter, never looser; a state that ended becomes ACTIVE."""
        order = list(RiskState)
        if new is not None and order.index(new.state) > order.index(state):
            wanted = {"state": str(new.state), "reason": new.reason, "until_ns": new.until}
        elif state is RiskState.ACTIVE and risk["state"] != str(state):
            wanted = {"state": str(state), "reason": f"the time of {risk['state']} is over", "until_ns": 0}
        else:
            return
        row = risk | wanted | {"actor": "protection"}
        frame = pl.DataFrame([row]).with_columns(at_time=pl.lit(self._cursor).cast(TIME))
        write(connection, PAPER_RISK, frame)


def _price(slot: Any, order: Mapping[str, Any]) -> float:
    for name in ("limit_price", "stop_price"):
        if order[name] is not None:
            return float(order[name])
    return float(slot["mark"]) if slot["mark"] > 0 else 0.0
