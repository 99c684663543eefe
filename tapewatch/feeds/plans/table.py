"""The vendor's plans and their limits, read from `plans.toml` and checked."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import msgspec

from tapewatch.feeds.source import SourceError
from tapewatch.market.instruments import Market
from tapewatch.toml_tables import TomlTable

PLANS_FILE: Final = Path(__file__).with_name("plans.toml")
TIERS: Final = ("basic", "starter", "developer", "advanced")
_ONE_MINUTE_S: Final = 60.0


class PlanError(SourceError):
    """The table of plans is invalid, or lacks a plan or market."""


class TapeTable(StrEnum):
    """The tables that a plan may grant."""

    BARS = "bars"
    TRADES = "trades"
    QUOTES = "quotes"


class Recency(StrEnum):
    """The delay with which a plan delivers market data."""

    END_OF_DAY = "end_of_day"
    DELAYED = "delayed_15m"
    DELAYED_10 = "delayed_10m"
    REAL_TIME = "real_time"

    @property
    def delay(self) -> dt.timedelta:
        """The delay behind the market; zero for `END_OF_DAY`, which delivers complete days."""
        return dt.timedelta(minutes=_DELAY_MINUTES.get(self, 0))

    @property
    def in_words(self) -> str:
        """The delay as text: `15 minutes late`."""
        if self in _DELAY_MINUTES:
            return f"{_DELAY_MINUTES[self]} minutes late"
        return "in real time" if self is Recency.REAL_TIME else "after the day's end"


_DELAY_MINUTES: Final = {Recency.DELAYED: 15, Recency.DELAYED_10: 10}


class PlanTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The terms of one plan of one market, as in the file."""

    recency: Recency
    rest: frozenset[TapeTable]
    calls_per_minute: int | None = None
    history_years: int | None = None
    stream_recency: Recency | None = None
    flat_files: frozenset[TapeTable] = frozenset()
    websocket: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MarketPlan:
    """A plan with its market, its name, and the limits of its market."""

    market: Market
    tier: str
    plan: PlanTerms
    on_rest: frozenset[TapeTable]
    market_first_day: dt.date
    advised_calls_per_second: float
    connections: int
    symbols_a_channel: Mapping[str, int] = field(hash=False)

    @property
    def setting(self) -> str:
        """The name of the setting for this market's plan."""
        return f"POLYGON_TIER_{self.market.upper()}"

    @property
    def rate(self) -> tuple[int, float]:
        """The number of calls allowed, and the seconds in which they may be made."""
        if self.plan.calls_per_minute is not None:
            return self.plan.calls_per_minute, _ONE_MINUTE_S
        return max(1, int(self.advised_calls_per_second)), 1.0

    @property
    def is_metered(self) -> bool:
        """Whether the plan limits the number of calls, so that none should be spent on verification."""
        return self.plan.calls_per_minute is not None

    def first_day(self, today: dt.date) -> dt.date:
        """The oldest day that the plan covers on `today`."""
        if self.plan.history_years is None:
            return self.market_first_day
        return max(self.market_first_day, _years_before(today, self.plan.history_years))

    def last_day(self, today: dt.date) -> dt.date:
        """The newest day that the plan covers on `today`."""
        return today - dt.timedelta(days=1) if self.plan.recency is Recency.END_OF_DAY else today

    def grants(self, table: TapeTable) -> bool:
        """Whether the plan includes `table` over REST."""
        return table in self.plan.rest

    @property
    def channels(self) -> tuple[str, ...]:
        """The WebSocket channels that the plan includes; none if it has no stream."""
        return self.plan.websocket

    @property
    def stream_recency(self) -> Recency:
        """The delay of the plan's WebSocket."""
        return self.plan.stream_recency or self.plan.recency


@dataclass(frozen=True, slots=True)
class Clamped:
    """The part of a range of days that a plan covers. `message` says what was cut, and is empty if nothing was."""

    first: dt.date
    last: dt.date
    message: str = ""


def plan_for(market: Market | str, tier: str, *, path: Path | None = None) -> MarketPlan:
    """The plan `tier` of `market`, from the built-in table or from the user's own at `path`.

    Raises:
        PlanError: the file is invalid, or has no such plan.
    """
    path = path or PLANS_FILE
    market, table = Market(market), load_plans(path)
    if (market, tier) not in table:
        raise PlanError(
            f"{market} has no plan {tier!r}: set POLYGON_TIER_{market.upper()} to one of "
            f"{', '.join(t for m, t in table if m == market)}, or add it to {path.name}"
        )
    return table[market, tier]


