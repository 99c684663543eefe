"""The endpoints under /v2/aggs over one tape."""

import polars as pl
from starlette.requests import Request
from starlette.responses import Response

from tapewatch.emulator.rest import encode
from tapewatch.emulator.rest.aggregates import DEFAULT_LIMIT, Aggregates, Range
from tapewatch.emulator.rest.ticks import limit_of
from tapewatch.emulator.tape.market_tape import MarketTape
from tapewatch.emulator.tape.windows import BASES
from tapewatch.emulator.vendor import replies, times
from tapewatch.emulator.vendor.gate import Gate
from tapewatch.emulator.vendor.requests import cursor_of, next_url, resumed, symbol_of
from tapewatch.feeds.plans.table import TapeTable
from tapewatch.market.instruments import Market, session_of, to_rest
from tapewatch.market.tables import TIME

_NS_PER_MS = 1_000_000
_MARKETS = {
    ("us", "stocks"): Market.STOCKS,
    ("us", "indices"): Market.INDICES,
    ("global", "crypto"): Market.CRYPTO,
    ("global", "fx"): Market.FOREX,
}


class BarEndpoints:
    """Aggregates. The synthetic market has no splits, and recorded prices stay as they are: `adjusted` changes nothing."""

    def __init__(self, tape: MarketTape, gate: Gate) -> None:
        self._tape = tape
        self._gate = gate
        self._aggregates = Aggregates(tape)

    def range(self, request: Request) -> Response:
        """`GET /v2/aggs/ticker/{ticker}/range/{multiplier}/{timespan}/{start}/{end}`."""
        key = self._gate.admit(request)
        path, query = request.path_params, resumed(request.query_params)
        symbol = symbol_of(path["ticker"])
        market = self._tape.market(symbol)
        ask = _range(path, query, symbol, market)
        low, high = self._gate.window(key, market, TapeTable.BARS, ask.low, ask.high)
        ask = ask.within(max(ask.low, low or ask.low), high)
        if ask.high <= ask.low or not self._tape.knows(ask.symbol):
            return _answer(_envelope(query, 0, 0) | {"ticker": path["ticker"]}, "")
        page = self._aggregates.page(ask)
        envelope = {"ticker": path["ticker"]} | _envelope(query, page.base_bars, page.bars.height)
        if page.rest is not None:
            # Milliseconds in the address include the last one.
            first, last = page.rest[0] // _NS_PER_MS, (page.rest[1] - 1) // _NS_PER_MS
            address = f"/v2/aggs/ticker/{path['ticker']}/range/{ask.multiplier}/{ask.timespan}/{first}/{last}"
            kept = {name: query.get(name) for name in ("limit", "sort", "adjusted")} | {"anchor": ask.anchor}
            envelope["next_url"] = next_url(request, address, cursor_of(kept))
        return _answer(envelope, encode.bars(page.bars))

    def previous(self, request: Request) -> Response:
        """`GET /v2/aggs/ticker/{ticker}/prev`."""
        key = self._gate.admit(request)
        ticker = request.path_params["ticker"]
        symbol = symbol_of(ticker)
        market = self._tape.market(symbol)
        self._gate.window(key, market, TapeTable.BARS, None, None)
        bars = self._aggregates.previous(symbol, self._gate.now)
        envelope = {"ticker": ticker} | _envelope(request.query_params, bars.height, bars.height)
        return _answer(envelope, encode.bars(_at_close(bars, market), ticker))

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
        # A day that is not over has no bar yet.
        bars = _at_close(bars if newest >= high else bars.clear(), market)
        names = pl.Series("ticker", [to_rest(str(symbol)) for symbol in bars["symbol"]], dtype=pl.String)
        return _answer(_envelope(request.query_params, bars.height, bars.height), encode.bars(bars.with_columns(names)))


def _range(path: dict[str, str], query: dict[str, str], symbol: str, market: Market) -> Range:
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
    return Range(symbol, int(multiplier), timespan, low, high, query.get("sort") == "desc", limit, anchor)


def _envelope(query: dict[str, str] | object, base_bars: int, bars: int) -> dict[str, object]:
    is_adjusted = not (isinstance(query, dict) and query.get("adjusted") == "false")
    return {"queryCount": base_bars, "resultsCount": bars, "adjusted": is_adjusted, "count": bars}


def _answer(envelope: dict[str, object], rows: str) -> Response:
    envelope |= {"status": "OK", "request_id": replies.request_id()}
    # Like the vendor's, an empty answer has no `results`.
    return replies.reply_rows(rows, **envelope) if rows else replies.reply(envelope)


def _at_close(bars: pl.DataFrame, market: Market) -> pl.DataFrame:
    """Daily bars of these two answers are stamped with the session's last moment."""
    moments = []
    for time in bars["time"]:
        session = session_of(market, times.date_of(int(time.timestamp()) * 1_000_000_000, market))
        end = session.regular_end if session else 0
        moments.append(end - _NS_PER_MS if market.is_continuous else end)
    return bars.with_columns(pl.Series("time", moments, dtype=pl.Int64).cast(TIME))
