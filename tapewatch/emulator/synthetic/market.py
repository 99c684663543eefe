"""The synthetic market: trades, quotes and labelled anomalies of any symbol's day, from a seed."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from tapewatch.emulator.synthetic import anomalies, frames, universe
from tapewatch.emulator.synthetic.activity import MID, Grids, grids
from tapewatch.emulator.synthetic.anomalies import ScheduledAnomaly
from tapewatch.emulator.synthetic.flow import Auctions, simulate
from tapewatch.emulator.synthetic.price_path import path, regular_seconds
from tapewatch.emulator.synthetic.randomness import stream
from tapewatch.emulator.synthetic.universe import Instrument
from tapewatch.market.instruments import Market, Session, session_of
from tapewatch.market.tables.tape import QUOTES, SYMBOL, TIME, TRADES

#: Schema of a tape's labelled anomalies; times are half-open.
TRUTH = pl.Schema({"symbol": SYMBOL, "event_id": pl.String(), "kind": SYMBOL, "start_time": TIME, "end_time": TIME})

# Minutes of the day to which an instrument's number of trades refers.
_FULL_DAY = {Market.CRYPTO: 1440, Market.FOREX: 1440, Market.FUTURES: 1380}
# The closing auction's share of the day's trades; the opening auction has a quarter of it.
_AUCTION_SHARE = 0.06


@dataclass(frozen=True, slots=True)
class TapeDay:
    """One symbol's day as `TRADES`, `QUOTES` and `TRUTH`; the frames are empty if it does not trade."""

    trades: pl.DataFrame
    quotes: pl.DataFrame
    truth: pl.DataFrame


class Synthetic:
    """A market from a seed.

    A day depends on (seed, symbol, date) only, neither on earlier calls nor on the machine.

    Args:
        seed: any integer.
        activity: scales every instrument's number of trades and quotes.
        has_anomalies: False for the same market without anomalies.
    """

    def __init__(self, seed: int = 7, *, activity: float = 1.0, has_anomalies: bool = True) -> None:
        if activity <= 0:
            raise ValueError(f"the activity must be positive, not {activity}")
        self.seed = seed
        self._activity = activity
        self._has_anomalies = has_anomalies

    def day(self, symbol: str, date: dt.date, *, trades: int | None = None) -> TapeDay:
        """The symbol's day.

        Args:
            symbol: in this platform's spelling; empty for a symbol that `universe` does not list.
            date: in the market's time zone; empty on holidays and before the history starts.
            trades: expected number of trades, within a percent and without those that anomalies add; quotes are in
                proportion. By default the instrument's usual number, scaled to the session's length.
        """
        instrument, session = _listed(symbol, date)
        if instrument is None or session is None or instrument.market is Market.INDICES:
            return TapeDay(TRADES.empty(), QUOTES.empty(), pl.DataFrame(schema=TRUTH))
        events = anomalies.schedule(self.seed, symbol, session) if self._has_anomalies else []
        return self._make(instrument, session, events, trades)

    def day_with(
        self, symbol: str, date: dt.date, events: Sequence[ScheduledAnomaly], *, trades: int | None = None
    ) -> TapeDay:
        """The symbol's day with these anomalies instead of its own.

        Raises:
            ValueError: the symbol does not trade that day.
        """
        instrument, session = _listed(symbol, date)
        if instrument is None or session is None:
            raise ValueError(f"{symbol} does not trade on {date}: choose a listed symbol and a trading day")
        return self._make(instrument, session, list(events), trades)

    def values(self, symbol: str, date: dt.date) -> pl.DataFrame:
        """An index's value at the end of each second of the session, as trades of size 0 (`TRADES`); else no rows."""
        instrument, session = _listed(symbol, date)
        if instrument is None or session is None or instrument.market is not Market.INDICES:
            return TRADES.empty()
        return frames.values(instrument, session, path(self.seed, instrument, session))

    def symbols(self, market: Market) -> list[str]:
        return universe.listed(market)

    def _make(
        self, instrument: Instrument, session: Session, events: list[ScheduledAnomaly], trades: int | None
    ) -> TapeDay:
        key = instrument.symbol, session.date
        day = path(self.seed, instrument, session)
        effects = anomalies.effects(self.seed, instrument, session, day, events)
        usual = instrument.trades * session.regular_minutes / _FULL_DAY.get(session.market, 390)
        expected = trades if trades is not None else int(usual * self._activity)
        levels = grids(instrument, session, day, effects, expected, stream(self.seed, "arrivals", *key))
        auctions = _auctions(session, expected)
        is_stock = session.market is Market.STOCKS
        made = simulate(levels, auctions, has_off_exchange=is_stock, state=stream(self.seed, "flow", *key))
        if instrument.crosses_zero:
            made = made.lowered(_middle(levels))
        trade_rows, quote_rows = (
            build(instrument, session, made, stream(self.seed, table, *key), stream(self.seed, table, "number", *key))
            for table, build in (("trades", frames.trades), ("quotes", frames.quotes))
        )
        # Currencies have quotes only.
        trade_rows = TRADES.empty() if session.market is Market.FOREX else trade_rows
        return TapeDay(trade_rows, quote_rows, _truth(instrument.symbol, events))


def _listed(symbol: str, date: dt.date) -> tuple[Instrument | None, Session | None]:
    """The instrument, and its session if the history includes the day."""
    instrument = universe.instrument(symbol)
    if instrument is None or date < universe.HISTORY_START[instrument.market]:
        return instrument, None
    return instrument, session_of(instrument.market, date)


def _auctions(session: Session, trades: int) -> Auctions:
    if session.market is not Market.STOCKS:
        return Auctions(-1, -1, 0.0)
    return Auctions(*regular_seconds(session), trades * _AUCTION_SHARE)


def _middle(levels: Grids) -> float:
    """The whole tick midway between the day's extremes."""
    return float(np.round((levels.rows[MID].min() + levels.rows[MID].max()) / 2))


def _truth(symbol: str, events: Sequence[ScheduledAnomaly]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "symbol": [symbol] * len(events),
            "event_id": [event.event_id for event in events],
            "kind": [event.kind for event in events],
            "start_time": [event.start for event in events],
            "end_time": [event.end for event in events],
        },
        schema_overrides={"start_time": pl.Int64, "end_time": pl.Int64},
    ).cast(TRUTH)
