"""The endpoints /v3/trades and /v3/quotes over one tape."""

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import replace

import polars as pl
from starlette.requests import Request
from starlette.responses import Response

from tapewatch.emulator.rest import encode, ticks
from tapewatch.emulator.tape.market_tape import MarketTape
from tapewatch.emulator.vendor import replies, times
from tapewatch.emulator.vendor.gate import Gate
from tapewatch.emulator.vendor.requests import next_url, symbol_of
from tapewatch.feeds.plans.table import TapeTable
from tapewatch.market.instruments import Market, session_of
from tapewatch.market.tables import QUOTES, TRADES


class TickEndpoints:
    """Trades and quotes."""

    def __init__(self, tape: MarketTape, gate: Gate) -> None:
        self._tape = tape
        self._gate = gate

    def trades(self, request: Request) -> Response:
        """`GET /v3/trades/{ticker}`."""
        return self._page(request, TapeTable.TRADES, self._tape.trades, TRADES.empty(), encode.trades)

    def quotes(self, request: Request) -> Response:
        """`GET /v3/quotes/{ticker}`."""
        return self._page(request, TapeTable.QUOTES, self._tape.quotes, QUOTES.empty(), encode.quotes)

    def _page(
        self,
        request: Request,
        table: TapeTable,
        rows_of: Callable[[str, dt.date], pl.DataFrame],
        nothing: pl.DataFrame,
        encoder: Callable[[pl.DataFrame, Market], str],
    ) -> Response:
        key = self._gate.admit(request)
        symbol = symbol_of(request.path_params["ticker"])
        market = self._tape.market(symbol)
        ask = ticks.ask_of(request.query_params, market)
        ask = clipped(ask, self._tape, market, self._gate.window(key, market, table, ask.low, ask.high))
        is_here = market is not Market.FUTURES and self._tape.knows(symbol)
        days = days_of(ask, market) if is_here else iter(())
        page, rest = ticks.page(ask, days, lambda day: rows_of(symbol, day), nothing)
        more = {"next_url": next_url(request, request.url.path, rest.cursor)} if rest else {}
        return replies.reply_rows(encoder(page, market), status="OK", request_id=replies.request_id(), **more)


def clipped(ask: ticks.Ask, tape: MarketTape, market: Market, shown: tuple[int | None, int]) -> ticks.Ask:
    """The ask within what the plan shows and the tape holds."""
    first, last = tape.first_day(market), tape.last_day(market)
    low, high = shown[1] if first == dt.date.max else max(shown[0] or 0, times.day_start(first, market)), shown[1]
    if last is not None:
        high = min(high, times.day_start(last + dt.timedelta(days=1), market))
    return replace(ask, low=low, high=high)


def days_of(ask: ticks.Ask, market: Market) -> Iterator[dt.date]:
    """The trading days of a clipped ask, from where it left off."""
    low, high = ask.low or 0, ask.high or 0
    if high <= low:
        return
    for day in times.days(low, high, market, is_descending=ask.is_descending, since=ask.since):
        if session_of(market, day) is not None:
            yield day
