"""Estimates the cost of a backfill over REST before it starts: days, calls and time."""

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tapewatch.feeds.plans.table import MarketPlan, PlanError, TapeTable
from tapewatch.feeds.rest.bars_ahead import chunk_days
from tapewatch.feeds.rest.tape import PAGE_LIMIT
from tapewatch.market.instruments import session_of

#: Default number of trading days of a backfill: bars are small, ticks are not.
DAYS_OF_BARS: Final = 30
DAYS_OF_TICKS: Final = 5
#: Seconds per call if none was measured, and calls in flight at a time.
ASSUMED_CALL_S: Final = 0.3
WORKERS: Final = 4
_TICKS: Final = frozenset({TapeTable.TRADES, TapeTable.QUOTES})


@dataclass(frozen=True, slots=True)
class DefaultRange:
    """The days of a backfill without named days, and why these."""

    first: dt.date
    last: dt.date
    reason: str


@dataclass(frozen=True, slots=True)
class Sample:
    """Measurements of the first page of a symbol's day: rows, the share of the day they cover, and seconds it took."""

    tape: TapeTable
    symbol: str
    rows: int
    share: float
    seconds: float

    @property
    def pages(self) -> int:
        """Pages of the whole day, extrapolated from the first."""
        return max(1, math.ceil(1 / self.share)) if self.share > 0 else 1


@dataclass(frozen=True, slots=True)
class TableEstimate:
    """One table: days that are missing in the lake, and calls to fetch them."""

    tape: TapeTable
    days: int
    calls: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """All tables; `seconds` is the longer of what the plan's rate limit and the network take."""

    tables: tuple[TableEstimate, ...]
    seconds: float
    assumptions: tuple[str, ...]

    @property
    def calls(self) -> int:
        """Calls of all tables."""
        return sum(table.calls for table in self.tables)


def default_range(plan: MarketPlan, today: dt.date, *, last: dt.date | None = None) -> DefaultRange:
    """The last trading days that the plan shows completely: 30 if it has bars only, 5 if it has trades or quotes.

    Args:
        today: the market's present day, which is not over and left out.
        last: the last day, if the user named one.

    Raises:
        PlanError: the plan shows no trading day up to `last`.
    """
    has_ticks = bool(plan.plan.rest & _TICKS)
    count = DAYS_OF_TICKS if has_ticks else DAYS_OF_BARS
    newest = min(plan.last_day(today), today - dt.timedelta(days=1)) if last is None else last
    oldest = plan.first_day(today)
    days: list[dt.date] = []
    day = newest
    while day >= oldest and len(days) < count:
        if session_of(plan.market, day):
            days.append(day)
        day -= dt.timedelta(days=1)
    if not days:
        raise PlanError(f"the plan '{plan.tier}' shows {plan.market} from {oldest}: name later days by --from and --to")
    what = "trades or quotes" if has_ticks else "bars alone"
    until = "that are over" if last is None else f"up to {last}"
    reason = f"the last {len(days)} trading days {until}, since the plan '{plan.tier}' has {what} of {plan.market}"
    return DefaultRange(days[-1], days[0], reason)


def estimate(
    plan: MarketPlan, missing: Mapping[TapeTable, Sequence[dt.date]], symbols: int, samples: Sequence[Sample] = ()
) -> Estimate:
    """Calls and seconds for the `missing` days of each table that the plan grants."""
    measured = {sample.tape: sample for sample in samples}
    tables = [
        TableEstimate(tape, len(days), _calls(plan, tape, days, symbols, measured.get(tape)))
        for tape, days in missing.items()
        if plan.grants(tape)
    ]
    calls = sum(table.calls for table in tables)
    seconds_a_call = max((sample.seconds for sample in samples), default=ASSUMED_CALL_S)
    return Estimate(
        tuple(tables), _seconds(plan, calls, symbols, seconds_a_call), tuple(_assumptions(plan, tables, samples))
    )


def _calls(plan: MarketPlan, tape: TapeTable, days: Sequence[dt.date], symbols: int, sample: Sample | None) -> int:
    if plan.is_metered and tape is TapeTable.BARS:
        return symbols * _chunks(sorted(days), chunk_days(symbols))
    # Plans that count calls save the call that verifies that an answer is complete.
    proof = 0 if plan.is_metered else 1
    return symbols * len(days) * ((sample.pages if sample else 1) + proof)


def _chunks(days: Sequence[dt.date], longest: int) -> int:
    count, end = 0, dt.date.min
    for day in days:
        if day > end:
            count, end = count + 1, day + dt.timedelta(days=longest - 1)
    return count


def _seconds(plan: MarketPlan, calls: int, symbols: int, seconds_a_call: float) -> float:
    allowed, span = plan.rate
    waits = max(0, calls - 1) // allowed * span
    return max(waits, calls * seconds_a_call / max(1, min(WORKERS, symbols)))


def _assumptions(plan: MarketPlan, tables: Sequence[TableEstimate], samples: Sequence[Sample]) -> list[str]:
    assumptions = []
    if plan.is_metered:
        assumptions.append(f"the plan's {plan.plan.calls_per_minute} calls a minute; bars of 30 days fit one call")
    else:
        assumptions.append(
            "at least two calls per symbol, day and table: one for its rows, one to verify that none is missing"
        )
    for sample in samples:
        assumptions.append(
            f"{sample.tape} of {sample.symbol}: {sample.rows:,} rows in {sample.seconds:.1f} s cover {sample.share:.0%} of a "
            f"day, assumed for every symbol"
        )
    measured = {sample.tape for sample in samples}
    if any(table.tape in _TICKS and table.tape not in measured and table.calls for table in tables):
        assumptions.append(
            f"one page of {PAGE_LIMIT:,} rows per symbol and day of trades and quotes; busy symbols need more"
        )
    if not samples and not plan.is_metered:
        assumptions.append(f"{ASSUMED_CALL_S} s per call, {WORKERS} at a time; nothing was measured")
    return assumptions
