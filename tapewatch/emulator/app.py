"""The server's addresses, and the endpoints too small for a module of their own. A Starlette application over one tape."""

import datetime as dt

import polars as pl
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tapewatch.emulator.rest import reference
from tapewatch.emulator.rest.bar_endpoints import BarEndpoints
from tapewatch.emulator.rest.faults import FaultyRest
from tapewatch.emulator.rest.futures_endpoints import FuturesEndpoints
from tapewatch.emulator.rest.tick_endpoints import TickEndpoints
from tapewatch.emulator.stream.streams import Streams
from tapewatch.emulator.tape.market_tape import MarketTape
from tapewatch.emulator.vendor import replies, times
from tapewatch.emulator.vendor.gate import Gate
from tapewatch.emulator.vendor.replies import Refusal
from tapewatch.emulator.vendor.requests import next_url, resumed, symbol_of
from tapewatch.market.instruments import Market

_LONG_AGO = dt.date(1990, 1, 2)


def build(tape: MarketTape, gate: Gate, streams: Streams | None = None) -> Starlette:
    """The application of REST and of what `streams` tell of themselves. Endpoints run in worker threads: making and encoding a day holds up no other answer."""
    ticks, bars, futures = TickEndpoints(tape, gate), BarEndpoints(tape, gate), FuturesEndpoints(tape, gate)
    lists, own = _Lists(tape, gate), _Own(tape, gate)
    routes = [
        Route("/v3/trades/{ticker}", ticks.trades),
        Route("/v3/quotes/{ticker}", ticks.quotes),
        Route("/v2/aggs/ticker/{ticker}/range/{multiplier}/{timespan}/{start}/{end}", bars.range),
        Route("/v2/aggs/ticker/{ticker}/prev", bars.previous),
        Route("/v2/aggs/grouped/locale/{locale}/market/{market}/{date}", bars.grouped),
        Route("/futures/vX/contracts/{ticker}", futures.contract),
        Route("/futures/v1/contracts", futures.contracts),
        Route("/v3/reference/tickers", lists.tickers),
        Route("/v3/reference/options/contracts/{ticker}", lists.option),
        Route("/v3/reference/exchanges", lists.exchanges),
        Route("/v3/reference/conditions", lists.conditions),
        Route("/v1/marketstatus/now", lists.status),
        Route("/v1/marketstatus/upcoming", lists.upcoming),
        Route("/emulator/v1/info", own.info),
        Route("/emulator/v1/truth", own.truth),
    ]
    for version in ("vX", "v1"):
        routes.append(Route(f"/futures/{version}/trades/{{ticker}}", futures.trades))
        routes.append(Route(f"/futures/{version}/quotes/{{ticker}}", futures.quotes))
        routes.append(Route(f"/futures/{version}/aggs/{{ticker}}", futures.bars))
    if streams is not None:
        routes.append(Route("/emulator/v1/stream", streams.progress))
        routes.append(Route("/emulator/v1/faults", streams.switch, methods=["POST"]))
    middleware = [] if streams is None else [Middleware(FaultyRest, faults=streams.faults)]
    handlers = {Refusal: _refused, HTTPException: _not_served}
    return Starlette(routes=routes, middleware=middleware, exception_handlers=handlers)


class _Lists:
    """Reference lists and market status."""

    def __init__(self, tape: MarketTape, gate: Gate) -> None:
        self._tape = tape
        self._gate = gate

    def tickers(self, request: Request) -> Response:
        self._gate.admit(request)
        rows, cursor = reference.tickers(self._tape, resumed(request.query_params))
        return _listing(rows, {"next_url": next_url(request, request.url.path, cursor)} if cursor else {})

    def option(self, request: Request) -> Response:
        self._gate.admit(request)
        ticker = request.path_params["ticker"]
        known = self._tape.describe(ticker)
        if known is None or known.market is not Market.OPTIONS:
            raise replies.not_found(f"Contract {ticker} not found.")
        row = reference.option(known)
        return replies.reply({"status": "OK", "request_id": replies.request_id(), "results": row})

    def exchanges(self, request: Request) -> Response:
        self._gate.admit(request)
        return _listing(reference.exchanges(request.query_params))

    def conditions(self, request: Request) -> Response:
        self._gate.admit(request)
        return _listing(reference.conditions(request.query_params))

    def status(self, request: Request) -> Response:
        self._gate.admit(request)
        return replies.reply(reference.status(self._gate.now))

    def upcoming(self, request: Request) -> Response:
        self._gate.admit(request)
        return replies.reply(reference.upcoming(self._gate.now))


class _Own:
    """What the vendor does not have: the emulator's name, and the truth about its tape. They ask for no key."""

    def __init__(self, tape: MarketTape, gate: Gate) -> None:
        self._tape = tape
        self._gate = gate

    def info(self, request: Request) -> Response:  # noqa: ARG002 - every endpoint takes the request
        return replies.reply({"emulator": True, "source": self._tape.name})

    def truth(self, request: Request) -> Response:
        ticker = request.query_params.get("ticker", "")
        date: dt.date = times.date_in(request.query_params.get("date", ""))
        if not ticker:
            raise replies.bad_request("ticker: missing")
        symbol = symbol_of(ticker)
        # Not even the emulator knows a day that has not begun.
        is_future = date > times.date_of(self._gate.now, self._tape.market(symbol))
        truth = self._tape.truth(symbol, _LONG_AGO if is_future else date)
        if truth is None:
            raise replies.not_found("Recorded files state no truth.")
        rows = truth.select(
            pl.lit(ticker).alias("ticker"),
            "event_id",
            pl.col("kind").cast(pl.String),
            pl.col("start_time").dt.epoch("ns").alias("start_ns"),
            pl.col("end_time").dt.epoch("ns").alias("end_ns"),
        )
        return replies.reply({"status": "OK", "results": rows.to_dicts()})


def _listing(rows: list[reference.Row], more: dict[str, str] | None = None) -> Response:
    body = {"results": rows, "status": "OK", "request_id": replies.request_id(), "count": len(rows)}
    return replies.reply(body | (more or {}))


def _refused(_: Request, error: Exception) -> Response:
    if not isinstance(error, Refusal):
        raise error
    return error.response()


def _not_served(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return Refusal(error.status_code, {"status": "NOT_FOUND", "message": f"{request.url.path}: not found."}).response()