@lru_cache(maxsize=8)
def load_plans(path: Path = PLANS_FILE) -> Mapping[tuple[Market, str], MarketPlan]:
    """Every plan of the file by market and name.

    Raises:
        PlanError: the file cannot be read, or an entry is malformed; the message names file, market, plan and field.
    """
    file = TomlTable(path, "the table of plans", PlanError)
    document = dict(file.document)
    advised = document.pop("advised_calls_per_second", 90)
    if isinstance(advised, bool) or not isinstance(advised, int | float) or advised <= 0:
        raise file.fault(f"advised_calls_per_second is {advised!r}; it must be a number above 0")
    missing = [market.value for market in Market if market.value not in document]
    if missing:
        raise file.fault(f"no section for {', '.join(missing)}; every market needs one")
    plans: dict[tuple[Market, str], MarketPlan] = {}
    for name, section in document.items():
        plans.update({(p.market, p.tier): p for p in _market_plans(file, name, section, float(advised))})
    return plans


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    rest: frozenset[TapeTable]
    first_day: dt.date
    channels: tuple[str, ...]
    connections: int = 1
    symbols_a_channel: dict[str, int] = {}


def _market_plans(file: TomlTable, name: str, section: Any, advised: float) -> list[MarketPlan]:
    if name not in list(Market):
        raise file.fault(f"[{name}] is not a market; the markets are {', '.join(Market)}")
    market, section = Market(name), file.section(name, section)
    head = file.convert(
        name,
        {k: v for k, v in section.items() if k in _Section.__struct_fields__ or not isinstance(v, dict)},
        _Section,
    )
    _check_section(file, name, head)
    plans = []
    for tier, entry in section.items():
        if tier in _Section.__struct_fields__ or not isinstance(entry, dict):
            continue
        plan = file.convert(f"{name}.{tier}", entry, PlanTerms)
        _check_plan(file, f"{name}.{tier}", plan, head)
        limits = head.connections, head.symbols_a_channel
        plans.append(MarketPlan(market, tier, plan, head.rest, head.first_day, advised, *limits))
    if not plans:
        raise file.fault(f"[{name}] has no plan; add one as [{name}.basic]")
    return plans


def _check_section(file: TomlTable, where: str, head: _Section) -> None:
    for name, value in {"connections": head.connections, **head.symbols_a_channel}.items():
        if value < 1:
            raise file.fault(f"[{where}]: {name} is {value}; it must be at least 1")
    unknown = set(head.symbols_a_channel) - set(head.channels)
    if unknown:
        raise file.fault(f"[{where}]: symbols_a_channel limits {', '.join(sorted(unknown))}, which is not a channel")


def _check_plan(file: TomlTable, where: str, plan: PlanTerms, head: _Section) -> None:
    for name in ("calls_per_minute", "history_years"):
        value = getattr(plan, name)
        if value is not None and value < 1:
            raise file.fault(f"[{where}]: {name} is {value}; it must be at least 1, or left out for no limit")
    beyond = plan.rest - head.rest
    if beyond:
        raise file.fault(
            f"[{where}]: rest grants {', '.join(sorted(beyond))}, which the market does not have over REST"
        )
    unknown = [channel for channel in plan.websocket if channel not in head.channels]
    if unknown:
        raise file.fault(
            f"[{where}]: websocket grants {', '.join(unknown)}; the market's channels are {', '.join(head.channels)}"
        )
    if plan.websocket and (plan.stream_recency or plan.recency) is Recency.END_OF_DAY:
        raise file.fault(f"[{where}]: a stream cannot be end_of_day: set its delay in stream_recency")


def clamp_range(plan: MarketPlan, first: dt.date, last: dt.date, *, today: dt.date) -> Clamped:
    """The part of `first` … `last` that the plan covers on `today`, and a message about the rest.

    Raises:
        PlanError: the range ends before it begins, or the plan covers none of it.
    """
    if last < first:
        raise PlanError(f"the range ends before it begins: {first} … {last}")
    oldest, newest = plan.first_day(today), plan.last_day(today)
    kept_first, kept_last = max(first, oldest), min(last, newest)
    way_out = f"set {plan.setting} to the plan you bought, or use --flat-files"
    if kept_last < kept_first:
        raise PlanError(
            f"the plan '{plan.tier}' shows {plan.market} from {oldest} to {newest}, nothing of {first} … {last}: {way_out}"
        )
    cut = []
    if kept_first > first:
        cut.append(f"{first} … {kept_first - dt.timedelta(days=1)} (older than the plan's history)")
    if kept_last < last:
        cut.append(f"{kept_last + dt.timedelta(days=1)} … {last} (newer than the plan shows)")
    message = f"the plan '{plan.tier}' leaves out {' and '.join(cut)} of {plan.market}: {way_out}" if cut else ""
    return Clamped(kept_first, kept_last, message)


def _years_before(day: dt.date, years: int) -> dt.date:
    try:
        return day.replace(year=day.year - years)
    except ValueError:  # 29 February
        return day.replace(year=day.year - years, day=28)
