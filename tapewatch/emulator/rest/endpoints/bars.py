"""The endpoints under /v2/aggs over one tape."""

from collections.abc import Mapping
from dataclasses import replace

import polars as pl
from starlette.requests import Request
from starlette.responses import Response

from tapewatch.emulator.rest import encode
from tapewatch.emulator.rest.aggregates import DEFAULT_LIMIT, Aggregates, BarRange
from tapewatch.emulator.rest.endpoints.base import Endpoints
from tapewatch.emulator.rest.paging import limit_of
from tapewatch.emulator.rest.requests import cursor_of, next_url, resumed, symbol_of
from tapewatch.emulator.tape.market_tape import MarketTape
from tapewatch.emulator.tape.windows import BASES
from tapewatch.emulator.vendor import replies, times
from tapewatch.emulator.vendor.gate import Gate
from tapewatch.feeds.plans.table import TapeTable
from tapewatch.market.instruments import Market, session_of
from tapewatch.market.tables.tape import TIME
from tapewatch.market.tickers import to_rest

_NS_PER_MS = 1_000_000
_MARKETS = {
    ("us", "stocks"): Market.STOCKS,
    ("us", "indices"): Market.INDICES,
    ("global", "crypto"): Market.CRYPTO,
    ("global", "fx"): Market.FOREX,
}


class BarEndpoints(Endpoints):
    """Aggregates. `adjusted` changes nothing: the synthetic market has no splits, and recorded prices are served unchanged."""

    def __init__(self, tape: MarketTape, gate: Gate) -> None:
        super().__init__(tape, gate)
        self._aggregates = Aggregates(tape)

    def range(self, request: Request) -> Response:
        key = self._gate.admit(request)
        path, query = request.path_params, resumed(request.query_params)
        symbol = symbol_of(path["ticker"])
        market = self._tape.market(symbol)
        asked = _range(path, query, symbol, market)
        low, high = self._gate.window(key, market, TapeTable.BARS, asked.low, asked.high)
        asked = replace(asked, low=max(asked.low, low or asked.low), high=high)
        if asked.high <= asked.low or not self._tape.may_have(asked.symbol):
            return _reply(_envelope(query, 0, 0) | {"ticker": path["ticker"]}, "")
        page = self._aggregates.page(asked)
        envelope = {"ticker": path["ticker"]} | _envelope(query, page.base_bars, page.bars.height)
        if page.rest is not None:
            # The end in the address is inclusive, in milliseconds.
            first, last = page.rest[0] // _NS_PER_MS, (page.rest[1] - 1) // _NS_PER_MS
            address = f"/v2/aggs/ticker/{path['ticker']}/range/{asked.multiplier}/{asked.timespan}/{first}/{last}"
            kept = {name: query.get(name) for name in ("limit", "sort", "adjusted")} | {"anchor": asked.anchor}
            envelope["next_url"] = next_url(request, address, cursor_of(kept))
        return _reply(envelope, encode.bars(page.bars))

    def previous(self, request: Request) -> Response:
        key = self._gate.admit(request)
        ticker = request.path_params["ticker"]
        symbol = symbol_of(ticker)
        market = self._tape.market(symbol)
        self._gate.window(key, market, TapeTable.BARS, None, None)
        bars = self._aggregates.previous(symbol, self._gate.now)
        envelope = {"ticker": ticker} | _envelope(request.query_params, bars.height, bars.height)
        return _reply(envelope, encode.bars(_at_close(bars, market), ticker))

    def grouped(self, request: Request) -> Response:
        """`GET /v2/aggs/grouped/locale/{locale}/market/{market}/{date}`: one bar of the day for every listed symbol."""
        key = self._gate.admit(request)
        path = request.path_params
        market = _MARKETS.get((path["locale"], path["market"]))
        if market is None:
            raise replies.not_found()
        low, high = times.window_edges(path["date"], path["date"], market)
        _, newest = self._gate.window(key, market, TapeTable.BARS, low, high)
        bars = self._aggregates.grouped(market, times.date_of(low, market))
        # An unfinished day has no bar.
        bars = _at_close(bars if newest >= high else bars.clear(), market)
        names = pl.Series("ticker", [to_rest(str(symbol)) for symbol in bars["symbol"]], dtype=pl.String)
        return _reply(_envelope(request.query_params, bars.height, bars.height), encode.bars(bars.with_columns(names)))


def _range(path: dict[str, str], query: dict[str, str], symbol: str, market: Market) -> BarRange:
    timespan, multiplier = path["timespan"], path["multiplier"]
    if timespan not in BASES:
        raise replies.bad_request(f"timespan: {timespan!r} is none of {', '.join(BASES)}")
    if not multiplier.isdecimal() or int(multiplier) == 0:
        raise replies.bad_request(f"multiplier: {multiplier!r} is not a positive number")
    low, high = times.window_edges(path["start"], path["end"], market)
    if high <= low:
        raise replies.bad_request("The parameter 'to' cannot be a time that occurs before 'from'")
    anchor = times.date_in(query["anchor"]) if "anchor" in query else times.date_of(low, market)
    limit = limit_of(query, DEFAULT_LIMIT)
    return BarRange(symbol, int(multiplier), timespan, low, high, query.get("sort") == "desc", limit, anchor)


def _envelope(query: Mapping[str, str], base_bars: int, bars: int) -> dict[str, object]:
    is_adjusted = query.get("adjusted") != "false"
    return {"queryCount": base_bars, "resultsCount": bars, "adjusted": is_adjusted, "count": bars}


def _reply(envelope: dict[str, object], rows: str) -> Response:
    envelope |= {"status": "OK", "request_id": replies.request_id()}
    # As with the vendor, an empty reply has no `results`.
    return replies.reply_rows(rows, **envelope) if rows else replies.reply(envelope)


def _at_close(bars: pl.DataFrame, market: Market) -> pl.DataFrame:
    """Daily bars stamped with the session's end, as the vendor stamps them at these two addresses."""
    ends = []
    for time in bars["time"]:
        session = session_of(market, times.date_of(int(time.timestamp()) * 1_000_000_000, market))
        end = session.regular_end if session else 0
        ends.append(end - _NS_PER_MS if market.is_continuous else end)
    return bars.with_columns(pl.Series("time", ends, dtype=pl.Int64).cast(TIME))
