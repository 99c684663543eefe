"""The vendor's REST API, or an emulator's, as a source of the tape."""

import datetime as dt
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import polars as pl

from tapewatch.feeds.errors import EntitlementError, NotFoundError, NotInPlanError
from tapewatch.feeds.plans.table import MarketPlan, PlanError, TapeTable, clamp_range, plan_for
from tapewatch.feeds.rest.bars_ahead import BarsAhead
from tapewatch.feeds.rest.decode import DecodedColumns
from tapewatch.feeds.rest.estimate import Sample
from tapewatch.feeds.rest.kinds import Kind, Window, kind_of
from tapewatch.feeds.rest.pages import NumberedPage, Pager
from tapewatch.feeds.rest.prefetch import in_order
from tapewatch.feeds.rest.reference import Reference
from tapewatch.feeds.rest.tape import PAGE_LIMIT, SymbolTape, fetch_symbol
from tapewatch.feeds.rest.transport import Patience, Transport
from tapewatch.feeds.source import Load, SourceError, session_of_partition
from tapewatch.market.instruments import NS_PER_SECOND, Market, Partition, day_of, zone_of


class RestSource:
    """Implements `TapeSource` over REST.

    Args:
        base_url: the vendor's address or an emulator's.
        tiers: the plan bought for each market; a market that is not named has `basic`.
        bars_until: by market, the last day whose bars a run will request. Where a plan counts calls, one call fetches bars
            of 30 days up to there.
        plans_file: the user's own table of plans, in place of `plans.toml`.
        workers: symbols fetched at the same time; as many may be in memory.
        page_limit: rows per page, 50,000 at most.
        clock: the present; later rows are refused, and so are days that the plan does not show yet.

    Raises:
        RestAuthenticationError: the key is empty or cannot be sent.
        PlanError: a tier is unknown.
    """

    name = "rest"

    def __init__(
        self,
        base_url: str,
        key: str,
        tiers: Mapping[Market, str],
        *,
        bars_until: Mapping[Market, dt.date] | None = None,
        plans_file: Path | None = None,
        patience: Patience | None = None,
        workers: int = 4,
        page_limit: int = PAGE_LIMIT,
        clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        self._transport = Transport(base_url, key, patience=patience, connections=workers)
        self._plans = {market: plan_for(market, tiers.get(market, "basic"), path=plans_file) for market in Market}
        self._workers = workers
        self._page_limit = page_limit
        self._clock = clock
        self._ahead = {market: self._bars_ahead(market, last) for market, last in (bars_until or {}).items()}
        self.reference = Reference(self._transport, self._plans)

    def __repr__(self) -> str:
        return f"RestSource({self._transport!r})"

    def today(self, market: Market) -> dt.date:
        """The present day where the market keeps its calendar."""
        return day_of(market, self._clock())

    def plan(self, market: Market) -> MarketPlan:
        """The plan in use for a market."""
        return self._plans[market]

    def trades(self, partition: Partition, symbols: Sequence[str] | None = None) -> Load:
        """The day's trades (`TRADES`), a frame a symbol; no frames where the market has none on REST.

        Raises:
            EntitlementError: the plan has no trades, or not of that day; no call was made.
            SourceError: the market does not trade that day; while iterating: a symbol is unknown to the vendor, or an answer
                is inconsistent.
        """
        return self._day(TapeTable.TRADES, partition, symbols)

    def quotes(self, partition: Partition, symbols: Sequence[str] | None = None) -> Load:
        """The day's quotes (`QUOTES`), as `trades`. The vendor keeps no crypto quotes; an emulator may."""
        return self._day(TapeTable.QUOTES, partition, symbols)

    def bars(self, partition: Partition, symbols: Sequence[str] | None = None) -> Load:
        """The day's unadjusted minute bars (`DELIVERED_BARS`), as `trades`."""
        ahead = self._ahead.get(partition.market)
        if ahead is None or symbols is None or not self._plans[partition.market].is_metered:
            return self._day(TapeTable.BARS, partition, symbols)
        session_of_partition(partition)
        self._check_plan(TapeTable.BARS, partition, symbols)
        return ahead.day(partition, symbols)

    def has_rows(self, tape: TapeTable, partition: Partition, symbol: str) -> bool:
        """Whether one call finds any row of a symbol's day. Makes the call even where the plan lacks the table."""
        return self._first_page(tape, partition, symbol, 1).decoded.source_rows > 0

    def sample(self, tape: TapeTable, partition: Partition, symbol: str) -> Sample:
        """Rows and timing of the first page of a symbol's day, from one call.

        Raises:
            RestError: as `trades`, while iterating.
        """
        began = time.perf_counter()
        page = self._first_page(tape, partition, symbol, self._page_limit)
        seconds, session = time.perf_counter() - began, partition.session
        share = 1.0
        if page.decoded.page.next_url and page.decoded.frame.height:
            newest = int(page.decoded.frame["time"].dt.timestamp("ns").max() or session.day_end)  # type: ignore[arg-type]
            start, end = session.extended_start, session.extended_end
            share = min(1.0, max(0.01, (newest - start) / (end - start)))
        return Sample(tape, symbol, page.decoded.source_rows, share, seconds)

    def _first_page(
        self, tape: TapeTable, partition: Partition, symbol: str, limit: int
    ) -> NumberedPage[DecodedColumns]:
        kind = kind_of(tape, partition.market)
        request = kind.request(symbol, Window.spanning(partition.session), limit)
        return next(Pager(self._transport, self._plans[partition.market]).pages(request, kind.decoder))

    def truth(self, partition: Partition, symbols: Sequence[str] | None = None) -> pl.DataFrame | None:
        """The anomalies that an emulator put into its tape; None from the vendor and from recorded tapes."""
        if self._transport.is_vendor:
            return None
        found = []
        for symbol in self._symbols(partition, symbols):
            with suppress(NotFoundError):
                found.append(self.reference.truth(symbol, partition.market, partition.date))
        return pl.concat(found) if found else None

    def _bars_ahead(self, market: Market, last: dt.date) -> BarsAhead:
        kind = kind_of(TapeTable.BARS, market)
        newest = min(last, self._plans[market].last_day(self.today(market)))
        return BarsAhead(lambda load, work: self._frames(load, kind, market, list(work)), market, newest)

    def _day(self, tape: TapeTable, partition: Partition, symbols: Sequence[str] | None) -> Load:
        market, session = partition.market, session_of_partition(partition)
        load = Load(iter(()))
        if tape in self._plans[market].on_rest:
            self._check_plan(tape, partition, symbols)
        elif tape is not TapeTable.QUOTES or market is not Market.CRYPTO or self._transport.is_vendor:
            return load
        work = [(symbol, Window.spanning(session)) for symbol in self._symbols(partition, symbols)]
        load.frames = self._frames(load, kind_of(tape, market), market, work, is_listed=symbols is None)
        return load

    def _check_plan(self, tape: TapeTable, partition: Partition, symbols: Sequence[str] | None) -> None:
        """Refuse, before any call, what the plan does not include."""
        market, day = partition.market, partition.date
        plan, today = self._plans[market], self.today(market)
        what = f"no {tape} for {', '.join(symbols) if symbols else market} on {day}"
        if not plan.grants(tape):
            raise NotInPlanError(
                f"{what}: the plan '{plan.tier}' has no {tape} of {market}; set {plan.setting} to the plan you bought, or use "
                "--flat-files"
            )
        if day > today:
            raise SourceError(f"{what}: {day} lies in the future (today is {today})")
        try:
            clamp_range(plan, day, day, today=today)
        except PlanError as error:
            raise EntitlementError(f"{what}: {error}") from error

    def _symbols(self, partition: Partition, symbols: Sequence[str] | None) -> list[str]:
        if symbols is None:
            return self.reference.symbols(partition.market, partition.date)
        return sorted(set(symbols))

    def _frames(
        self, load: Load, kind: Kind, market: Market, work: list[tuple[str, Window]], *, is_listed: bool = False
    ) -> Iterator[pl.DataFrame]:
        """The frames of `work` in its order, fetched ahead by several threads; adds their counters to `load`."""
        cancelled = threading.Event()
        plan = self._plans[market]
        pager = Pager(self._transport, plan, cancelled)
        now = int(self._clock().timestamp()) * NS_PER_SECOND

        def fetch(item: tuple[str, Window]) -> SymbolTape:
            symbol, window = item
            tape = fetch_symbol(
                pager, kind, market, symbol, window, now=now, is_metered=plan.is_metered, page_limit=self._page_limit
            )
            if not tape.source_rows and not is_listed:
                tape.notices.append(self._explain_nothing(kind, market, symbol, window))
            return tape

        for tape in in_order(work, fetch, self._workers, cancelled):
            tape.count_into(load)
            if tape.frame.height:
                yield tape.frame

    def _explain_nothing(self, kind: Kind, market: Market, symbol: str, window: Window) -> str:
        """Why there are no rows: the symbol did not trade, or (an error) the vendor does not list it."""
        # A day of futures begins on the evening before.
        first_noon = dt.datetime.fromtimestamp(window.start // NS_PER_SECOND, zone_of(market)) + dt.timedelta(hours=12)
        if not self.reference.is_known(symbol, market, first_noon.date()):
            raise SourceError(
                f"no {kind.tape} for {symbol} on {window.label}: unknown symbol, the vendor's reference does not list it; "
                "check its spelling (AAPL, X:BTC-USD, C:EUR-USD, I:SPX, O:SPY251219C00650000, ESZ5)"
            )
        return f"no {kind.tape} for {symbol} on {window.label}: the symbol is known, but has no trading that day"
