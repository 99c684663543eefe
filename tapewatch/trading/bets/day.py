"""A day's signals traded minute by minute, as the live path does, by the engine over recorded bars or quotes."""

import polars as pl

from tapewatch.market.instruments import NS_PER_MINUTE, Session
from tapewatch.market.tables.tape import TIME
from tapewatch.market.tables.trading import FILLS, ORDER_OUTCOMES
from tapewatch.trading.bets.orders import bets_of, closings, openings
from tapewatch.trading.bets.path import path_labels
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
    known = _with_known_time(bars).sort(pl.col("symbol").cast(pl.String), "time")
    simulation = Simulation(settings, is_bars=tape.is_bars)
    opened = openings(signals, session, rules, settings.lot_of)
    clock = 0
    bets = bets_of(signals, ORDER_OUTCOMES.empty(), FILLS.empty())
    while (now := _next_minute(clock, opened, bets, known, session, rules)) is not None:
        simulation.advance(tape.part(clock, now), now)
        at = pl.lit(now).cast(TIME)
        closed = closings(_bets(signals, simulation), known.filter(pl.col("known_time") <= at), session, rules, now)
        simulation.submit(pl.concat([opened.filter(pl.col("time") == at), closed]))
        clock, bets = now, _bets(signals, simulation)
    simulation.advance(tape.part(clock, max(tape.last, clock)), max(tape.last, clock))
    return outcome_of(simulation), _bets(signals, simulation)


def _bets(signals: pl.DataFrame, simulation: Simulation) -> pl.DataFrame:
    outcome = outcome_of(simulation)
    return bets_of(signals, outcome.orders, outcome.fills)


def _with_known_time(bars: pl.DataFrame) -> pl.DataFrame:
    ends = pl.col("time").dt.offset_by("1m")
    return bars if "known_time" in bars.columns else bars.with_columns(known_time=ends)


def _next_minute(
    clock: int, opened: pl.DataFrame, bets: pl.DataFrame, bars: pl.DataFrame, session: Session, rules: BetRules
) -> int | None:
    """The next minute's end at which something may be decided; those between are passed over, as nothing is."""
    times = [at for at in opened["time"].dt.epoch("ns") if at > clock]
    is_settled = (pl.col("filled") >= pl.col("quantity")).fill_null(value=False) | (
        pl.col("expires_time").dt.epoch("ns") <= clock
    )
    if bets.filter(~is_settled).height:
        times.append(clock + NS_PER_MINUTE)
    held = bets.filter(is_settled, pl.col("filled") > pl.col("closing").fill_null(0.0))
    if held.height and clock < session.regular_end:
        times.append(max(session.regular_end - rules.closing_ns, clock + NS_PER_MINUTE))
        met = path_labels(held, bars, session, through_ns=session.regular_end)["known_time"].dt.epoch("ns")
        times += [max(at, clock + NS_PER_MINUTE) for at in met]
    return min(times, default=None)
