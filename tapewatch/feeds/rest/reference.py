"""The vendor's reference data: tickers, condition codes, and which markets are open."""

import datetime as dt
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Final
from urllib.parse import quote

import msgspec
import polars as pl

from tapewatch.feeds.errors import NotFoundError, PageError
from tapewatch.feeds.plans.table import MarketPlan
from tapewatch.feeds.rest.corporate_actions import actions_of
from tapewatch.feeds.rest.decode import PageDecoder, Row
from tapewatch.feeds.rest.messages import (
    ConditionRow,
    DividendRow,
    MarketStatus,
    SplitRow,
    TickerRow,
    TruthRow,
    UpdateRule,
)
from tapewatch.feeds.rest.pages import Pager, Request
from tapewatch.feeds.rest.transport import Transport, ask_path
from tapewatch.market.conditions import STOCK_CONDITION_NAMES, STOCK_UPDATE_RULES, Updates, in_words
from tapewatch.market.instruments import Market
from tapewatch.market.tables.tape import SYMBOL, TIME
from tapewatch.market.tickers import from_vendor, to_rest

# The reference endpoints call forex "fx".
_VENDOR_NAME: Final = {market: "fx" if market is Market.FOREX else market.value for market in Market}
_CONTRACTS: Final = {Market.OPTIONS: "/v3/reference/options/contracts", Market.FUTURES: "/futures/vX/contracts"}
_PAGE_LIMIT: Final = 1000
_TICKERS = PageDecoder(TickerRow)
_CONDITIONS = PageDecoder(ConditionRow)
_SPLITS = PageDecoder(SplitRow)
_DIVIDENDS = PageDecoder(DividendRow)
_TRUTH = PageDecoder(TruthRow)

TRUTH: Final = pl.Schema(
    {"symbol": SYMBOL, "event_id": pl.String(), "kind": SYMBOL, "start_time": TIME, "end_time": TIME}
)


