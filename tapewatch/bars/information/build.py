"""Information bars of a day's trades, and what is carried to the next day."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from tapewatch.bars.information.clocks import Clock, Thresholds
from tapewatch.bars.information.kernel import STATE, Rules, close_bars, fresh_states
from tapewatch.market.arrays import Array, FlatTrades, flat_trades, session_bounds
from tapewatch.market.conditions import STOCK_UPDATE_RULES, Updates
from tapewatch.market.instruments import Market, Session
from tapewatch.market.prices import floor_of
from tapewatch.market.tables.derived import INFORMATION_BARS, INFORMATION_STATES
from tapewatch.market.tables.tape import SYMBOL, TIME


@dataclass
class InformationBars:
    """Builds the bars of one clock from trades in order: day after day, or batch after batch of a live tape.

    Unfinished bars are carried: a year day by day equals the year at once. `save` and `load` carry them over a restart.
    """

    clock: Clock
    thresholds: Thresholds = field(default_factory=Thresholds)
    _place: dict[str, int] = field(default_factory=dict, repr=False)
    _states: Array = field(default_factory=lambda: fresh_states(0), repr=False)

    def add(
        self, trades: pl.DataFrame, session: Session, rules: Mapping[int, Updates] = STOCK_UPDATE_RULES
    ) -> pl.DataFrame:
        """The bars that these trades close: `INFORMATION_BARS` rows by symbol and number.

        A trade enters volume and prices as its conditions allow; withdrawn trades enter nothing. Sides are stated (crypto) or
        follow the tick rule. A bar holds whole trades, so it may exceed its threshold; it is known with its last trade.

        Args:
            trades: `TRADES` rows, sorted as the table says, of one day, later than those added before.
            session: the day they belong to.
            rules: condition code to allowed fields, for stocks.

        Raises:
            ValueError: symbols are out of order.
        """
        symbols, flat = flat_trades(trades, session, rules)
        self._register(symbols)
        runs = np.array([self._place[symbol] for symbol in symbols], dtype=np.int64)
        spans = flat.offsets[:-1], flat.offsets[1:]
        closed = closed_by(
            flat, spans, runs, session, kernel_rules(self.clock, self.thresholds, self._place), self._states
        )
        return bar_rows(pl.Series(list(self._place), dtype=SYMBOL), self.clock, *closed)

    def save(self) -> pl.DataFrame:
        """`INFORMATION_STATES` rows: the unfinished bars, and what the next thresholds follow."""
        return states_frame(self.clock, list(self._place), self._states)

    def load(self, saved: pl.DataFrame) -> None:
        """Continue from what `save` returned; states of other clocks are ignored."""
        own = saved.filter(pl.col("clock") == str(self.clock))
        self._place = {symbol: at for at, symbol in enumerate(own["symbol"].cast(pl.String))}
        self._states = states_of(own)

    def _register(self, symbols: Sequence[str]) -> None:
        new = [symbol for symbol in symbols if symbol not in self._place]
        self._place |= {symbol: len(self._place) + at for at, symbol in enumerate(new)}
        self._states = np.concatenate([self._states, fresh_states(len(new))])


def closed_by(
    trades: FlatTrades, spans: tuple[Array, Array], runs: Array, session: Session, rules: Rules, states: Array
) -> tuple[Array, Array]:
    """The bars that rows of trades close, `STATE`, and the place of each bar's symbol in `states`, which move on.

    Args:
        trades: the trades of a day.
        spans: the first row of each symbol of `trades`, and the end.
        runs: the place of each symbol in `states`.
        session: the day.
        rules: of the clock.
        states: the open bars, `STATE`.
    """
    hours, rows = session_bounds(session), int((spans[1] - spans[0]).sum())
    symbol_of, out = np.empty(rows, dtype=np.int64), np.empty(rows, dtype=STATE)
    count = close_bars(
        trades,
        *spans,
        runs,
        hours.regular_start,
        hours.regular_end,
        floor_of(session.market),
        session.market is Market.CRYPTO,
        rules,
        states,
        symbol_of,
        out,
    )
    return symbol_of[:count], out[:count]


def kernel_rules(clock: Clock, thresholds: Thresholds, symbols: Iterable[str]) -> Rules:
    """A clock and its thresholds for symbols in the order of their states."""
    fixed = np.array([thresholds.fixed.get(symbol, np.nan) for symbol in symbols], dtype=np.float64)
    decay = 2.0 / (thresholds.memory + 1)
    least = thresholds.least_imbalance
    return Rules(clock.unit, clock.form, float(thresholds.trades), decay, thresholds.reach, least, fixed)


def states_frame(clock: Clock, symbols: Sequence[str], states: Array) -> pl.DataFrame:
    """States as `INFORMATION_STATES` rows."""
    columns = {name: np.ascontiguousarray(states[name]) for name in STATE.names or ()}
    frame = pl.DataFrame({"symbol": list(symbols), **columns}, schema_overrides={"symbol": pl.String})
    return INFORMATION_STATES.conform(frame.with_columns(pl.col(pl.Float64).fill_nan(None), clock=pl.lit(str(clock))))


def states_of(rows: pl.DataFrame) -> Array:
    """`INFORMATION_STATES` rows of one clock as `STATE`."""
    states, rows = fresh_states(rows.height), rows.with_columns(pl.col(pl.Float64).fill_null(float("nan")))
    for name in STATE.names or ():
        states[name] = rows[name].to_numpy()
    return states


def bar_rows(names: pl.Series, clock: Clock, symbol: Array, bars: Array) -> pl.DataFrame:
    """Closed bars as `INFORMATION_BARS` rows by symbol and number; `symbol` is the place of each in `names`."""
    end = pl.Series(np.ascontiguousarray(bars["end"])).cast(TIME)
    same = ("open", "high", "low", "close", "volume", "transactions", "buy_volume", "sell_volume", "threshold")
    vwap = np.divide(bars["notional"], bars["volume"], out=np.full(bars.size, np.nan), where=bars["volume"] > 0)
    columns = {name: np.ascontiguousarray(bars[name]) for name in same}
    # A trade that sets open or close may be barred from high and low.
    for reduce, name in ((np.fmax, "high"), (np.fmin, "low")):
        columns[name] = reduce(reduce(columns["open"], columns["close"]), columns[name])
    frame = pl.DataFrame(
        {
            "symbol": names[symbol] if symbol.size else pl.Series([], dtype=SYMBOL),
            "clock": pl.Series([str(clock)] * bars.size, dtype=pl.String),
            "number": np.ascontiguousarray(bars["number"]) + 1,
            "start_time": pl.Series(np.ascontiguousarray(bars["start"])).cast(TIME),
            "end_time": end,
            "known_time": end,
            "vwap": pl.Series(vwap, nan_to_null=True),
            **columns,
        }
    )
    return INFORMATION_BARS.conform(frame).sort(pl.col("symbol").cast(pl.String), "number")
