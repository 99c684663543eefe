"""What all groups of endpoints share: the tape, the gate, and replies with pages of rows."""

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import replace

import polars as pl
from starlette.requests import Request
from starlette.responses import Response

from tapewatch.emulator.rest.paging import PageRequest, RowsOfDay, page, page_request
from tapewatch.emulator.rest.requests import next_url
from tapewatch.emulator.tape.market_tape import MarketTape
from tapewatch.emulator.vendor import replies, times
from tapewatch.emulator.vendor.gate import Gate
from tapewatch.feeds.plans.table import TapeTable
from tapewatch.market.instruments import Market


class Endpoints:
    """A group of endpoints over one tape."""

    def __init__(self, tape: MarketTape, gate: Gate) -> None:
        self._tape = tape
        self._gate = gate

    def _reply_page(
        self,
        request: Request,
        market: Market,
        table: TapeTable,
        rows_of: RowsOfDay,
        nothing: pl.DataFrame,
        encoder: Callable[[pl.DataFrame], str],
        *,
        query: Mapping[str, str],
        is_served: bool,
        kept: str = "",
    ) -> Response:
        """One page of a symbol's rows, as far as the tape holds them and the key's plan includes them.

        Args:
            table: the kind of data that the plan must include.
            rows_of: the symbol's rows of a day, ascending by `time`.
            encoder: a page's rows as JSON.
            query: the parameters as `/v3` names them.
            is_served: False if the symbol has no rows on any day at this address.
            kept: what the next page's address has after its cursor.
        """
        key = self._gate.admit(request)
        asked = page_request(query, market)
        asked = self._clipped(asked, market, self._gate.window(key, market, table, asked.low, asked.high))
        rows, rest = page(asked, asked.days(market) if is_served else iter(()), rows_of, nothing)
        more = {"next_url": next_url(request, request.url.path, rest.cursor) + kept} if rest else {}
        return replies.reply_rows(encoder(rows), status="OK", request_id=replies.request_id(), **more)

    def _clipped(self, asked: PageRequest, market: Market, shown: tuple[int | None, int]) -> PageRequest:
        first, last = self._tape.first_day(market), self._tape.last_day(market)
        low, high = shown[0] or 0, shown[1]
        low = high if first == dt.date.max else max(low, times.day_start(first, market))
        if last is not None:
            high = min(high, times.day_start(last + dt.timedelta(days=1), market))
        return replace(asked, low=low, high=high)
