"""The server's addresses: a Starlette application over one tape."""

from collections.abc import Mapping

import polars as pl
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tapewatch.emulator.rest.endpoints.bars import BarEndpoints
from tapewatch.emulator.rest.endpoints.emulator import EmulatorEndpoints
from tapewatch.emulator.rest.endpoints.futures import FuturesEndpoints
from tapewatch.emulator.rest.endpoints.reference import ReferenceEndpoints
from tapewatch.emulator.rest.endpoints.snapshots import SnapshotEndpoints
from tapewatch.emulator.rest.endpoints.ticks import TickEndpoints
from tapewatch.emulator.rest.faults import FaultyRest
from tapewatch.emulator.stream.streams import Streams
from tapewatch.emulator.tape.market_tape import MarketTape
from tapewatch.emulator.vendor.gate import Gate
from tapewatch.emulator.vendor.replies import Refusal


def build(
    tape: MarketTape, gate: Gate, streams: Streams, info: Mapping[str, object], corporate: pl.DataFrame
) -> Starlette:
    """The application of REST and of the streams' status. `info` answers `/emulator/v1/info`, `corporate` splits and dividends.

    Endpoints run in worker threads, so that generating or encoding a day blocks no other reply.
    """
    ticks, bars, futures = TickEndpoints(tape, gate), BarEndpoints(tape, gate), FuturesEndpoints(tape, gate)
    reference, emulator = ReferenceEndpoints(tape, gate, corporate), EmulatorEndpoints(tape, gate, info)
    present, snapshot = SnapshotEndpoints(tape, gate), "/v2/snapshot/locale/{locale}/markets/{market}"
    routes = [
        Route("/v3/trades/{ticker}", ticks.trades),
        Route("/v3/quotes/{ticker}", ticks.quotes),
        Route("/v2/aggs/ticker/{ticker}/range/{multiplier}/{timespan}/{start}/{end}", bars.range),
        Route("/v2/aggs/ticker/{ticker}/prev", bars.previous),
        Route("/v2/aggs/grouped/locale/{locale}/market/{market}/{date}", bars.grouped),
        Route("/futures/vX/contracts/{ticker}", futures.contract),
        Route("/futures/v1/contracts", futures.contracts),
        Route("/v2/last/trade/{ticker}", present.last_trade),
        Route("/v2/last/nbbo/{ticker}", present.last_quote),
        Route("/v1/last/crypto/{base}/{quote}", present.last_crypto_trade),
        Route("/v1/last_quote/currencies/{base}/{quote}", present.last_forex_quote),
        Route(f"{snapshot}/tickers", present.all_tickers),
        Route(f"{snapshot}/tickers/{{ticker}}", present.one_ticker),
        Route(f"{snapshot}/gainers", present.movers),
        Route(f"{snapshot}/losers", present.movers),
        Route("/v3/snapshot", present.universal),
        Route("/v3/snapshot/indices", present.universal),
        Route("/v1/open-close/{ticker}/{date}", present.open_close),
        Route("/v3/reference/tickers", reference.tickers),
        Route("/v3/reference/tickers/{ticker}", present.ticker),
        Route("/v3/reference/options/contracts/{ticker}", reference.option),
        Route("/v3/reference/splits", reference.splits),
        Route("/v3/reference/dividends", reference.dividends),
        Route("/v3/reference/exchanges", reference.exchanges),
        Route("/v3/reference/conditions", reference.conditions),
        Route("/v1/marketstatus/now", reference.status),
        Route("/v1/marketstatus/upcoming", reference.upcoming),
        Route("/emulator/v1/info", emulator.info),
        Route("/emulator/v1/truth", emulator.truth),
        Route("/emulator/v1/stream", streams.progress),
        Route("/emulator/v1/faults", streams.switch, methods=["POST"]),
    ]
    for version in ("vX", "v1"):
        routes.append(Route(f"/futures/{version}/trades/{{ticker}}", futures.trades))
        routes.append(Route(f"/futures/{version}/quotes/{{ticker}}", futures.quotes))
        routes.append(Route(f"/futures/{version}/aggs/{{ticker}}", futures.bars))
    middleware = [Middleware(FaultyRest, faults=streams.faults)]
    handlers = {Refusal: _refused, HTTPException: _not_served}
    return Starlette(routes=routes, middleware=middleware, exception_handlers=handlers)


def _refused(_: Request, error: Exception) -> Response:
    if not isinstance(error, Refusal):
        raise error
    return error.response()


def _not_served(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return Refusal(error.status_code, {"status": "NOT_FOUND", "message": f"{request.url.path}: not found."}).response()
