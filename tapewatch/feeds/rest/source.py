"""The vendor's REST API, or an emulator's, as a source of the tape."""

import datetime as dt
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import polars as pl

from tapewatch.feeds.errors import EntitlementError, NotFoundError, NotInPlanError
from tapewatch.feeds.plans.table import MarketPlan, PlanError, Tape, clamp_range, plan_for
from tapewatch.feeds.rest.bars_ahead import BARS_CHUNK_DAYS, BarsAhead, window_of
from tapewatch.feeds.rest.decode import DecodedColumns
from tapewatch.feeds.rest.estimate import Sample
from tapewatch.feeds.rest.kinds import Kind, Window, kind_of
from tapewatch.feeds.rest.pages import NumberedPage, Pager
from tapewatch.feeds.rest.prefetch import in_order
from tapewatch.feeds.rest.reference import Reference
from tapewatch.feeds.rest.tape import PAGE_LIMIT, SymbolTape, fetch_symbol
from tapewatch.feeds.rest.transport import Patience, Transport
from tapewatch.feeds.source import Load, SourceError
from tapewatch.market.instruments import (
    NS_PER_SECOND,
    Market,
    Partition,
    Session,
    day_of,
    market_of,
    session_of,
    trading_days,
    zone_of,
)

_FRIDAY: Final = 5


