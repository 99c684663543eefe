"""Reads part of a day again from the vendor: a symbol's rows between two times, over REST or from the day's flat file."""

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import polars as pl

from tapewatch.feeds.files.source import FlatFileSource
from tapewatch.feeds.plans.table import PlanError, Recency, TapeTable, clamp_range, plan_for
from tapewatch.feeds.rest.kinds import Window, kind_of
from tapewatch.feeds.rest.pages import Pager
from tapewatch.feeds.rest.tape import fetch_symbol
from tapewatch.feeds.rest.transport import Patience, Transport
from tapewatch.market.instruments import NEW_YORK, NS_PER_MINUTE, NS_PER_SECOND, Market, Partition, zone_of

#: Late reports may follow for this long after a plan shows a time range.
_SETTLES_NS = 2 * NS_PER_MINUTE
#: New York time of the next day at which the vendor's files are ready.
_FILES_READY = dt.time(11)

Rows = Iterator[tuple[str, pl.DataFrame]]


class RecordSource(Protocol):
    """Delivers the final rows of a time range. Times are int64 ns UTC, half-open."""

    name: str

    def tapes(self, market: Market, day: dt.date, today: dt.date) -> tuple[list[TapeTable], str]:
        """The tables available for a day, and why the others are not (empty if all are available)."""

    def ready_at(self, partition: Partition, end: int) -> int:
        """The earliest time at which a range that ends at `end` may be requested."""

    def between(self, tape: TapeTable, partition: Partition, symbols: Sequence[str], start: int, end: int) -> Rows:
        """Each symbol's rows from `start` to before `end`; symbols without rows may be left out.

        Raises:
            SourceError: the source cannot deliver; a `TransientError` where a later attempt may succeed.
        """


class RestRanges:
    """Reads over REST as far as the plans allow; arguments as `RestSource`."""

    name = "rest"

    def __init__(
        self,
        base_url: str,
        key: str,
        tiers: Mapping[Market, str],
        *,
        plans_file: Path | None = None,
        patience: Patience | None = None,
        clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        self._transport = Transport(base_url, key, patience=patience, connections=1)
        self._plans = {market: plan_for(market, tiers.get(market, "basic"), path=plans_file) for market in Market}
        self._clock = clock

    def tapes(self, market: Market, day: dt.date, today: dt.date) -> tuple[list[TapeTable], str]:
        """The tables that the plan grants over REST for that day."""
        plan = self._plans[market]
        try:
            clamp_range(plan, day, day, today=max(today, day + dt.timedelta(days=1)))
        except PlanError as error:
            return [], str(error)
        granted = [tape for tape in TapeTable if tape in plan.on_rest and plan.grants(tape)]
        lacking = [tape for tape in TapeTable if tape in plan.on_rest and not plan.grants(tape)]
        why = f"the plan '{plan.tier}' has no {' and '.join(lacking)} of {market} over REST: set {plan.setting}"
        return granted, f"{why} to the plan you bought, or TAPEWATCH_FLAT_FILES" if lacking else ""

    def ready_at(self, partition: Partition, end: int) -> int:
        """After the plan's delay; from the next day on if the plan shows finished days only."""
        recency = self._plans[partition.market].plan.recency
        if recency is Recency.END_OF_DAY:
            return _next_day(partition, dt.time(), zone_of(partition.market)) + _SETTLES_NS
        return end + int(recency.delay.total_seconds()) * NS_PER_SECOND + _SETTLES_NS

    def between(self, tape: TapeTable, partition: Partition, symbols: Sequence[str], start: int, end: int) -> Rows:
        """One request per symbol."""
        market = partition.market
        plan, kind = self._plans[market], kind_of(tape, market)
        window = Window(start, end, str(partition.date))
        now = int(self._clock().timestamp()) * NS_PER_SECOND
        pager = Pager(self._transport, plan)
        for symbol in symbols:
            found = fetch_symbol(pager, kind, market, symbol, window, now=now, is_metered=plan.is_metered)
            yield symbol, found.frame


class FlatFileRanges:
    """Reads the vendor's flat files, which are ready on the next day."""

    name = "flat_files"

    def __init__(self, source: FlatFileSource) -> None:
        self._source = source

    def tapes(self, market: Market, day: dt.date, today: dt.date) -> tuple[list[TapeTable], str]:  # noqa: ARG002
        """The tables that have a file for that day, of futures one of each venue: rows of the others would pass for absent."""
        there = [tape for tape in TapeTable if self._source.is_whole(market, tape.value, day)]
        missing = "" if there else f"no flat file of {market} for {day} in {self._source.root}"
        return there, missing

    def ready_at(self, partition: Partition, end: int) -> int:  # noqa: ARG002
        """Late in the next morning, New York time."""
        return _next_day(partition, _FILES_READY, NEW_YORK)

    def between(self, tape: TapeTable, partition: Partition, symbols: Sequence[str], start: int, end: int) -> Rows:
        """Read from the day's file, once for all symbols."""
        load = getattr(self._source, tape.value)(partition, list(symbols) or None)
        for frame in load:
            inside = frame.filter(pl.col("time").to_physical().is_between(start, end, closed="left"))
            for (symbol,), rows in inside.group_by("symbol", maintain_order=True):
                yield str(symbol), rows


def _next_day(partition: Partition, time: dt.time, zone: dt.tzinfo) -> int:
    after = dt.datetime.combine(partition.date + dt.timedelta(days=1), time, zone)
    return int(after.timestamp()) * NS_PER_SECOND
