"""The endpoints of futures: trades, quotes, aggregates, and whether a contract exists.

The vendor serves futures at addresses, under names and in units of their own: /futures/v1, formerly /futures/vX.
"""

import datetime as dt
from collections.abc import Callable

import polars as pl
from starlette.requests import Request
from starlette.responses import Response

from tapewatch.emulator.rest import encode
from tapewatch.emulator.rest.aggregates import Aggregates
from tapewatch.emulator.rest.endpoints.base import Endpoints
from tapewatch.emulator.tape.market_tape import MarketTape
from tapewatch.emulator.vendor import replies
from tapewatch.emulator.vendor.gate import Gate
from tapewatch.feeds.plans.table import TapeTable
from tapewatch.market.instruments import Market
from tapewatch.market.tables.tape import DELIVERED_BARS, QUOTES, TRADES

_BASES = {"1sec": "second", "1min": "minute", "1session": "day"}
_DATE = "session_end_date"


class FuturesEndpoints(Endpoints):
    def __init__(self, tape: MarketTape, gate: Gate) -> None:
        super().__init__(tape, gate)
        self._aggregates = Aggregates(tape)

    def trades(self, request: Request) -> Response:
        return self._page(request, TapeTable.TRADES, self._tape.trades, TRADES.empty(), encode.futures_trades)

    def quotes(self, request: Request) -> Response:
        return self._page(request, TapeTable.QUOTES, self._tape.quotes, QUOTES.empty(), encode.futures_quotes)

    def bars(self, request: Request) -> Response:
        """`GET /futures/v1/aggs/{ticker}` at the resolutions `1sec`, `1min` and `1session`."""
        resolution = request.query_params.get("resolution") or "1session"
        if resolution not in _BASES:
            raise replies.bad_request(f"resolution: {resolution!r} is none of {', '.join(_BASES)}")

        def of_day(symbol: str, day: dt.date) -> pl.DataFrame:
            return self._aggregates.base(symbol, day, _BASES[resolution])

        kept = f"&resolution={resolution}"
        return self._page(request, TapeTable.BARS, of_day, DELIVERED_BARS.empty(), encode.futures_bars, kept)

    def contract(self, request: Request) -> Response:
        self._gate.admit(request)
        ticker = request.path_params["ticker"]
        row = self._described(ticker)
        if row is None:
            raise replies.not_found(f"Contract {ticker} not found.")
        return replies.reply_results(row)

    def contracts(self, request: Request) -> Response:
        """`GET /futures/v1/contracts`: the contract that `ticker` names."""
        self._gate.admit(request)
        row = self._described(request.query_params.get("ticker", ""))
        return replies.reply_results([row] if row else [])

    def _described(self, ticker: str) -> dict[str, object] | None:
        known = self._tape.describe(ticker) if ticker and self._tape.market(ticker) is Market.FUTURES else None
        if known is None:
            return None
        return {"ticker": ticker, "name": known.name, "trading_venue": known.exchange, "active": True, "type": "single"}

    def _page(
        self,
        request: Request,
        table: TapeTable,
        rows_of: Callable[[str, dt.date], pl.DataFrame],
        nothing: pl.DataFrame,
        encoder: Callable[[pl.DataFrame, str], str],
        kept: str = "",
    ) -> Response:
        symbol, market = request.path_params["ticker"], Market.FUTURES

        def dated(day: dt.date) -> pl.DataFrame:
            return rows_of(symbol, day).with_columns(pl.lit(str(day)).alias(_DATE))

        return self._reply_page(
            request, market, table, dated, nothing.with_columns(pl.lit("").alias(_DATE)),
            lambda rows: encoder(rows, symbol), query=_as_v3(request), kept=kept,
            is_served=self._tape.market(symbol) is market and self._tape.may_have(symbol),
        )  # fmt: skip


def _as_v3(request: Request) -> dict[str, str]:
    """The parameters as `/v3` names them."""
    query = {name.replace("window_start", "timestamp"): value for name, value in request.query_params.items()}
    is_ascending = query.pop("sort", "").endswith(".asc")
    return query | {"order": "asc" if is_ascending else "desc"}
