"""What the vendor says about its markets: tickers, conditions, exchanges, and which markets are open."""

import datetime as dt
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Final, TypeVar
from urllib.parse import quote

import msgspec
import polars as pl

from tapewatch.feeds.errors import NotFoundError, PageError
from tapewatch.feeds.plans.table import MarketPlan
from tapewatch.feeds.rest.decode import PageDecoder, Row
from tapewatch.feeds.rest.messages import ConditionRow, ExchangeRow, HolidayRow, MarketStatus, TickerRow, TruthRow
from tapewatch.feeds.rest.pages import Pager, Request
from tapewatch.feeds.rest.transport import Ask, Transport
from tapewatch.market.conditions import STOCK_CONDITION_NAMES, STOCK_UPDATE_RULES, Updates, in_words
from tapewatch.market.instruments import Market, from_vendor, to_rest
from tapewatch.market.tables import SYMBOL, TIME

Answer = TypeVar("Answer")

# The reference endpoints call forex "fx".
_VENDOR_NAME: Final = {market: "fx" if market is Market.FOREX else market.value for market in Market}
_CONTRACTS: Final = {Market.OPTIONS: "/v3/reference/options/contracts", Market.FUTURES: "/futures/vX/contracts"}
_PAGE_LIMIT: Final = 1000
_UPDATE_FLAGS: Final = {
    "updates_open_close": Updates.OPEN_CLOSE,
    "updates_high_low": Updates.HIGH_LOW,
    "updates_volume": Updates.VOLUME,
}
_TICKERS = PageDecoder(TickerRow)
_CONDITIONS = PageDecoder(ConditionRow)
_EXCHANGES = PageDecoder(ExchangeRow)
_TRUTH = PageDecoder(TruthRow)

TICKERS: Final = pl.Schema(
    {
        "symbol": pl.String(),
        "name": pl.String(),
        "type": pl.String(),
        "is_active": pl.Boolean(),
        "primary_exchange": pl.String(),
        "currency": pl.String(),
        "delisted_time": pl.String(),
    }
)
CONDITIONS: Final = pl.Schema(
    {
        "code": pl.Int64(),
        "name": pl.String(),
        "type": pl.String(),
        "data_types": pl.String(),
        "updates_open_close": pl.Boolean(),
        "updates_high_low": pl.Boolean(),
        "updates_volume": pl.Boolean(),
    }
)
EXCHANGES: Final = pl.Schema(
    {
        "exchange": pl.Int64(),
        "name": pl.String(),
        "type": pl.String(),
        "mic": pl.String(),
        "participant_id": pl.String(),
    }
)
TRUTH: Final = pl.Schema(
    {"symbol": SYMBOL, "event_id": pl.String(), "kind": SYMBOL, "start_time": TIME, "end_time": TIME}
)
STATUS: Final = pl.Schema({"market": pl.String(), "status": pl.String()})
HOLIDAYS: Final = pl.Schema(
    {
        "date": pl.String(),
        "exchange": pl.String(),
        "name": pl.String(),
        "status": pl.String(),
        "open": pl.String(),
        "close": pl.String(),
    }
)


