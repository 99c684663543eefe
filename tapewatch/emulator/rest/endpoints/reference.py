"""The endpoints of reference lists and market status."""

from starlette.requests import Request
from starlette.responses import Response

from tapewatch.emulator.rest import reference, reference_data
from tapewatch.emulator.rest.endpoints.base import Endpoints
from tapewatch.emulator.rest.requests import next_url, resumed
from tapewatch.emulator.vendor import replies
from tapewatch.market.instruments import Market


class ReferenceEndpoints(Endpoints):
    def tickers(self, request: Request) -> Response:
        self._gate.admit(request)
        rows, cursor = reference.tickers(self._tape, resumed(request.query_params))
        more = {"next_url": next_url(request, request.url.path, cursor)} if cursor else {}
        return replies.reply_results(rows, count=len(rows), **more)

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

    def _table(self, request: Request, rows: list[reference.Row]) -> Response:
        self._gate.admit(request)
        rows = reference.filtered(rows, request.query_params)
        return replies.reply_results(rows, count=len(rows))
