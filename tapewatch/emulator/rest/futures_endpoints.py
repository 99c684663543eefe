"""The endpoints under /futures/v1 and, as they were before, /futures/vX over one tape: trades, quotes, aggregates, and whether a contract exists.

Futures have addresses, names and units of their own; rights, ranges and cursors are those of every market.
"""

import datetime as dt
from collections.abc import Callable, Iterator, Sequence

import polars as pl
from starlette.requests import Request
from starlette.responses import Response

from tapewatch.emulator.rest import encode, ticks
from tapewatch.emulator.rest.aggregates import Aggregates
from tapewatch.emulator.rest.tick_endpoints import clipped, days_of
from tapewatch.emulator.tape.market_tape import MarketTape
from tapewatch.emulator.vendor import replies
from tapewatch.emulator.vendor.gate import Gate
from tapewatch.emulator.vendor.requests import next_url
from tapewatch.feeds.plans.table import TapeTable
from tapewatch.market.instruments import Market
from tapewatch.market.tables import DELIVERED_BARS, QUOTES, TRADES

_BASES = {"1sec": "second", "1min": "minute", "1session": "day"}
_DATE = "session_end_date"

Encoder = Callable[[pl.DataFrame, str], str]


class FuturesEndpoints:
    """Futures."""

    def __init__(self, tape: MarketTape, gate: Gate) -> None:
        self._tape = tape
        self._gate = gate
        self._aggregates = Aggregates(tape)

    def trades(self, request: Request) -> Response:
        """`GET /futures/v1/trades/{ticker}`."""
        return self._page(request, TapeTable.TRADES, self._tape.trades, TRADES.empty(), encode.futures_trades)

    def quotes(self, request: Request) -> Response:
        """`GET /futures/v1/quotes/{ticker}`."""
        return self._page(request, TapeTable.QUOTES, self._tape.quotes, QUOTES.empty(), encode.futures_quotes)

    def bars(self, request: Request) -> Response:
        """`GET /futures/v1/aggs/{ticker}` at the resolutions `1sec`, `1min` and `1session`."""
        resolution = request.query_params.get("resolution") or "1session"
        if resolution not in _BASES:
            raise replies.bad_request(f"resolution: {resolution!r} is none of {', '.join(_BASES)}")

        def of_day(symbol: str, day: dt.date) -> pl.DataFrame:
            return self._aggregates.base(symbol, day, _BASES[resolution])

        return self._page(
            request, TapeTable.BARS, of_day, DELIVERED_BARS.empty(), encode.futures_bars, {"resolution": resolution}
        )

    def contract(self, request: Request) -> Response:
        """`GET /futures/vX/contracts/{ticker}`."""
        self._gate.admit(request)
        ticker = request.path_params["ticker"]
        row = self._described(ticker)
        if row is None:
            raise replies.not_found(f"Contract {ticker} not found.")
        return replies.reply({"status": "OK", "request_id": replies.request_id(), "results": row})

    def contracts(self, request: Request) -> Response:
        """`GET /futures/v1/contracts`, of the one `ticker` that is asked for."""
        self._gate.admit(request)
        row = self._described(request.query_params.get("ticker", ""))
        return replies.reply({"status": "OK", "request_id": replies.request_id(), "results": [row] if row else []})

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
        encoder: Encoder,
        kept: dict[str, str] | None = None,
    ) -> Response:
        key, market = self._gate.admit(request), Market.FUTURES
        symbol = request.path_params["ticker"]
        ask = ticks.ask_of(_as_elsewhere(request), market)
        ask = clipped(ask, self._tape, market, self._gate.window(key, market, table, ask.low, ask.high))
        is_known = self._tape.market(symbol) is market and self._tape.knows(symbol)
        days: Iterator[dt.date] = days_of(ask, market) if is_known else iter(())

        def dated(day: dt.date) -> pl.DataFrame:
            return rows_of(symbol, day).with_columns(pl.lit(str(day)).alias(_DATE))

        page, rest = ticks.page(ask, days, dated, nothing.with_columns(pl.lit("").alias(_DATE)))
        more = {}
        if rest is not None:
            more["next_url"] = next_url(request, request.url.path, rest.cursor) + _query(kept)
        return replies.reply_rows(encoder(page, symbol), status="OK", request_id=replies.request_id(), **more)


def _as_elsewhere(request: Request) -> dict[str, str]:
    """The parameters as `/v3` names them."""
    query = {name.replace("window_start", "timestamp"): value for name, value in request.query_params.items()}
    is_ascending = query.pop("sort", "").endswith(".asc")
    return query | {"order": "asc" if is_ascending else "desc"}


def _query(kept: dict[str, str] | None) -> str:
    names: Sequence[tuple[str, str]] = list((kept or {}).items())
    return "".join(f"&{name}={value}" for name, value in names)
