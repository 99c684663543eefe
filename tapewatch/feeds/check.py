"""What a deployment's plans allow, and whether the server agrees: the library behind `tapewatch check`.

Belongs here: sentences a person can act on. Not here: printing them (the command line), or any key in the clear.
"""

import datetime as dt
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from tapewatch.feeds.errors import mask_key
from tapewatch.feeds.plans import MarketPlan, Recency, Tape, plan_for
from tapewatch.feeds.rest import RestSource
from tapewatch.feeds.source import SourceError
from tapewatch.market.instruments import Market, Partition, market_of, session_of

__all__ = ["PlanRow", "ProbeRow", "check_plans", "mask_key", "probe"]

_LOOK_BACK_DAYS: Final = 10
_IN_WORDS: Final = {
    Recency.END_OF_DAY: "after the day's end",
    Recency.DELAYED: "15 minutes late",
    Recency.REAL_TIME: "in real time",
}


@dataclass(frozen=True, slots=True)
class PlanRow:
    """One market: what its plan may do, what that keeps the platform from doing, and the way out."""

    market: Market
    tier: str
    rights: str
    warnings: tuple[str, ...]
    way_out: str


@dataclass(frozen=True, slots=True)
class ProbeRow:
    """One question put to the server, and how it went."""

    what: str
    is_ok: bool
    detail: str
    elapsed_s: float


def check_plans(
    tiers: Mapping[Market, str],
    symbols: Mapping[Market, Sequence[str]],
    *,
    today: dt.date,
    uses_flat_files: bool = False,
) -> list[PlanRow]:
    """One row for every market in `tiers`; only markets with symbols are warned about.

    With `uses_flat_files` the tape comes from a folder, and what a plan lacks on REST is no one's concern.

    Raises:
        PlanError: a tier is unknown.
    """
    rows = []
    for market, tier in tiers.items():
        plan = plan_for(market, tier)
        watched = list(symbols.get(market, ()))
        warnings = _misspelt(market, watched)
        if watched and not uses_flat_files:
            warnings += _lacks(plan, len(watched))
        way_out = f"set {plan.setting} to the plan you bought, or use --flat-files" if warnings else ""
        rows.append(PlanRow(market, tier, _rights(plan, today), tuple(warnings), way_out))
    return rows


def probe(source: RestSource, symbols: Mapping[Market, Sequence[str]], *, today: dt.date) -> Iterator[ProbeRow]:
    """Ask the server for its status, then for each market's last full day, one row a call; stops where the server is not there.

    Only tables that the plan grants are asked for, and of a plan that counts calls only bars.
    """
    status = _tried("server and key", partial(_status, source))
    yield status
    if not status.is_ok:
        return
    for market, watched in symbols.items():
        plan, day = source.plan(market), _last_full_day(market, today)
        if not watched or day is None:
            continue
        for tape in Tape:
            if plan.grants(tape) and (tape is Tape.BARS or not plan.is_metered):
                yield _tried(
                    f"{tape} of {watched[0]} on {day}",
                    partial(_found, source, tape, Partition(day, market), watched[0]),
                )


def _tried(what: str, ask: Callable[[], str]) -> ProbeRow:
    start = time.perf_counter()
    try:
        detail, is_ok = ask(), True
    except SourceError as error:
        detail, is_ok = str(error), False
    return ProbeRow(what, is_ok, detail, time.perf_counter() - start)


def _status(source: RestSource) -> str:
    return f"{source.reference.market_status().height} markets and exchanges report"


def _found(source: RestSource, tape: Tape, partition: Partition, symbol: str) -> str:
    if not source.has_rows(tape, partition, symbol):
        raise SourceError(f"no {tape} for {symbol} on {partition.date}: check the symbol's spelling (AAPL, X:BTC-USD)")
    return "granted"


def _last_full_day(market: Market, today: dt.date) -> dt.date | None:
    days = (today - dt.timedelta(days=back) for back in range(1, _LOOK_BACK_DAYS))
    return next((day for day in days if session_of(market, day)), None)


def _rights(plan: MarketPlan, today: dt.date) -> str:
    calls = plan.plan.calls_per_minute
    parts = [
        f"{_listed(plan.plan.rest)} from {plan.first_day(today)}, {_IN_WORDS[plan.plan.recency]}",
        f"{calls} calls a minute" if calls else "no limit of calls",
        f"flat files: {_listed(plan.plan.flat_files)}",
        f"stream: {', '.join(plan.plan.websocket) or 'none'}",
    ]
    return "; ".join(parts)


def _listed(tapes: frozenset[Tape]) -> str:
    return ", ".join(tape.value for tape in Tape if tape in tapes) or "none"


def _misspelt(market: Market, symbols: Sequence[str]) -> list[str]:
    # A future carries no prefix, so its market cannot be told from its name.
    wrong = [symbol for symbol in symbols if market is not Market.FUTURES and market_of(symbol) is not market]
    return [f"{', '.join(wrong)}: not spelt as {market} (AAPL, X:BTC-USD, C:EUR-USD, I:SPX, O:…)"] if wrong else []


def _lacks(plan: MarketPlan, symbols: int) -> list[str]:
    warnings = []
    if not plan.grants(Tape.TRADES) and Tape.TRADES in plan.on_rest:
        warnings.append("no trades: microstructure features, and the models on them, need them")
    if not plan.grants(Tape.QUOTES) and Tape.QUOTES in plan.on_rest:
        warnings.append("no quotes: quote features stay empty, and aggressors are told by ticks alone")
    if plan.plan.recency is Recency.END_OF_DAY:
        warnings.append("a day can be loaded only once it is over")
    if plan.plan.calls_per_minute:
        minutes = symbols * len(plan.plan.rest) / plan.plan.calls_per_minute
        warnings.append(
            f"{plan.plan.calls_per_minute} calls a minute: a day of {symbols} symbols takes at least {minutes:.0f} min"
        )
    if not plan.plan.websocket:
        warnings.append("no streaming")
    return warnings
