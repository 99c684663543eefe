"""A day's signals traded minute by minute, as the live path does, by the engine over recorded bars or quotes."""

import polars as pl

from tapewatch.market.instruments import Session
from tapewatch.trading.bets.open_bets import OpenBets
from tapewatch.trading.bets.orders import bets_of, openings
from tapewatch.trading.bets.rules import BetRules
from tapewatch.trading.engine import EngineSettings, Outcome, Simulation, Tape
from tapewatch.trading.engine.outcome import outcome_of


def trade_signals(
    signals: pl.DataFrame,
    tape: Tape,
    bars: pl.DataFrame,
    session: Session,
    settings: EngineSettings,
    rules: BetRules | None = None,
) -> tuple[Outcome, pl.DataFrame]:
    """Trade the signals of a session: at the end of each minute the orders that it decides on are sent.

    Minutes at which nothing may be decided are passed over.

    Args:
        signals: SIGNALS of the session.
        tape: what the orders meet: its bars, or its quotes and trades.
        bars: minute bars of the session, whose highs and lows close the bets; without known_time they are known at their end.
        session: the day.
        settings: account, costs and rules of the engine.
        rules: how signals become orders.

    Returns: the account's outcome, and `bets_of` it.
    """
    rules = rules or BetRules()
    simulation = Simulation(settings, is_bars=tape.is_bars)
    opened = openings(signals, session, rules, settings.lot_of)
    bets = OpenBets(signals, opened, _with_known_time(bars), session, rules, simulation)
    clock = 0
    while (now := bets.next_minute(clock)) is not None:
        simulation.advance(tape.part(clock, now), now)
        bets.decide(now)
        clock = now
    simulation.advance(tape.part(clock, max(tape.last, clock)), max(tape.last, clock))
    outcome = outcome_of(simulation)
    return outcome, bets_of(signals, outcome.orders, outcome.fills)


def _with_known_time(bars: pl.DataFrame) -> pl.DataFrame:
    ends = pl.col("time").dt.offset_by("1m")
    known = bars if "known_time" in bars.columns else bars.with_columns(known_time=ends)
    return known.sort(pl.col("symbol").cast(pl.String), "time")