class Reference:
    """Reference data over one transport. Every method raises `RestError` where the server does not deliver."""

    def __init__(self, transport: Transport, plans: Mapping[Market, MarketPlan]) -> None:
        self._transport = transport
        self._plans = plans

    def tickers(self, market: Market, *, date: dt.date | None = None, is_active: bool = True) -> pl.DataFrame:
        """Tickers of a market (`TICKERS`), in the platform's spelling and order; those that it cannot spell are left out."""
        request = Request(
            f"tickers of {market}",
            "/v3/reference/tickers",
            lambda client: client.list_tickers(
                market=_VENDOR_NAME[market],
                active=is_active,
                date=date and str(date),
                sort="ticker",
                order="asc",
                limit=_PAGE_LIMIT,
                raw=True,
            ),
            _PAGE_LIMIT,
        )
        rows = []
        for row in self._rows(market, request, _TICKERS):
            try:
                rows.append(_ticker(row, market))
            except ValueError:  # a pair in a currency the platform does not know
                continue
        return pl.DataFrame(rows, TICKERS, orient="row").sort("symbol")

    def is_known(self, symbol: str, market: Market, date: dt.date) -> bool:
        """Whether the vendor lists the symbol, now or formerly; of a contract, whether it did on that day."""
        if market in _CONTRACTS:
            return self._is_contract(symbol, market, date)
        return any(self._is_listed(symbol, market, is_active) for is_active in (True, False))

    def _is_listed(self, symbol: str, market: Market, is_active: bool) -> bool:
        ticker = to_rest(symbol)
        request = Request(
            f"ticker {symbol}",
            "/v3/reference/tickers",
            lambda client: client.list_tickers(
                ticker=ticker, market=_VENDOR_NAME[market], active=is_active, limit=1, raw=True
            ),
            1,
        )
        return any(row.ticker == ticker for row in self._rows(market, request, _TICKERS))

    def _is_contract(self, symbol: str, market: Market, date: dt.date) -> bool:
        # Contracts are no tickers to the vendor: they have lists of their own, and once they have expired are known as of their
        # days alone.
        if market is Market.FUTURES:
            with suppress(NotFoundError):
                return self._is_listed_future(symbol, date)
        address = f"{_CONTRACTS[market]}/{quote(symbol, safe=':')}"
        try:
            self._transport.get(address, self._plans[market], {"as_of": str(date)})
        except NotFoundError:
            return False
        return True

    def _is_listed_future(self, symbol: str, date: dt.date) -> bool:
        path, fields = "/futures/v1/contracts", {"ticker": symbol, "date": str(date), "limit": "1"}
        request = Request(
            f"contract {symbol}",
            path,
            lambda client: client.client.request("GET", client.BASE + path, fields=fields, headers=client.headers),
            1,
            may_be_empty=True,
        )
        return any(row.ticker == symbol for row in self._rows(Market.FUTURES, request, _TICKERS))

    def conditions(self, market: Market) -> pl.DataFrame:
        """Condition codes of a market (`CONDITIONS`) with the consolidated tape's update rules; an absent rule allows."""
        request = Request(
            f"conditions of {market}",
            "/v3/reference/conditions",
            lambda client: client.list_conditions(asset_class=_VENDOR_NAME[market], limit=_PAGE_LIMIT, raw=True),
            _PAGE_LIMIT,
        )
        rows = [_condition(row) for row in self._rows(market, request, _CONDITIONS)]
        return pl.DataFrame(rows, CONDITIONS, orient="row").sort("code")

    def exchanges(self, market: Market) -> pl.DataFrame:
        """Exchanges of a market (`EXCHANGES`)."""
        request = Request(
            f"exchanges of {market}",
            "/v3/reference/exchanges",
            lambda client: client.get_exchanges(asset_class=_VENDOR_NAME[market], raw=True),
            _PAGE_LIMIT,
        )
        rows = [
            (row.id, row.name, row.type, row.mic, row.participant_id) for row in self._rows(market, request, _EXCHANGES)
        ]
        return pl.DataFrame(rows, EXCHANGES, orient="row").sort("exchange")

    def market_status(self) -> pl.DataFrame:
        """Which markets and exchanges are open now (`STATUS`): `open`, `closed`, `extended-hours`."""
        status = self._decode(lambda client: client.get_market_status(raw=True), MarketStatus, "market status")
        rows = [(Market.STOCKS.value, status.market), *status.exchanges.items()]
        rows += [(_platform_name(name), state) for name, state in status.currencies.items()]
        return pl.DataFrame([(name, str(state)) for name, state in rows], STATUS, orient="row")

    def market_holidays(self) -> pl.DataFrame:
        """Coming holidays and half days by exchange (`HOLIDAYS`); open and close are ISO times, null when closed."""
        rows = self._decode(lambda client: client.get_market_holidays(raw=True), list[HolidayRow], "market holidays")
        values = [(row.date, row.exchange, row.name, row.status, row.open, row.close) for row in rows]
        return pl.DataFrame(values, HOLIDAYS, orient="row")

    def truth(self, symbol: str, market: Market, date: dt.date) -> pl.DataFrame:
        """The anomalies that an emulator put into a symbol's day (`TRUTH`).

        Raises:
            NotFoundError: the server is no emulator, or replays a recorded tape.
        """
        path, fields = "/emulator/v1/truth", {"ticker": to_rest(symbol), "date": str(date)}
        request = Request(
            f"truth of {symbol} {date}",
            path,
            lambda client: client.client.request("GET", client.BASE + path, fields=fields, headers=client.headers),
            _PAGE_LIMIT,
        )
        rows = [(symbol, r.event_id, r.kind, r.start_ns, r.end_ns) for r in self._rows(market, request, _TRUTH)]
        return pl.DataFrame(rows, TRUTH, orient="row")

    def _rows(self, market: Market, request: Request, decoder: PageDecoder[Row]) -> Iterator[Row]:
        for page in Pager(self._transport, self._plans[market]).pages(request, decoder):
            if page.decoded.bad:
                fault = page.decoded.bad[0]
                raise PageError(f"{request.what}, page {page.number} ({page.url}): row {fault.line}: {fault.reason}")
            yield from page.decoded.rows

    def _decode(self, ask: Ask, kind: type[Answer], what: str) -> Answer:
        reply = self._transport.call(ask, self._plans[Market.STOCKS])
        try:
            return msgspec.json.decode(reply.body, type=kind)
        except msgspec.DecodeError as error:
            raise PageError(f"{what} ({reply.url}): bad JSON: {error}") from error


def update_rules(conditions: pl.DataFrame) -> dict[int, Updates]:
    """The update rules in a `CONDITIONS` frame, as `tapewatch.market.conditions` takes them."""
    rules = {}
    for row in conditions.filter(pl.col("data_types").str.contains("trade")).iter_rows(named=True):
        allowed = Updates.NOTHING
        for name, flag in _UPDATE_FLAGS.items():
            allowed |= flag if row[name] else Updates.NOTHING
        rules[row["code"]] = allowed
    return rules


def rule_differences(conditions: pl.DataFrame) -> list[str]:
    """Where a `CONDITIONS` frame of stocks says otherwise than the rules that bars are built by, a phrase a code."""
    return [
        f"{code} ({STOCK_CONDITION_NAMES.get(code, 'unknown')}) allows {in_words(stated)} and is read as {in_words(used)}"
        for code, stated in update_rules(conditions).items()
        if stated != (used := STOCK_UPDATE_RULES.get(code, Updates.EVERYTHING))
    ]


def _ticker(row: TickerRow, market: Market) -> tuple[object, ...]:
    symbol = from_vendor(row.ticker, market)
    return symbol, row.name, row.type, row.active, row.primary_exchange, row.currency_name, row.delisted_utc


def _condition(row: ConditionRow) -> tuple[object, ...]:
    rule = row.update_rules.consolidated if row.update_rules else None
    flags = (rule.updates_open_close, rule.updates_high_low, rule.updates_volume) if rule else (True,) * 3
    return row.id, row.name, row.type, ",".join(row.data_types), *flags


def _platform_name(name: str) -> str:
    return Market.FOREX.value if name == "fx" else name
