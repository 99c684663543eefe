"""Why something is refused: the reasons, and orders that are refused before they reach the market.

| reason | what is refused |
|---|---|
| `order` | an order with a side, quantity, kind or time in force that does not exist |
| `price` | a limit or stop price, or a row of the tape, of zero or below |
| `repeated` | an order whose identity was used before |
| `future` | an order that was decided later than now |
| `stale` | an order that was decided too long before now |
| `no_price` | an order for a symbol that has neither quotes nor bars yet |
| `halted` | an order for a symbol whose trading is halted |
| `cash` | an order beyond cash, or beyond the leverage that the settings allow |
| `short` | an order that would sell more than is held, where the settings forbid it |
| `clock` | rows of the tape whose time steps back, or jumps ahead |
| `risk` | an order that the paper broker's risk state or a protection forbids |
"""

from collections.abc import Iterator
from enum import StrEnum

import polars as pl

from tapewatch.market.tables.trading import ORDER_KINDS, REFUSALS, TIMES_IN_FORCE
from tapewatch.trading.engine.records import CASH, HALTED, NO_PRICE, SHORT


class Reason(StrEnum):
    """See the module."""

    ORDER = "order"
    PRICE = "price"
    REPEATED = "repeated"
    FUTURE = "future"
    STALE = "stale"
    NO_PRICE = "no_price"
    HALTED = "halted"
    CASH = "cash"
    SHORT = "short"
    CLOCK = "clock"
    RISK = "risk"


_OF_THE_KERNEL = {NO_PRICE: Reason.NO_PRICE, HALTED: Reason.HALTED, CASH: Reason.CASH, SHORT: Reason.SHORT}


def kernel_refusal(code: int, symbol: str, needed: int, room: int) -> tuple[Reason, str]:
    """Reason and detail of an order that the kernel refused."""
    reason = _OF_THE_KERNEL[code]
    match reason:
        case Reason.NO_PRICE:
            return reason, f"{symbol} has no quote and no bar yet: order a symbol of this tape, after its first price"
        case Reason.HALTED:
            return reason, f"trading of {symbol} is halted: order again when it resumes"
        case Reason.SHORT:
            return reason, f"it sells more of {symbol} than is held: allow short positions, or order less"
        case _:
            text = f"it needs {needed / 100:,.2f} and {room / 100:,.2f} is free: order less, or raise cash or leverage"
            return Reason.CASH, text


def faults(orders: pl.DataFrame) -> pl.DataFrame:
    """Orders that no market would take: `order_id`, `reason` and `detail`, one row each; the first fault counts."""
    limit, stop = pl.col("limit_price"), pl.col("stop_price")
    checks = (
        (~pl.col("side").is_in([1, -1]), Reason.ORDER, "side is ", "side", ": 1 buys and -1 sells"),
        (~(pl.col("quantity").is_finite() & (pl.col("quantity") > 0)), Reason.ORDER, "quantity is ", "quantity", ": it must be above 0"),
        (~pl.col("kind").is_in(ORDER_KINDS), Reason.ORDER, "kind is ", "kind", f": give {', '.join(ORDER_KINDS)}"),
        (~pl.col("time_in_force").is_in(TIMES_IN_FORCE), Reason.ORDER, "time_in_force is ", "time_in_force", f": give {', '.join(TIMES_IN_FORCE)}"),
        ((pl.col("kind") == "limit") & limit.is_null(), Reason.PRICE, "limit_price is missing from a ", "kind", " order"),
        ((pl.col("kind") == "stop") & stop.is_null(), Reason.PRICE, "stop_price is missing from a ", "kind", " order"),
        ((pl.col("kind") == "market") & limit.is_not_null(), Reason.ORDER, "limit_price is ", "limit_price", ": a market order has none"),
        (~(limit.is_finite() & (limit > 0)), Reason.PRICE, "limit_price is ", "limit_price", ": it must be above 0"),
        (~(stop.is_finite() & (stop > 0)), Reason.PRICE, "stop_price is ", "stop_price", ": it must be above 0"),
    )  # fmt: skip
    reason, detail = pl.lit(None, dtype=pl.String), pl.lit(None, dtype=pl.String)
    for is_faulty, name, before, column, after in reversed(checks):
        holds = is_faulty.fill_null(value=False)
        reason = pl.when(holds).then(pl.lit(str(name))).otherwise(reason)
        text = pl.concat_str(pl.lit(before), pl.col(column).cast(pl.String), pl.lit(after), ignore_nulls=True)
        detail = pl.when(holds).then(text).otherwise(detail)
    return orders.select("order_id", reason=reason, detail=detail).drop_nulls("reason")


def refusals(rows: Iterator[tuple[str, str | None, str, int, Reason, str]]) -> pl.DataFrame:
    """`REFUSALS` from refusal_id, order_id, symbol, time (ns), reason and detail."""
    schema = REFUSALS.schema | {"time": pl.Int64(), "symbol": pl.String()}
    frame = pl.DataFrame([(*row[:4], str(row[4]), row[5]) for row in rows], schema=schema, orient="row")
    return REFUSALS.conform(frame)