class RestSource:
    """Implements `TapeSource` over REST.

    Args:
        base_url: the vendor's address or an emulator's.
        key: the vendor's key.
        tiers: the plan bought for each market; a market that is not named has `basic`.
        bars_until: the last day that a run will ask bars for, by market: where a plan counts calls, bars come in calls of
            30 days up to there.
        plans_file: a table of plans of the user's own, in place of `plans.toml`.
        patience: waits, attempts and timeouts.
        workers: symbols fetched at the same time; as many may lie in memory.
        page_limit: rows asked for in one page, 50,000 at most.
        clock: the time, for telling a row of the future and a day beyond the plan.

    Raises:
        AuthenticationError: the key is empty or cannot be sent.
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
        """The plan under which a market is asked."""
        return self._plans[market]

    def trades(self, partition: Partition, symbols: Sequence[str] | None = None) -> Load:
        """The day's trades (`TRADES`), a frame a symbol; no frames where the market has none on REST.

        Raises:
            EntitlementError: the plan has no trades, or not of that day; nothing was asked.
            SourceError: the market does not trade that day; while iterating: a symbol is unknown to the vendor, or an answer
                cannot be trusted.
        """
        return self._day(Tape.TRADES, partition, symbols)

    def quotes(self, partition: Partition, symbols: Sequence[str] | None = None) -> Load:
        """The day's quotes (`QUOTES`), as `trades`. The vendor keeps no crypto quotes; an emulator may."""
        return self._day(Tape.QUOTES, partition, symbols)

    def bars(self, partition: Partition, symbols: Sequence[str] | None = None) -> Load:
        """The day's unadjusted minute bars (`DELIVERED_BARS`), as `trades`."""
        ahead = self._ahead.get(partition.market)
        if ahead is None or symbols is None or not self._plans[partition.market].is_metered:
            return self._day(Tape.BARS, partition, symbols)
        self._refuse_closed(partition)
        self._admit(Tape.BARS, partition.market, partition.date, partition.date, symbols)
        return ahead.day(partition, symbols)

    def bars_range(self, symbol: str, first: dt.date, last: dt.date, *, market: Market | None = None) -> Load:
        """Unadjusted minute bars of one symbol over many days: a frame for every 30 days, oldest first.

        A future's name does not tell its market: name it.

        Raises:
            EntitlementError: the plan shows less than the whole range (`plans.clamp_range` says which part it shows).
            SourceError: as `trades`, and where the range holds no trading day.
        """
        market = market or market_of(symbol)
        self._admit(Tape.BARS, market, first, last, [symbol])
        sessions = [session for day in trading_days(market, first, last) if (session := session_of(market, day))]
        if not sessions:
            raise SourceError(f"{market} does not trade from {first} to {last}: choose other days")
        load = Load(iter(()))
        load.frames = self._frames(
            load, kind_of(Tape.BARS, market), market, [(symbol, window) for window in _chunks(sessions)]
        )
        return load

    def has_rows(self, tape: Tape, partition: Partition, symbol: str) -> bool:
        """Whether one call finds any row of a symbol's day; what the plan lacks is asked all the same, and refused there."""
        return self._first_page(tape, partition, symbol, 1).decoded.source_rows > 0

    def sample(self, tape: Tape, partition: Partition, symbol: str) -> Sample:
        """What one call says of a symbol's day: its first page, measured.

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

    def _first_page(self, tape: Tape, partition: Partition, symbol: str, limit: int) -> NumberedPage[DecodedColumns]:
        kind, session = kind_of(tape, partition.market), partition.session
        request = kind.request(symbol, Window(session.day_start, session.day_end, str(partition.date)), limit)
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
        kind = kind_of(Tape.BARS, market)
        newest = min(last, self._plans[market].last_day(self.today(market)))
        return BarsAhead(lambda load, work: self._frames(load, kind, market, list(work)), market, newest)

    def _refuse_closed(self, partition: Partition) -> Session:
        market, date = partition.market, partition.date
        session = session_of(market, date)
        if session is None:
            why = f"{date:%A}" if date.isoweekday() > _FRIDAY else f"{date:%A}, a holiday"
            raise SourceError(f"{date} is no trading day for {market} ({why})")
        return session

    def _day(self, tape: Tape, partition: Partition, symbols: Sequence[str] | None) -> Load:
        market, date = partition.market, partition.date
        session = self._refuse_closed(partition)
        load = Load(iter(()))
        if tape in self._plans[market].on_rest:
            self._admit(tape, market, date, date, symbols)
        elif tape is not Tape.QUOTES or market is not Market.CRYPTO or self._transport.is_vendor:
            return load
        window = Window(session.day_start, session.day_end, str(date))
        work = [(symbol, window) for symbol in self._symbols(partition, symbols)]
        load.frames = self._frames(load, kind_of(tape, market), market, work, is_listed=symbols is None)
        return load

    def _admit(
        self, tape: Tape, market: Market, first: dt.date, last: dt.date, symbols: Sequence[str] | None = None
    ) -> None:
        """Refuse, before any call, what the plan does not include."""
        plan = self._plans[market]
        days = f"{first}" if first == last else f"{first} … {last}"
        what = f"no {tape} for {', '.join(symbols) if symbols else market} on {days}"
        way_out = f"set {plan.setting} to the plan you bought, or use --flat-files"
        if not plan.grants(tape):
            raise NotInPlanError(f"{what}: the plan '{plan.tier}' has no {tape} of {market}; {way_out}")
        today = self.today(market)
        if last > today:
            raise SourceError(f"{what}: {last} lies in the future (today is {today})")
        try:
            clamped = clamp_range(plan, first, last, today=today)
        except PlanError as error:
            raise EntitlementError(f"{what}: {error}") from error
        if clamped.message:
            raise EntitlementError(f"{what}: {clamped.message}")

    def _symbols(self, partition: Partition, symbols: Sequence[str] | None) -> list[str]:
        if symbols is None:
            listed = self.reference.tickers(partition.market, date=partition.date)
            return listed["symbol"].unique().sort().to_list()
        return sorted(set(symbols))

    def _frames(
        self, load: Load, kind: Kind, market: Market, work: list[tuple[str, Window]], *, is_listed: bool = False
    ) -> Iterator[pl.DataFrame]:
        """The frames of `work` in its order, fetched ahead of their turn; counts them into `load`."""
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
        """Why there are no rows, as far as the vendor's list of tickers tells."""
        # A day of futures begins on the evening before.
        first_noon = dt.datetime.fromtimestamp(window.start // NS_PER_SECOND, zone_of(market)) + dt.timedelta(hours=12)
        if not self.reference.is_known(symbol, market, first_noon.date()):
            raise SourceError(
                f"no {kind.tape} for {symbol} on {window.label}: unknown symbol, the vendor's reference does not list it; "
                "check its spelling (AAPL, X:BTC-USD, C:EUR-USD, I:SPX, O:SPY251219C00650000, ESZ5)"
            )
        return f"no {kind.tape} for {symbol} on {window.label}: the symbol is known, but has no trading that day"


def _chunks(sessions: Sequence[Session]) -> Iterator[Window]:
    """Windows of at most 30 days over consecutive sessions."""
    chunk: list[Session] = []
    for session in sessions:
        if chunk and (session.date - chunk[0].date).days >= BARS_CHUNK_DAYS:
            yield window_of(chunk)
            chunk = []
        chunk.append(session)
    yield window_of(chunk)
