"""Checks a deployment's settings against its plans, market by market (`tapewatch check`)."""

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tapewatch.feeds.plans.addresses import stream_address
from tapewatch.feeds.plans.table import MarketPlan, PlanError, Recency, TapeTable, plan_for
from tapewatch.market.instruments import Market
from tapewatch.market.tickers import SymbolError, normalise


@dataclass(frozen=True, slots=True)
class Deployment:
    """The settings that are checked against the plans.

    `symbols` are as the user wrote them; `ws_url` is the address for all markets, `ws_urls` those for single markets.
    """

    tiers: Mapping[Market, str]
    symbols: Mapping[Market, Sequence[str]]
    rest_url: str
    plans_file: Path | None = None
    flat_files: str | None = None
    ws_url: str | None = None
    ws_urls: Mapping[Market, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PlanRow:
    """One market: what its plan allows, its stream's address, limits (`warnings`) and settings that cannot work (`faults`)."""

    market: Market
    tier: str
    rate: str
    history_from: str
    recency: str
    rest: str
    flat_files: str
    channels: str
    address: str
    warnings: tuple[str, ...]
    faults: tuple[str, ...]


def check_plans(deployment: Deployment, *, today: dt.date) -> list[PlanRow]:
    """One row per market of the deployment; only markets with symbols get warnings about their plan's limits.

    Raises:
        PlanError: a tier is unknown, or the table of plans is broken.
    """
    return [_row(deployment, market, today) for market in deployment.tiers]


def symbols_of(deployment: Deployment, market: Market) -> tuple[list[str], list[str]]:
    """The market's symbols in this platform's spelling, and a message for each that is not valid."""
    good, faults = [], []
    for written in deployment.symbols.get(market, ()):
        try:
            good.append(normalise(written, market))
        except SymbolError as error:
            faults.append(f"TAPEWATCH_SYMBOLS_{market.upper()}: {_of_setting(str(error))}")
    return good, faults


def _row(deployment: Deployment, market: Market, today: dt.date) -> PlanRow:
    plan = plan_for(market, deployment.tiers[market], path=deployment.plans_file)
    symbols, faults = symbols_of(deployment, market)
    address, wrong = _address(deployment, plan)
    calls = plan.plan.calls_per_minute
    stream = plan.stream_recency.in_words if plan.channels else ""
    return PlanRow(
        market,
        plan.tier,
        f"{calls} a minute" if calls else "no limit",
        str(plan.first_day(today)),
        plan.plan.recency.in_words,
        _listed(plan.plan.rest),
        _listed(plan.plan.flat_files),
        f"{', '.join(plan.channels)} ({stream})" if plan.channels else "none",
        address,
        tuple(_warnings(deployment, plan, symbols)),
        tuple(faults + wrong),
    )


def _address(deployment: Deployment, plan: MarketPlan) -> tuple[str, list[str]]:
    override = deployment.ws_urls.get(plan.market)
    try:
        address = stream_address(plan, deployment.rest_url, base=deployment.ws_url, override=override)
    except PlanError as error:
        return "", [str(error)]
    if plan.channels:
        return address, []
    if override:
        setting = f"POLYGON_WS_URL_{plan.market.upper()}"
        return address, [
            f"{setting} is set, and the plan '{plan.tier}' has no stream of {plan.market}: set {plan.setting} to the plan "
            f"you bought, or unset {setting}"
        ]
    return "", []


def _warnings(deployment: Deployment, plan: MarketPlan, symbols: Sequence[str]) -> list[str]:
    if not symbols:
        return _unwatched(deployment, plan)
    found = [] if deployment.flat_files is not None else _lacks_on_rest(plan, len(symbols))
    if deployment.flat_files is not None:
        found += _lacks_in_files(plan)
    if not plan.channels:
        found.append(f"no stream: `tapewatch stream {plan.market}` needs a paid plan, {_to_bought(plan)}")
    for channel, limit in plan.symbols_a_channel.items():
        if channel in plan.channels and len(symbols) > limit:
            found.append(
                f"channel {channel} takes {limit:,} symbols a connection, and {len(symbols):,} are set: shorten "
                f"TAPEWATCH_SYMBOLS_{plan.market.upper()}"
            )
    return found


def _unwatched(deployment: Deployment, plan: MarketPlan) -> list[str]:
    """A market without symbols is not in use, so only a plan that was bought for it is worth a warning."""
    if deployment.symbols.get(plan.market) or plan.tier == "basic":
        return []
    return [
        f"the plan '{plan.tier}' is set and no symbols are: set TAPEWATCH_SYMBOLS_{plan.market.upper()}, commas between"
    ]


def _lacks_on_rest(plan: MarketPlan, symbols: int) -> list[str]:
    found = []
    if not plan.grants(TapeTable.TRADES) and TapeTable.TRADES in plan.on_rest:
        found.append(
            f"no trades: only bars are available, no features or models; {_to_bought(plan)}, or use --flat-files"
        )
    if not plan.grants(TapeTable.QUOTES) and TapeTable.QUOTES in plan.on_rest:
        found.append("no quotes: quote features stay empty, and aggressors are inferred by the tick test alone")
    if plan.plan.recency is Recency.END_OF_DAY:
        found.append("a day can be loaded only once it is over")
    if plan.plan.calls_per_minute:
        minutes = max(1, -(-symbols // plan.plan.calls_per_minute))
        found.append(
            f"{plan.plan.calls_per_minute} calls a minute: up to 30 days of bars of {symbols} symbols take about {minutes} min"
        )
    return found


def _lacks_in_files(plan: MarketPlan) -> list[str]:
    lacking = [
        tape for tape in (TapeTable.TRADES, TapeTable.QUOTES) if plan.grants(tape) and tape not in plan.plan.flat_files
    ]
    if not lacking:
        return []
    tables = " and ".join(lacking)
    return [
        f"the plan '{plan.tier}' has {tables} over REST and not as flat files, which are read in its place: unset "
        f"TAPEWATCH_FLAT_FILES to have them"
    ]


def _to_bought(plan: MarketPlan) -> str:
    return f"set {plan.setting} to the plan you bought"


def _of_setting(words: str) -> str:
    return re.sub(r"use --market (\w+)", lambda found: f"put it into TAPEWATCH_SYMBOLS_{found[1].upper()}", words)


def _listed(tapes: frozenset[TapeTable]) -> str:
    return ", ".join(tape.value for tape in TapeTable if tape in tapes) or "none"
