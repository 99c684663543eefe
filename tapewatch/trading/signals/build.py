"""A day's signals: proposals of every strategy, their risk, confidence and size."""

import datetime as dt
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import polars as pl

from tapewatch.market.instruments import NS_PER_MINUTE
from tapewatch.market.tables.signals import SIGNALS
from tapewatch.trading.signals.confidence import confidence
from tapewatch.trading.signals.context import context
from tapewatch.trading.signals.meta_model import MetaModel
from tapewatch.trading.signals.risk import RiskRules, assessed
from tapewatch.trading.sizing import averaged_at_start, bet_size, discretised
from tapewatch.trading.strategies.alerts import after_alerts
from tapewatch.trading.strategies.baskets import BasketRules, baskets
from tapewatch.trading.strategies.closes import closes
from tapewatch.trading.strategies.flow import flow_momentum
from tapewatch.trading.strategies.lead_lag import LeadRules, lead_lag
from tapewatch.trading.strategies.pairs import PairRules, pairs


@dataclass(frozen=True, slots=True)
class SignalRules:
    """The settings of every strategy, of the risk and of the sizes; `step` is that of the sizes."""

    risk: RiskRules = field(default_factory=RiskRules)
    pairs: PairRules = field(default_factory=PairRules)
    baskets: BasketRules = field(default_factory=BasketRules)
    leaders: LeadRules = field(default_factory=LeadRules)
    step: float = 0.1


def proposals(
    alerts: pl.DataFrame,
    rows: pl.DataFrame,
    *,
    others: pl.DataFrame | None = None,
    rules: SignalRules | None = None,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What every strategy proposes, and the `context` of the minutes that it rests on.

    Args:
        alerts: those of a market's day, see `alerts_of`.
        rows: its MICROSTRUCTURE.
        others: MICROSTRUCTURE of other markets, whose symbols may lead.
        rules: `SignalRules()` by default.
    """
    rules = rules or SignalRules()
    minutes = context(rows)
    prices = closes(minutes)
    leaders = closes(pl.concat([minutes, context(others)])) if others is not None and others.height else prices
    found = [
        after_alerts(alerts, rows, minutes),
        flow_momentum(minutes),
        pairs(prices, rules.pairs),
        baskets(prices, rules.baskets),
        lead_lag(prices, leaders, rules.leaders),
    ]
    return pl.concat(found), minutes


def signals(
    proposed: pl.DataFrame,
    minutes: pl.DataFrame,
    history: pl.DataFrame,
    *,
    model: MetaModel | None = None,
    rules: SignalRules | None = None,
) -> pl.DataFrame:
    """SIGNALS of the proposals.

    Args:
        proposed: PROPOSALS of a day.
        minutes: `context` of it.
        history: OUTCOMES of earlier days; those of the day itself would not be known at its first signal.
        model: the meta-model of `history`, which gives the confidence where it does not abstain.
        rules: `SignalRules()` by default.

    Raises:
        ValueError: an outcome was known only after the first signal.
    """
    rules = rules or SignalRules()
    newest, first = _bounds(history)[1], _bounds(proposed)[0]
    if newest and first and newest > first:
        raise ValueError(
            f"an outcome known at {newest} cannot speak for a signal of {first}: give outcomes of earlier days alone"
        )
    rated = confidence(assessed(proposed, minutes, rules.risk), history)
    if model is not None:
        rated = rated.with_columns(confidence=model.confidence(rated).fill_null(rated["confidence"]))
    rated = rated.sort("symbol", "known_time", "strategy", "partner")
    return SIGNALS.conform(sized(rated, rules.step))


def _bounds(rows: pl.DataFrame) -> tuple[dt.datetime | None, dt.datetime | None]:
    """The first and the last known time."""
    first, last = rows.select(first=pl.col("known_time").min(), last=pl.col("known_time").max()).row(0)
    return first, last


def sized(rated: pl.DataFrame, step: float) -> pl.DataFrame:
    """The signals with `size` and `limit_price`.

    The size of a bet, times the weight of its leg, is averaged over the symbol's bets that are active when it begins, up to their horizons, and rounded. The
    limit is where the expected result, (2 p − 1) × target − cost, would be zero.

    Args:
        rated: sorted by symbol and known_time; `confidence`, side, weight, target_bps, cost_bps, is_tradable, price, horizon_minutes.
        step: of the sizes.
    """
    price, target, cost, chance = (
        rated[name].cast(pl.Float64).to_numpy() for name in ("price", "target_bps", "cost_bps", "confidence")
    )
    side = rated["side"].to_numpy().astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        break_even = 0.5 + cost / (2.0 * target)
        edge = (2.0 * chance - 1.0) * target - cost
    is_bet = rated["is_tradable"].to_numpy() & (edge > 0)
    whole = bet_size(chance, side, break_even=np.where(is_bet, break_even, 1.0))
    raw = np.where(is_bet, whole * rated["weight"].to_numpy(), 0.0)
    begins = rated["known_time"].dt.epoch("ns").to_numpy()
    ends = begins + rated["horizon_minutes"].to_numpy().astype(np.int64) * NS_PER_MINUTE
    size = np.zeros(len(raw))
    symbols = rated["symbol"].to_numpy()
    bets = np.flatnonzero(is_bet)
    edges = (
        [0, *(np.flatnonzero(symbols[bets][1:] != symbols[bets][:-1]) + 1).tolist(), bets.size] if bets.size else [0]
    )
    for first, last in pairwise(edges):
        at = bets[first:last]
        size[at] = averaged_at_start(begins[at], ends[at], raw[at])
    # Opposite bets of a symbol cancel: a bet is not turned round by them.
    size = discretised(np.where(np.sign(size) == side, size, 0.0), step)
    limit = np.where(size != 0, price * (1.0 + side * edge * 1e-4), np.nan)
    return rated.with_columns(size=pl.Series(size), limit_price=pl.Series(limit).fill_nan(None))
