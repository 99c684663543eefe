"""Large orders in small ones: the schedule of Almgren and Chriss within a participation cap, from what was known at the order."""

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from tapewatch.market.tables.tape import TIME
from tapewatch.market.tables.trading import ORDERS
from tapewatch.trading.strategies.execution import Floats, ImpactModel, optimal_schedule

#: Longer schedules are refused.
LONGEST_MINUTES = 480
#: A share of a price that counts as no move.
_LEAST_MOVE = 1e-9
_MINUTE = dt.timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class SliceRules:
    """How an order is divided.

    Attributes:
        minutes: over which it is traded, a part a minute.
        risk_aversion: lambda, one over currency; 0 gives equal parts, more trades sooner.
        participation: most of the usual volume of a minute that a part takes; what is beyond comes later.
        impact: of trading the usual volume of a minute within a minute, in one-minute volatilities.
        lookback: minutes before the order whose bars tell volume and volatility.

    Raises:
        ValueError: one of them lies outside its range.
    """

    minutes: int = 30
    risk_aversion: float = 1e-6
    participation: float = 0.1
    impact: float = 0.5
    lookback: int = 60

    def __post_init__(self) -> None:
        if not 1 <= self.minutes <= LONGEST_MINUTES:
            raise ValueError(f"an order cannot be traded over {self.minutes} minutes: give 1 to {LONGEST_MINUTES}")
        if not 0 < self.participation <= 1:
            raise ValueError(f"participation is {self.participation}: give a number above 0 and at most 1")
        if not 0 <= self.risk_aversion < np.inf or self.impact <= 0 or self.lookback < 2:
            raise ValueError(f"risk aversion must be 0 or more, impact above 0, and the lookback 2 or more: {self}")


def sliced(orders: pl.DataFrame, bars: pl.DataFrame, rules: SliceRules, lot_of: Callable[[str], float]) -> pl.DataFrame:
    """The orders with each market order divided into one a minute.

    Volume and volatility are those of the bars that were known when the order was decided. Limit and stop orders, and orders of symbols
    without two such bars or without volume, stay whole.

    Args:
        orders: ORDERS.
        bars: BARS of their symbols.
        rules: time, urgency and cap.
        lot_of: the least amount of a symbol.

    Returns: ORDERS; the parts of order `a` are `a/1`, `a/2` and so on, and sum up to it.

    Raises:
        ValueError: at the cap an order takes longer than `LONGEST_MINUTES`.
    """
    past = {
        str(name): frame.sort("known_time")
        for (name,), frame in bars.with_columns(pl.col("symbol").cast(pl.String)).partition_by("symbol", as_dict=True).items()
    }  # fmt: skip
    rows = [part for row in orders.iter_rows(named=True) for part in _parts(row, past, rules, lot_of)]
    return ORDERS.conform(pl.DataFrame(rows, schema=ORDERS.schema)) if rows else orders


def _parts(
    row: dict[str, Any], past: dict[str, pl.DataFrame], rules: SliceRules, lot_of: Callable[[str], float]
) -> Iterator[dict[str, Any]]:
    symbol, quantity = str(row["symbol"]), row["quantity"]
    known = past.get(symbol)
    is_divided = row["kind"] == "market" and known is not None and quantity is not None and 0 < quantity < np.inf
    if not is_divided or known is None:
        yield row
        return
    time = pl.lit(row["time"]).cast(TIME)
    seen = known.filter(pl.col("known_time") <= time).tail(rules.lookback)
    volume = float(seen["volume"].mean() or 0.0) if seen.height > 1 else 0.0  # type: ignore[arg-type]
    if volume <= 0:
        yield row
        return
    amounts = _amounts(row["order_id"], quantity, seen["close"].to_numpy(), volume, rules, lot_of(symbol))
    for minute, amount in enumerate(amounts):
        if amount > 0:
            at = row["time"] + _MINUTE * minute
            yield {**row, "order_id": f"{row['order_id']}/{minute + 1}", "time": at, "quantity": float(amount)}


def _amounts(name: str, quantity: float, closes: Floats, volume: float, rules: SliceRules, lot: float) -> Floats:
    """What is traded in each minute, in whole lots but for the last part."""
    volatility = max(float(np.diff(closes).std()), _LEAST_MOVE * float(closes[-1]))
    market = ImpactModel(volatility, 0.0, 0.0, rules.impact * volatility / volume)
    wanted = np.cumsum(optimal_schedule(quantity, rules.minutes, rules.minutes, rules.risk_aversion, market).trades)
    cap = rules.participation * volume
    longest = int(np.ceil(quantity / cap)) + rules.minutes
    if longest > LONGEST_MINUTES + rules.minutes:
        raise ValueError(
            f"order {name} of {quantity:,g} takes {quantity / cap:,.0f} minutes at {rules.participation:.0%} of the usual {volume:,.0f} a "
            f"minute, and {LONGEST_MINUTES} are allowed: order less, or raise the participation"
        )
    done, total = [], 0.0
    for minute in range(longest):
        total = min(wanted[min(minute, wanted.size - 1)], total + cap)
        done.append(total)
    whole = np.floor(np.array(done) / lot + 1e-9) * lot
    whole[np.array(done) >= quantity * (1 - 1e-12)] = quantity
    return np.diff(whole, prepend=0.0)