class Reference:
    """Reference data over one transport. Every method raises `RestError` where the server does not deliver."""

    def __init__(self, transport: Transport, plans: Mapping[Market, MarketPlan]) -> None:
        self._transport = transport
        self._plans = plans

    def symbols(self, market: Market, date: dt.date | None = None) -> list[str]:
        """The market's active symbols on `date` (now where None) in the platform's spelling, sorted.

        Tickers that the platform cannot spell, such as pairs in an unknown currency, are left out.
        """
        request = Request(
            f"tickers of {market}",
            "/v3/reference/tickers",
            lambda client: client.list_tickers(
                market=_VENDOR_NAME[market],
                active=True,
                date=date and str(date),
                sort="ticker",
                order="asc",
                limit=_PAGE_LIMIT,
                raw=True,
            ),
            _PAGE_LIMIT,
        )
        found = set()
        for row in self._rows(market, request, _TICKERS):
            with suppress(ValueError):
                found.add(from_vendor(row.ticker, market))
        return sorted(found)

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
        # The vendor lists contracts apart from tickers, and an expired one only as of its days.
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
        request = Request(f"contract {symbol}", path, ask_path(path, fields), 1, may_be_empty=True)
        return any(row.ticker == symbol for row in self._rows(Market.FUTURES, request, _TICKERS))

    def update_rules(self, market: Market) -> dict[int, Updates]:
        """Which fields of a bar a trade with each condition code updates, by the consolidated tape's rules.

        A code without a rule updates everything.
        """
        request = Request(
            f"conditions of {market}",
            "/v3/reference/conditions",
            lambda client: client.list_conditions(asset_class=_VENDOR_NAME[market], limit=_PAGE_LIMIT, raw=True),
            _PAGE_LIMIT,
        )
        rows = sorted(self._rows(market, request, _CONDITIONS), key=lambda row: row.id)
        return {row.id: _updates(row) for row in rows if any("trade" in kind for kind in row.data_types)}

    def corporate_actions(self, symbol: str, first: dt.date, last: dt.date) -> pl.DataFrame:
        """`CORPORATE_ACTIONS` of a stock whose day lies within two dates, both included.

        Raises:
            ActionError: the vendor lists one that cannot be.
        """
        ticker = to_rest(symbol)
        splits = Request(
            f"splits of {symbol}",
            "/v3/reference/splits",
            lambda client: client.list_splits(
                ticker=ticker, execution_date_gte=str(first), execution_date_lte=str(last), limit=_PAGE_LIMIT, raw=True
            ),
            _PAGE_LIMIT,
            may_be_empty=True,
        )
        dividends = Request(
            f"dividends of {symbol}",
            "/v3/reference/dividends",
            lambda client: client.list_dividends(
                ticker=ticker,
                ex_dividend_date_gte=str(first),
                ex_dividend_date_lte=str(last),
                limit=_PAGE_LIMIT,
                raw=True,
            ),
            _PAGE_LIMIT,
            may_be_empty=True,
        )
        market = Market.STOCKS
        return actions_of(self._rows(market, splits, _SPLITS), self._rows(market, dividends, _DIVIDENDS))

    def market_status(self) -> dict[str, str]:
        """The present state of each market and exchange: `open`, `closed`, `extended-hours`."""
        reply = self._transport.call(lambda client: client.get_market_status(raw=True), self._plans[Market.STOCKS])
        try:
            status = msgspec.json.decode(reply.body, type=MarketStatus)
        except msgspec.DecodeError as error:
            raise PageError(f"market status ({reply.url}): bad JSON: {error}") from error
        currencies = {Market.FOREX.value if name == "fx" else name: state for name, state in status.currencies.items()}
        states = {Market.STOCKS.value: status.market, **status.exchanges, **currencies}
        return {name: str(state) for name, state in states.items()}

    def truth(self, symbol: str, market: Market, date: dt.date) -> pl.DataFrame:
        """The anomalies that an emulator put into a symbol's day (`TRUTH`).

        Raises:
            NotFoundError: the server is no emulator, or replays a recorded tape.
        """
        path, fields = "/emulator/v1/truth", {"ticker": to_rest(symbol), "date": str(date)}
        request = Request(f"truth of {symbol} {date}", path, ask_path(path, fields), _PAGE_LIMIT)
        rows = [(symbol, r.event_id, r.kind, r.start_ns, r.end_ns) for r in self._rows(market, request, _TRUTH)]
        return pl.DataFrame(rows, TRUTH, orient="row")

    def _rows(self, market: Market, request: Request, decoder: PageDecoder[Row]) -> Iterator[Row]:
        for page in Pager(self._transport, self._plans[market]).pages(request, decoder):
            if page.decoded.bad:
                fault = page.decoded.bad[0]
                raise PageError(f"{request.what}, page {page.number} ({page.url}): row {fault.line}: {fault.reason}")
            yield from page.decoded.rows


def rule_differences(stated_rules: Mapping[int, Updates]) -> list[str]:
    """The condition codes of stocks whose rules differ from those that bars are built by, one phrase each."""
    return [
        f"{code} ({STOCK_CONDITION_NAMES.get(code, 'unknown')}) allows {in_words(stated)} and is read as {in_words(used)}"
        for code, stated in stated_rules.items()
        if stated != (used := STOCK_UPDATE_RULES.get(code, Updates.EVERYTHING))
    ]


def _updates(row: ConditionRow) -> Updates:
    rule = (row.update_rules and row.update_rules.consolidated) or UpdateRule()
    flags = {
        Updates.OPEN_CLOSE: rule.updates_open_close,
        Updates.HIGH_LOW: rule.updates_high_low,
        Updates.VOLUME: rule.updates_volume,
    }
    allowed = Updates.NOTHING
    for flag, is_allowed in flags.items():
        allowed |= flag if is_allowed else Updates.NOTHING
    return allowed
