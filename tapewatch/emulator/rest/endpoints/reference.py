"""The endpoints of reference lists, corporate actions and market status."""

from collections.abc import Callable

import polars as pl
from starlette.requests import Request
from starlette.responses import Response

from tapewatch.emulator.rest import actions, reference, reference_data
from tapewatch.emulator.rest.endpoints.base import Endpoints
from tapewatch.emulator.rest.requests import next_url, resumed
from tapewatch.emulator.tape.market_tape import MarketTape
from tapewatch.emulator.vendor import replies
from tapewatch.emulator.vendor.gate import Gate
from tapewatch.market.instruments import Market


class ReferenceEndpoints(Endpoints):
    def __init__(self, tape: MarketTape, gate: Gate, corporate: pl.DataFrame) -> None:
        super().__init__(tape, gate)
        self._corporate = corporate

    def tickers(self, request: Request) -> Response:
        self._gate.admit(request)
        rows, cursor = reference.tickers(self._tape, resumed(request.query_params))
        more = {"next_url": next_url(request, request.url.path, cursor)} if cursor else {}
        return replies.reply_results(rows, count=len(rows), **more)

    def splits(self, request: Request) -> Response:
        return self._pages(request, actions.splits)

    def dividends(self, request: Request) -> Response:
        return self._pages(request, actions.dividends)

    def option(self, request: Request) -> Response:
        self._gate.admit(request)
        ticker = request.path_params["ticker"]
        known = self._tape.describe(ticker)
        if known is None or known.market is not Market.OPTIONS:
            raise replies.not_found(f"Contract {ticker} not found.")
        return replies.reply_results(reference.option(known))

    def exchanges(self, request: Request) -> Response:
        return self._table(request, reference_data.exchanges())

    def conditions(self, request: Request) -> Response:
        return self._table(request, reference_data.conditions())

    def status(self, request: Request) -> Response:
        self._gate.admit(request)
        return replies.reply(reference.status(self._gate.now))

    def upcoming(self, request: Request) -> Response:
        self._gate.admit(request)
        return replies.reply(reference.upcoming(self._gate.now))

    def _pages(self, request: Request, page: Callable[..., tuple[list[reference.Row], str | None]]) -> Response:
        self._gate.admit(request)
        rows, cursor = page(self._corporate, resumed(request.query_params))
        more = {"next_url": next_url(request, request.url.path, cursor)} if cursor else {}
        return replies.reply_results(rows, **more)

    def _table(self, request: Request, rows: list[reference.Row]) -> Response:
        self._gate.admit(request)
        rows = reference.filtered(rows, request.query_params)
        return replies.reply_results(rows, count=len(rows))
