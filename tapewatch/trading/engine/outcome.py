"""What a simulation leaves: orders, fills, positions, equity, cash flows and refusals as frames."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from tapewatch.market.arrays import Array
from tapewatch.market.schema import Table
from tapewatch.market.tables.tape import TIME
from tapewatch.market.tables.trading import (
    CASH_FLOWS,
    EQUITY,
    FILLS,
    ORDER_OUTCOMES,
    ORDER_STATES,
    POSITIONS,
)
from tapewatch.trading.engine import records
from tapewatch.trading.engine.records import NEVER, REFUSED
from tapewatch.trading.engine.refusals import kernel_refusal, refusals
from tapewatch.trading.engine.simulation import Refusal, Simulation

_CENTS = 100
_FLOW_KINDS = ("borrow", "dividend")


@dataclass(frozen=True)
class Outcome:
    """Frames of `ORDER_OUTCOMES`, `FILLS`, `POSITIONS`, `EQUITY`, `CASH_FLOWS` and `REFUSALS`; `cash_cents` at the start."""

    orders: pl.DataFrame
    fills: pl.DataFrame
    positions: pl.DataFrame
    equity: pl.DataFrame
    cash_flows: pl.DataFrame
    refusals: pl.DataFrame
    cash_cents: int

    @property
    def profit(self) -> float:
        """Last equity less the start capital, in the quote currency."""
        return (self.equity["equity_cents"][-1] - self.cash_cents) / _CENTS if self.equity.height else 0.0


def outcome_of(simulation: Simulation) -> Outcome:
    """Everything so far, with the current interval of `EQUITY` as its last row."""
    rows = _with_last_interval(_joined(simulation, "equity"), simulation.accounts[0])
    return _outcome(simulation, rows, _orders(simulation))


def take_written(simulation: Simulation) -> Outcome:
    """What was written since the last call, which the simulation then forgets: whole intervals of `EQUITY`, and no orders."""
    outcome = _outcome(simulation, _joined(simulation, "equity"), ORDER_OUTCOMES.empty())
    simulation.written = {name: [] for name in simulation.written}
    simulation.refused = []
    simulation.orders["reason"] = 0
    return outcome


def fills_so_far(simulation: Simulation) -> Array:
    """`records.FILL` of every fill."""
    return _joined(simulation, "fills")


def orders_and_fills(simulation: Simulation, numbers: Sequence[int]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`ORDER_OUTCOMES` and `FILLS` of some of the orders, given by their rows in `simulation.orders`."""
    fills = fills_so_far(simulation)
    return _orders(simulation, numbers), _fills(fills[np.isin(fills["order"], numbers)], simulation.submitted)


def _outcome(simulation: Simulation, equity: Array, outcomes: pl.DataFrame) -> Outcome:
    names, orders = list(simulation.symbols), simulation.submitted
    return Outcome(
        orders=outcomes,
        fills=_fills(_joined(simulation, "fills"), orders),
        positions=_positions(_joined(simulation, "changes"), names),
        equity=_equity(equity),
        cash_flows=_flows(_joined(simulation, "flows"), names),
        refusals=refusals(iter(_refusals(simulation))).sort("time", "refusal_id", maintain_order=True),
        cash_cents=simulation.settings.cash_cents,
    )


_DTYPES = {
    "fills": records.FILL,
    "changes": records.CHANGE,
    "flows": records.FLOW,
    "equity": records.EQUITY_ROW,
}


def _joined(simulation: Simulation, name: str) -> Array:
    parts = simulation.written[name]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=_DTYPES[name])


def _times(values: Array) -> pl.Series:
    return pl.Series(values, dtype=pl.Int64).cast(TIME)


def _frame(table: Table, columns: dict[str, object]) -> pl.DataFrame:
    return table.conform(pl.DataFrame(columns)).sort(table.sort, maintain_order=True)


