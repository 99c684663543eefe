"""Routes beside the pages: the chart's modules and candles, live events, exports. `ROUTES` is for `st.App`."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from dashboard import places
from dashboard.components import fetch
from dashboard.identity import permitted
from dashboard.live.events import Events
from dashboard.reading.export import FORMATS, exported
from dashboard.reading.happenings import marks
from dashboard.reading.replay import replay
from tapewatch.market.instruments import NS_PER_SECOND, Market
from tapewatch.market.tickers import normalise
from tapewatch.store.lake.lake import LakeError
from tapewatch.streaming.detection.rules.wording import time_from_ns

_OWN = Path(fetch.__file__).parent / "candles"
_MODULES = frozenset(path.name for path in _OWN.glob("*.mjs"))
_ARROW = "application/vnd.apache.arrow.stream"
_MOST_CANDLES = 4_000
#: The newest time that a request may name, in seconds: the year 2200.
_MOST_S = 7_258_118_400.0
_FOR_EVER = "private, max-age=31536000, immutable"


async def asset(request: Request) -> Response:
    """A module of the chart, or a fetched library, by its name."""
    _allow(request, "dashboard")
    name = request.path_params["name"]
    if name in _MODULES:
        return FileResponse(_OWN / name, media_type="text/javascript", headers={"Cache-Control": "no-cache"})
    if name in {library.file for library in fetch.SERVED}:
        path = fetch.FOLDER / name
        if not path.exists():
            raise HTTPException(503, f"{name} is missing: run `python -m dashboard.components.fetch`")
        return FileResponse(path, media_type="text/javascript", headers={"Cache-Control": _FOR_EVER})
    raise HTTPException(404, "no such file")


async def candles(request: Request) -> Response:
    """Candles of a stretch as an Arrow stream; its schema's metadata hold width and extent."""
    _allow(request, "dashboard")
    body = await _read(_candles, *_stretch(request), _number(request, "most", 10, _MOST_CANDLES))
    # Packing noise costs more time than it saves on the way.
    return Response(body, media_type=_ARROW, headers={"Cache-Control": "no-store", "Content-Encoding": "identity"})


async def replayed(request: Request) -> Response:
    """The seconds of a stretch as an Arrow stream (`replay.Replay`); its schema's metadata hold the source."""
    _allow(request, "dashboard")
    return Response(await _read(_replay, *_stretch(request)), media_type=_ARROW, headers={"Cache-Control": "no-store"})


async def happenings(request: Request) -> Response:
    """What happened in a stretch, as JSON: a list of what `happenings.marks` has columns for, times in seconds."""
    _allow(request, "dashboard")
    return JSONResponse(await _read(_marks, *_stretch(request)), headers={"Cache-Control": "no-store"})


async def export(request: Request) -> Response:
    """What a chart shows, as CSV or Parquet."""
    _allow(request, "export")
    form = request.path_params["form"]
    if form not in FORMATS:
        raise HTTPException(404, f"write one of {', '.join(FORMATS)}")
    market, symbol, start, end = _stretch(request)
    most = _number(request, "most", 10, _MOST_CANDLES)
    view = await _read(places.histories().view, market, symbol, start, end, int(most))
    inside = pl.col("time").is_between(start / NS_PER_SECOND - view.minutes * 60, end / NS_PER_SECOND, closed="none")
    shown = view.candles.filter(inside)
    rows = shown.select(
        symbol=pl.lit(symbol), time=_times(shown), **{n: pl.col(n) for n in shown.columns if n != "time"}
    )
    name = f"{symbol}_{time_from_ns(start):%Y%m%dT%H%M%SZ}".replace(":", "-").replace("/", "-")
    headers = {"Content-Disposition": f'attachment; filename="{name}.{form}"', "Cache-Control": "no-store"}
    return Response(exported(rows, form), media_type=FORMATS[form], headers=headers)


async def events(request: Request) -> Response:
    """New live bars and alerts as server-sent events, from where the reader was (`Last-Event-ID`)."""
    _allow(request, "dashboard")
    source = Events(places.database(), request.headers.get("last-event-id"))
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(source.stream(request.is_disconnected), media_type="text/event-stream", headers=headers)


ROUTES = [
    Route("/tape/assets/{name}", asset),
    Route("/tape/candles", candles),
    Route("/tape/replay", replayed),
    Route("/tape/marks", happenings),
    Route("/tape/export/candles.{form}", export),
    Route("/tape/events", events),
]


def _allow(request: Request, permission: str) -> None:
    if not permitted(request, permission):
        raise HTTPException(403, f"your role lacks the permission `{permission}`")


async def _read(reads: Callable[..., Any], *arguments: Any) -> Any:
    """What a function reads, in a thread; 503 where the lake cannot be read."""
    try:
        return await run_in_threadpool(reads, *arguments)
    except LakeError as error:
        raise HTTPException(503, str(error)) from error


def _candles(market: Market, symbol: str, start: int, end: int, most: float) -> bytes:
    view = places.histories().view(market, symbol, start, end, int(most))
    metadata = {
        "minutes": str(view.minutes),
        "first": str(view.first // NS_PER_SECOND),
        "last": str(view.last // NS_PER_SECOND),
    }
    return _arrow(view.candles, metadata)


def _replay(market: Market, symbol: str, start: int, end: int) -> bytes:
    bounds = time_from_ns(start), time_from_ns(end)
    found = replay(places.lake(), places.histories(), market, symbol, *bounds)
    return _arrow(found.seconds, {"source": found.source})


def _arrow(rows: pl.DataFrame, metadata: dict[str, str]) -> bytes:
    # One batch without nulls: the browser takes the columns as they lie in the reply.
    table = rows.fill_null(math.nan).rechunk().to_arrow().replace_schema_metadata(metadata)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue().to_pybytes()


def _marks(market: Market, symbol: str, start: int, end: int) -> list[dict[str, Any]]:
    found = marks(places.lake(), places.database(), market, symbol, time_from_ns(start), time_from_ns(end))
    return [_mark(row) for row in found.iter_rows(named=True)]


def _mark(row: dict[str, Any]) -> dict[str, Any]:
    times = {name: None if row[name] is None else row[name].timestamp() for name in ("start_time", "end_time")}
    return {**row, **times}


def _times(rows: pl.DataFrame) -> pl.Series:
    return (rows["time"] * NS_PER_SECOND).cast(pl.Int64).cast(pl.Datetime("ns", "UTC"))


def _stretch(request: Request) -> tuple[Market, str, int, int]:
    """Market, symbol, start and end (ns) that a request asks for."""
    asked = request.query_params
    try:
        market = Market(asked.get("market", ""))
        symbol = normalise(asked.get("symbol", ""), market)
    except ValueError as error:
        raise HTTPException(400, str(error)) from error
    start, end = (int(_number(request, name, 0, _MOST_S) * NS_PER_SECOND) for name in ("from", "to"))
    if end <= start:
        raise HTTPException(400, "`to` comes after `from`")
    return market, symbol, start, end


def _number(request: Request, name: str, least: float, most: float) -> float:
    text = request.query_params.get(name, "")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        raise HTTPException(400, f"`{name}` is a number from {least:g} to {most:g}, not {text[:40]!r}")
    return value
