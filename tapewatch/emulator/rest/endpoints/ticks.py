"""The endpoints /v3/trades and /v3/quotes."""

import datetime as dt
from collections.abc import Callable

import polars as pl
from starlette.requests import Request
from starlette.responses import Response

from tapewatch.emulator.rest import encode
from tapewatch.emulator.rest.endpoints.base import Endpoints
from tapewatch.emulator.rest.requests import symbol_of
from tapewatch.feeds.plans.table import TapeTable
from tapewatch.market.instruments import Market
from tapewatch.market.tables.tape import QUOTES, TRADES


class TickEndpoints(Endpoints):
    """Trades and quotes of every market but futures."""

    def trades(self, request: Request) -> Response:
        return self._page(request, TapeTable.TRADES, self._tape.trades, TRADES.empty(), encode.trades)

    def quotes(self, request: Request) -> Response:
        return self._page(request, TapeTable.QUOTES, self._tape.quotes, QUOTES.empty(), encode.quotes)

    def _page(
        self,
        request: Request,
        table: TapeTable,
        rows_of: Callable[[str, dt.date], pl.DataFrame],
        nothing: pl.DataFrame,
        encoder: Callable[[pl.DataFrame, Market], str],
    ) -> Response:
        symbol = symbol_of(request.path_params["ticker"])
        market = self._tape.market(symbol)
        return self._reply_page(
            request, market, table, lambda day: rows_of(symbol, day), nothing, lambda rows: encoder(rows, market),
            query=request.query_params, is_served=market is not Market.FUTURES and self._tape.may_have(symbol),
        )  # fmt: skip
