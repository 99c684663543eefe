"""A simulation as rows of the paper tables, and back: what a restarted broker continues from."""

from collections.abc import Mapping

import numpy as np
import polars as pl

from tapewatch.market.arrays import Array, flat
from tapewatch.market.schema import Table
from tapewatch.market.tables.paper import PAPER_ORDERS, PAPER_POSITIONS
from tapewatch.market.tables.tape import TIME
from tapewatch.market.tables.trading import ORDER_STATES, ORDERS
from tapewatch.store.database.people.audit import EVERY_MARKET
from tapewatch.trading.engine import EngineSettings, Simulation
from tapewatch.trading.engine.records import NEVER, NONE, OPEN, WAITING

_US = 1_000
#: Columns of the account's row that are fields of the record.
MONEY = {
    "clock_ns": "clock",
    "due_ns": "due",
    "cash_cents": "cash",
    "value_cents": "value",
    "gross_cents": "gross",
    "reserved_cents": "reserved",
    "fees_cents": "fees",
    "sequence_number": "sequence",
}
_ORDER_NUMBERS = {
    "active_ns": "active",
    "parts": "parts",
    "draws": "draws",
    "reserved_cents": "reserved",
    "paid_cents": "paid",
}
_ORDER_FLAGS = {"is_triggered": "is_triggered", "is_resting": "is_resting"}
_ORDER_FLOATS = {"filled": "filled", "quantity": "quantity", "owed": "owed"}
_SLOT_NUMBERS = {
    "cost_cents": "cost",
    "realised_cents": "realised",
    "value_cents": "value",
    "quoted_ns": "quote_time",
    "session_day": "day",
}
_SLOT_FLOATS = {
    "quantity": "quantity",
    "bid_price": "bid",
    "ask_price": "ask",
    "bid_used": "used_bid",
    "ask_used": "used_ask",
}
_SLOT_SIZES = {"bid_size": "bid_size", "ask_size": "ask_size"}


def changed(before: Array, after: Array) -> Array:
    """Numbers of the records that are new or differ."""
    new = np.arange(before.size, after.size)
    if not before.size:
        return new
    as_bytes = (array[: before.size].view(np.uint8).reshape(before.size, -1) for array in (before, after))
    return np.concatenate([np.flatnonzero((next(as_bytes) != next(as_bytes)).any(axis=1)), new])


def order_rows(simulation: Simulation, account: str, orders: Array, numbers: Array) -> pl.DataFrame:
    """`PAPER_ORDERS` of some of the simulation's orders, whose numbers in the account are given."""
    rows = simulation.orders[orders]
    columns = {name: pl.Series(rows[field]) for name, field in (_ORDER_NUMBERS | _ORDER_FLOATS).items()}
    columns |= {name: pl.Series(rows[field] != 0) for name, field in _ORDER_FLAGS.items()}
    columns |= {
        "account": pl.Series([account] * rows.size, dtype=pl.String),
        "state": pl.Series([ORDER_STATES[state] for state in rows["state"]], dtype=pl.String),
        "number": pl.Series(numbers),
        "expires_ns": pl.Series(rows["expires"]).replace(NEVER, None),
        "ended_ns": pl.Series(rows["ended"]).replace(0, None),
        "limit_price": pl.Series(rows["limit"]).fill_nan(None),
        "stop_price": pl.Series(rows["stop"]).fill_nan(None),
    }
    plain = simulation.submitted[orders]
    return PAPER_ORDERS.conform(plain.with_columns(series.alias(name) for name, series in columns.items()))


def position_rows(simulation: Simulation, account: str, numbers: Array) -> pl.DataFrame:
    """`PAPER_POSITIONS` of some symbols."""
    rows = simulation.slots[numbers]
    names = list(simulation.symbols)
    columns = {name: pl.Series(rows[field]) for name, field in (_SLOT_NUMBERS | _SLOT_FLOATS).items()}
    columns |= {name: pl.Series(rows[field]).replace(np.inf, None) for name, field in _SLOT_SIZES.items()}
    columns |= {
        "account": pl.Series([account] * rows.size, dtype=pl.String),
        "symbol": pl.Series([names[number] for number in numbers], dtype=pl.String),
        "at_time": pl.Series([simulation.clock // _US * _US] * rows.size, dtype=pl.Int64).cast(TIME),
        "slot": pl.Series(numbers),
        "mark_price": pl.Series(rows["mark"]).fill_nan(None),
        "is_halted": pl.Series(rows["is_halted"] != 0),
    }
    return PAPER_POSITIONS.conform(pl.DataFrame(columns))


def restored(
    settings: EngineSettings, account: Mapping[str, object], positions: pl.DataFrame, orders: pl.DataFrame
) -> Simulation:
    """The simulation as it was committed.

    Args:
        settings: those that it ran with.
        account: the row of `PAPER_ACCOUNTS`.
        positions: all its `PAPER_POSITIONS`, in the order in which they were first seen.
        orders: its `PAPER_ORDERS` that are open or on their way.
    """
    simulation = Simulation(settings, is_bars=bool(account["is_bars"]))
    for name, field in MONEY.items():
        simulation.accounts[field] = account[name]
    for symbol in positions["symbol"].cast(pl.String):
        simulation.slot_of(symbol)
    for name, field in (_SLOT_NUMBERS | _SLOT_FLOATS).items():
        simulation.slots[field] = flat(positions[name])
    for name, field in _SLOT_SIZES.items():
        simulation.slots[field] = flat(positions[name], null=np.inf)
    simulation.slots["mark"] = flat(positions["mark_price"])
    simulation.slots["is_halted"] = positions["is_halted"].to_numpy()
    _restore_orders(simulation, orders.sort("number"))
    return simulation


def _restore_orders(simulation: Simulation, orders: pl.DataFrame) -> None:
    """The orders with their state, and each symbol's list in order of arrival."""
    if orders.is_empty():
        return
    simulation.submit(orders.select(list(ORDERS.schema)))
    rows = simulation.orders
    for name, field in (_ORDER_NUMBERS | _ORDER_FLOATS).items():
        rows[field] = flat(orders[name])
    for name, field in _ORDER_FLAGS.items():
        rows[field] = orders[name].to_numpy()
    rows["expires"] = flat(orders["expires_ns"], null=NEVER)
    rows["state"] = [ORDER_STATES.index(state) for state in orders["state"]]
    arrivals = np.argsort(rows["active"], kind="stable")
    simulation.queue = arrivals[rows["state"][arrivals] == WAITING]
    for number in arrivals[rows["state"][arrivals] == OPEN]:
        slot = simulation.slots[rows["symbol"][number]]
        if slot["first"] == NONE:
            slot["first"] = number
        else:
            rows["next"][slot["last"]] = number
        slot["last"] = number
        simulation.accounts["open"] += 1


def placed(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    """Market and date of the rows: an account may trade in several markets, so all are under `all`."""
    time = next(name for name in ("time", "at_time", "event_time", "created_time") if name in table.by_name)
    return frame.select(market=pl.lit(EVERY_MARKET), date=pl.col(time).dt.date())
