"""Entry points of the engine: orders over a tape, a strategy over a tape, and orders from target positions."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import polars as pl

from tapewatch.market.schema import SchemaError
from tapewatch.market.tables.tape import TIME
from tapewatch.market.tables.trading import ORDERS
from tapewatch.trading.engine.outcome import Outcome, outcome_of
from tapewatch.trading.engine.settings import EngineSettings
from tapewatch.trading.engine.simulation import Simulation
from tapewatch.trading.engine.tape import Tape

AnyTape = Tape | pl.DataFrame | tuple[pl.DataFrame, pl.DataFrame]


def run(orders: pl.DataFrame, tape: AnyTape, settings: EngineSettings | None = None) -> Outcome:
    """Fill orders over a tape.

    Args:
        orders: `ORDERS`; sorted by time here, equal times in the order given.
        tape: bars, quotes, quotes and trades, or a `Tape`.
        settings: account, costs and rules.

    Raises:
        SchemaError: the frame is no `ORDERS`.
        TapeError: the tape is none.
    """
    settings = settings or EngineSettings()
    ready = Tape.of(tape, settings.longest_gap_ns)
    simulation = Simulation(settings, is_bars=ready.is_bars)
    simulation.submit(orders.sort("time", maintain_order=True) if "time" in orders.columns else orders)
    simulation.advance(ready)
    simulation.refuse_late()
    return outcome_of(simulation)


@dataclass(frozen=True, slots=True)
class Moment:
    """What a strategy is given: the rows of one instant, and the account after them.

    `rows` has symbol, and open, high, low, close, volume of bars, or bid_price, ask_price, bid_size, ask_size of quotes.
    """

    time: int
    rows: pl.DataFrame
    simulation: Simulation

    @property
    def equity_cents(self) -> int:
        """Cash and positions."""
        return self.simulation.equity_cents

    def quantity(self, symbol: str) -> float:
        """What is held of a symbol."""
        return self.simulation.quantity(symbol)


class Strategy(Protocol):
    """Decides on orders as the tape goes by; a decision is known at the moment's time."""

    def on_bar(self, moment: Moment) -> pl.DataFrame | None:
        """`ORDERS` after the bars that became known at one instant; None for none."""
        ...

    def on_quote(self, moment: Moment) -> pl.DataFrame | None:
        """`ORDERS` after the quotes of one instant; None for none."""
        ...


def run_strategy(strategy: Strategy, tape: AnyTape, settings: EngineSettings | None = None) -> Outcome:
    """Let a strategy trade along a tape. Its orders meet only what comes after its decision.

    An order that it dates before the moment counts from the moment; one that it dates later is refused.

    Raises: as `run`.
    """
    settings = settings or EngineSettings()
    ready = Tape.of(tape, settings.longest_gap_ns)
    simulation = Simulation(settings, is_bars=ready.is_bars)
    times, firsts = np.unique(ready.events.time, return_index=True)
    ends = np.append(firsts[1:], ready.events.time.size)
    for time, first, end in zip(times.tolist(), firsts.tolist(), ends.tolist(), strict=True):
        events = type(ready.events)(*(array[first:end] for array in ready.events))
        faults = ready.faults if first == 0 else ()
        simulation.advance(Tape(ready.symbols, events, ready.is_bars, faults), time)
        moment = Moment(time, _rows(ready, first, end), simulation)
        orders = (strategy.on_bar if ready.is_bars else strategy.on_quote)(moment)
        if orders is not None and orders.height:
            earliest = pl.lit(time, dtype=pl.Int64).cast(TIME)
            simulation.submit(orders.with_columns(pl.max_horizontal(pl.col("time").cast(TIME), earliest)), now=time)
    return outcome_of(simulation)


def _rows(tape: Tape, first: int, end: int) -> pl.DataFrame:
    from tapewatch.trading.engine.records import BAR, QUOTE  # noqa: PLC0415

    events = tape.events
    wanted = np.flatnonzero(events.kind[first:end] == (BAR if tape.is_bars else QUOTE)) + first
    names = (
        ("open", "high", "low", "close", "volume")
        if tape.is_bars
        else ("bid_price", "ask_price", "bid_size", "ask_size")
    )
    values = dict(zip(names, (events.a, events.b, events.c, events.d, events.e), strict=False))
    symbols = [tape.symbols[code] for code in events.symbol[wanted]]
    return pl.DataFrame({"symbol": symbols, **{name: array[wanted] for name, array in values.items()}})


def orders_of_targets(targets: pl.DataFrame, *, tag: str = "") -> pl.DataFrame:
    """Market orders that bring positions to their targets, each the difference from the target before.

    Args:
        targets: symbol, time (when the target is known), target (units, negative for short); may hold a tag.

    Returns: `ORDERS` with identities `tag:symbol:number`; a target that changes nothing gives no order. A fill that stays away
    is not made up for: a strategy that must respond to its position uses `run_strategy`.

    Raises:
        SchemaError: a column is missing.
    """
    missing = {"symbol", "time", "target"}.difference(targets.columns)
    if missing:
        raise SchemaError(f"targets: missing column(s) {', '.join(sorted(missing))}")
    tags = pl.col("tag") if "tag" in targets.columns else pl.lit(tag)
    change = pl.col("target") - pl.col("target").shift(1).over("symbol").fill_null(0.0)
    changes = targets.sort("time", maintain_order=True).with_columns(change=change, tag=tags)
    changes = changes.filter(pl.col("change") != 0)
    number = pl.int_range(pl.len()).over("symbol").cast(pl.String)
    return ORDERS.conform(
        changes.select(
            order_id=pl.concat_str(pl.col("tag"), pl.col("symbol").cast(pl.String), number, separator=":"),
            symbol="symbol",
            time="time",
            side=pl.col("change").sign().cast(pl.Int8),
            quantity=pl.col("change").abs(),
            kind=pl.lit("market"),
            time_in_force=pl.lit("gtc"),
            tag="tag",
        )
    )
