"""The endpoints of the present: last trades and quotes, snapshots, and a day's open and close."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from tapewatch.emulator.rest import reference, snapshots
from tapewatch.emulator.rest.endpoints.base import Endpoints
from tapewatch.emulator.rest.latest import Bars, Latest
from tapewatch.emulator.rest.paging import limit_of
from tapewatch.emulator.rest.requests import cursor_of, next_url, resumed, symbol_of
from tapewatch.emulator.rest.snapshots import Seen
from tapewatch.emulator.tape.market_tape import MarketTape
from tapewatch.emulator.vendor import replies, times
from tapewatch.emulator.vendor.gate import Gate
from tapewatch.feeds.plans.table import TapeTable
from tapewatch.market.instruments import Market
from tapewatch.market.tickers import to_rest

_MARKETS = {("us", "stocks"): Market.STOCKS, ("global", "crypto"): Market.CRYPTO, ("global", "forex"): Market.FOREX}
_MOVERS = 20
_DEFAULT_LIMIT, _MAX_LIMIT = 10, 250


class SnapshotEndpoints(Endpoints):
    def __init__(self, tape: MarketTape, gate: Gate) -> None:
        super().__init__(tape, gate)
        self._latest = Latest(tape)

    def last_trade(self, request: Request) -> Response:
        """`GET /v2/last/trade/{ticker}`."""
        ticker = request.path_params["ticker"]
        row = self._last(request, ticker, TapeTable.TRADES)
        return replies.reply_results(snapshots.trade(row, self._tape.market(symbol_of(ticker))) | {"T": ticker})

    def last_quote(self, request: Request) -> Response:
        """`GET /v2/last/nbbo/{ticker}`."""
        ticker = request.path_params["ticker"]
        return replies.reply_results(snapshots.quote(self._last(request, ticker, TapeTable.QUOTES)) | {"T": ticker})

    def last_crypto_trade(self, request: Request) -> Response:
        """`GET /v1/last/crypto/{base}/{quote}`."""
        pair = "{base}-{quote}".format(**request.path_params)
        row = self._last(request, f"X:{pair}", TapeTable.TRADES)
        return replies.reply({"last": snapshots.pair_trade(row), "symbol": pair, **_good()})

    def last_forex_quote(self, request: Request) -> Response:
        """`GET /v1/last_quote/currencies/{base}/{quote}`."""
        pair = "{base}-{quote}".format(**request.path_params)
        row = self._last(request, f"C:{pair}", TapeTable.QUOTES)
        return replies.reply({"last": snapshots.pair_quote(row), "symbol": pair.replace("-", "/"), **_good()})

    def all_tickers(self, request: Request) -> Response:
        """`GET /v2/snapshot/locale/{locale}/markets/{market}/tickers`, of all listed symbols or those of `tickers`."""
        market, key = self._admitted(request)
        asked = request.query_params.get("tickers", "")
        symbols = [symbol_of(name) for name in asked.split(",") if name] or self._tape.symbols(market)
        rows = [row for symbol in symbols if (row := self._snapshot(key, market, symbol))]
        return replies.reply({"tickers": rows, "count": len(rows), **_good()})

    def one_ticker(self, request: Request) -> Response:
        """`GET /v2/snapshot/locale/{locale}/markets/{market}/tickers/{ticker}`."""
        market, key = self._admitted(request)
        row = self._snapshot(key, market, symbol_of(request.path_params["ticker"]))
        if row is None:
            raise replies.not_found("NotFound")
        return replies.reply({"ticker": row, **_good()})

    def movers(self, request: Request) -> Response:
        """`GET /v2/snapshot/locale/{locale}/markets/{market}/gainers` and `losers`: at most 20."""
        market, key = self._admitted(request)
        sign = 1 if request.url.path.endswith("/gainers") else -1
        rows = [row for symbol in self._tape.symbols(market) if (row := self._snapshot(key, market, symbol))]
        rows = [row for row in rows if sign * row["todaysChangePerc"] > 0]
        rows.sort(key=lambda row: -sign * float(row["todaysChangePerc"]))
        return replies.reply({"tickers": rows[:_MOVERS], **_good()})

    def universal(self, request: Request) -> Response:
        """`GET /v3/snapshot` and `/v3/snapshot/indices`: symbols of any market, in pages."""
        key = self._gate.admit(request)
        query = resumed(request.query_params)
        if request.url.path.endswith("/indices"):
            query["type"] = "indices"
        names = snapshots.asked(self._tape, query)
        start, limit = int(query.get("_start", "0")), limit_of(query, _DEFAULT_LIMIT, _MAX_LIMIT)
        rows = [self._universal(key, name) for name in names[start : start + limit]]
        more = {}
        if start + limit < len(names):
            kept = {name: value for name, value in query.items() if name != "apiKey"} | {"_start": str(start + limit)}
            more = {"next_url": next_url(request, request.url.path, cursor_of(kept))}
        return replies.reply_results(rows, **more)

    def open_close(self, request: Request) -> Response:
        """`GET /v1/open-close/{ticker}/{date}`: a finished day."""
        key = self._gate.admit(request)
        ticker, date = request.path_params["ticker"], times.date_in(request.path_params["date"])
        symbol = symbol_of(ticker)
        market = self._tape.market(symbol)
        low, high = times.window_edges(str(date), str(date), market)
        _, newest = self._gate.window(key, market, TapeTable.BARS, low, high)
        row = snapshots.open_close(self._tape, symbol, date) if newest >= high else None
        if row is None:
            raise replies.not_found("Data not found.")
        return replies.reply(row | {"symbol": ticker, "from": str(date), "status": "OK"})

    def ticker(self, request: Request) -> Response:
        """`GET /v3/reference/tickers/{ticker}`."""
        self._gate.admit(request)
        ticker = request.path_params["ticker"]
        row = reference.details(self._tape, symbol_of(ticker))
        if row is None:
            raise replies.not_found("Ticker not found.")
        return replies.reply_results(row)

    def _admitted(self, request: Request) -> tuple[Market, str]:
        key = self._gate.admit(request)
        market = _MARKETS.get((request.path_params["locale"], request.path_params["market"]))
        if market is None:
            raise replies.not_found()
        return market, key

    def _last(self, request: Request, ticker: str, table: TapeTable) -> dict[str, Any]:
        key, symbol = self._gate.admit(request), symbol_of(ticker)
        market = self._tape.market(symbol)
        _, newest = self._gate.window(key, market, table, None, None)
        found = self._latest.trade if table is TapeTable.TRADES else self._latest.quote
        row = found(symbol, newest) if self._tape.may_have(symbol) else None
        if row is None:
            raise replies.not_found("Ticker not found.")
        return row

    def _seen(self, key: str, symbol: str) -> Seen | None:
        """What the key's plan shows of a symbol; None if it has no bar of the last two days.

        Raises:
            Refusal: 403 if the plan has no bars.
        """
        market = self._tape.market(symbol)
        _, newest = self._gate.window(key, market, TapeTable.BARS, None, None)
        bars = self._latest.bars(symbol, newest) if self._tape.may_have(symbol) else Bars(None, None, None)
        if bars.day is None and bars.day_before is None:
            return None
        trade = self._latest.trade(symbol, newest) if self._shows(key, market, TapeTable.TRADES) else None
        quote = self._latest.quote(symbol, newest) if self._shows(key, market, TapeTable.QUOTES) else None
        value = self._latest.value(symbol, newest) if market is Market.INDICES else None
        return Seen(symbol, market, bars, trade, quote, value, newest)

    def _shows(self, key: str, market: Market, table: TapeTable) -> bool:
        """A snapshot leaves out what the plan lacks."""
        if market is Market.INDICES or (market is Market.FOREX and table is TapeTable.TRADES):
            return False
        try:
            self._gate.window(key, market, table, None, None)
        except replies.Refusal:
            return False
        return True

    def _snapshot(self, key: str, market: Market, symbol: str) -> dict[str, Any] | None:
        seen = self._seen(key, symbol) if self._tape.market(symbol) is market else None
        return snapshots.of_ticker(seen) if seen else None

    def _universal(self, key: str, symbol: str) -> dict[str, Any]:
        seen = self._seen(key, symbol)
        if seen is None:
            return {"ticker": to_rest(symbol), "error": "NOT_FOUND", "message": "Ticker not found."}
        return snapshots.universal(self._tape, seen, self._gate.now)


def _good() -> dict[str, str]:
    return {"status": "OK", "request_id": replies.request_id()}