def _orders(simulation: Simulation, numbers: Sequence[int] | slice = slice(None)) -> pl.DataFrame:
    rows = simulation.orders[numbers]
    ended = (
        pl.Series(np.where(rows["ended"] == 0, NEVER, rows["ended"]), dtype=pl.Int64).replace(NEVER, None).cast(TIME)
    )
    frame = simulation.submitted[numbers].with_columns(
        pl.Series("state", [ORDER_STATES[state] for state in rows["state"]], dtype=pl.String),
        pl.Series("filled", rows["filled"], dtype=pl.Float64),
        ended.alias("ended_time"),
    )
    return ORDER_OUTCOMES.conform(frame)


def _fills(rows: Array, orders: pl.DataFrame) -> pl.DataFrame:
    of_orders = orders.select("order_id", "symbol", "side", "tag")[rows["order"]]
    parts = pl.Series("part", rows["part"], dtype=pl.Int64)
    columns = {name: of_orders[name] for name in of_orders.columns}
    mid = pl.Series(rows["mid"], dtype=pl.Float64).fill_nan(None)
    frame = pl.DataFrame(
        {
            **columns,
            "fill_id": of_orders["order_id"] + "/" + parts.cast(pl.String),
            "time": _times(rows["time"]),
            "quantity": rows["quantity"],
            "price": rows["price"],
            "notional_cents": rows["notional"],
            "fee_cents": rows["fee"],
            "is_maker": rows["is_maker"] != 0,
            "mid_price": mid,
        }
    )
    # In the order in which the account booked them; fills of one instant depend on each other.
    return FILLS.conform(frame)


def _symbols(rows: Array, names: list[str]) -> pl.Series:
    return (
        pl.Series(np.array(names, dtype=object)[rows["symbol"]], dtype=pl.String)
        if rows.size
        else pl.Series([], dtype=pl.String)
    )


def _positions(rows: Array, names: list[str]) -> pl.DataFrame:
    cents = {f"{name}_cents": rows[name] for name in ("cost", "realised", "value")}
    own = {"quantity": rows["quantity"], "mark_price": rows["mark"], "sequence_number": rows["sequence"]}
    frame = pl.DataFrame({"symbol": _symbols(rows, names), "time": _times(rows["time"]), **own, **cents})
    return POSITIONS.conform(frame)


def _with_last_interval(rows: Array, account: np.void) -> Array:
    if not account["due"]:
        return rows
    last = np.zeros(1, dtype=records.EQUITY_ROW)
    last["time"] = account["due"]
    for name in ("cash", "value", "gross", "fees"):
        last[name] = account[name]
    return np.concatenate([rows, last])


def _equity(rows: Array) -> pl.DataFrame:
    cents = {f"{name}_cents": rows[name] for name in ("cash", "value", "gross", "fees")}
    frame = pl.DataFrame({"time": _times(rows["time"]), **cents, "equity_cents": rows["cash"] + rows["value"]})
    return EQUITY.conform(frame)


def _flows(rows: Array, names: list[str]) -> pl.DataFrame:
    kinds = [_FLOW_KINDS[kind] for kind in rows["kind"]]
    frame = {"symbol": _symbols(rows, names), "time": _times(rows["time"]), "kind": pl.Series(kinds, dtype=pl.String)}
    return _frame(CASH_FLOWS, {**frame, "amount_cents": rows["amount"]})


def _refusals(simulation: Simulation) -> list[Refusal]:
    names = list(simulation.symbols)
    found = list(simulation.refused)
    numbers = np.flatnonzero((simulation.orders["state"] == REFUSED) & (simulation.orders["reason"] > 0))
    for number, order_id in zip(numbers, simulation.submitted["order_id"].gather(numbers), strict=True):
        row = simulation.orders[number]
        symbol = names[row["symbol"]]
        reason, detail = kernel_refusal(int(row["reason"]), symbol, int(row["needed"]), int(row["room"]))
        found.append((order_id, order_id, symbol, int(row["ended"]), reason, detail))
    return found
