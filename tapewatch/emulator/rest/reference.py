"""The rows of /v3/reference and /v1/marketstatus: tickers, contracts, and whether markets are open."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from tapewatch.emulator.rest.paging import limit_of
from tapewatch.emulator.rest.requests import cursor_of
from tapewatch.emulator.synthetic.universe import Instrument
from tapewatch.emulator.tape.market_tape import MarketTape
from tapewatch.market.instruments import NEW_YORK, Market, Session, session_of, zone_of
from tapewatch.market.tickers import to_rest

_DEFAULT_LIMIT, _MAX_LIMIT = 100, 1000
_MARKET_NAMES = {Market.FOREX: "fx"}
_HALF_DAY_MINUTES = 300
# The vendor lists contracts of options and futures elsewhere.
_LISTED = (Market.STOCKS, Market.CRYPTO, Market.FOREX, Market.INDICES)
# The calendars reach a year ahead.
_HORIZON = dt.timedelta(days=360)
_EARLY_CLOSES = {7: "Independence Day", 11: "Thanksgiving", 12: "Christmas"}

Row = dict[str, Any]


def tickers(tape: MarketTape, query: Mapping[str, str]) -> tuple[list[Row], str | None]:
    """A page of /v3/reference/tickers, and the next page's cursor."""
    rows = [row for row in _listed(tape, query) if _matches(row, query)]
    is_descending = query.get("order") == "desc"
    rows.sort(key=lambda row: str(row.get(query.get("sort", "ticker"), "")), reverse=is_descending)
    start = int(query.get("_start", "0"))
    end = start + limit_of(query, _DEFAULT_LIMIT, _MAX_LIMIT)
    kept = {name: value for name, value in query.items() if name != "apiKey"}
    return rows[start:end], cursor_of(kept | {"_start": str(end)}) if end < len(rows) else None


def details(tape: MarketTape, symbol: str) -> Row | None:
    """/v3/reference/tickers/{ticker}: a symbol of a market whose tickers the vendor lists; None if it is unknown."""
    if tape.market(symbol) not in _LISTED or (
        tape.describe(symbol) is None and symbol not in tape.symbols(tape.market(symbol))
    ):
        return None
    return _ticker(tape, symbol)


def in_range(ticker: str, query: Mapping[str, str]) -> bool:
    """Whether a ticker lies between the bounds that a query sets."""
    sides = {".gt": ticker > query.get("ticker.gt", ""), ".gte": ticker >= query.get("ticker.gte", "")}
    sides |= {".lt": ticker < query.get("ticker.lt", ""), ".lte": ticker <= query.get("ticker.lte", "")}
    return all(holds for name, holds in sides.items() if query.get(f"ticker{name}"))


def phase(market: Market, now: int) -> str:
    """A market's state as in a snapshot: `open`, `closed`, `early_trading` or `late_trading`."""
    session = session_of(market, dt.datetime.fromtimestamp(now // 1_000_000_000, zone_of(market)).date())
    found = _phase(session, now)
    return {"pre": "early_trading", "post": "late_trading"}.get(found, found)


def filtered(rows: list[Row], query: Mapping[str, str]) -> list[Row]:
    """The rows of a reference table that match the query's filters."""
    wanted = {name: query[name] for name in ("asset_class", "locale", "id") if query.get(name)}
    data_type = query.get("data_type")
    return [
        row
        for row in rows
        if all(str(row.get(name)) == value for name, value in wanted.items())
        and (not data_type or data_type in row.get("data_types", ()))
    ]


def status(now: int) -> Row:
    time = dt.datetime.fromtimestamp(now // 1_000_000_000, NEW_YORK)
    stocks = session_of(Market.STOCKS, time.date())
    phase = _phase(stocks, now)
    forex = session_of(Market.FOREX, dt.datetime.fromtimestamp(now // 1_000_000_000, dt.UTC).date())
    is_forex_open = forex is not None and forex.regular_start <= now < forex.regular_end
    exchange = {"pre": "extended-hours", "post": "extended-hours"}.get(phase, phase)
    return {
        "afterHours": phase == "post",
        "currencies": {"crypto": "open", "fx": "open" if is_forex_open else "closed"},
        "earlyHours": phase == "pre",
        "exchanges": dict.fromkeys(("nasdaq", "nyse", "otc"), exchange),
        "indicesGroups": dict.fromkeys(("s_and_p", "nasdaq", "dow_jones"), "open" if phase == "open" else "closed"),
        "market": exchange,
        "serverTime": time.isoformat(),
    }


def upcoming(now: int) -> list[Row]:
    """/v1/marketstatus/upcoming: closures and half days of the next twelve months."""
    today = dt.datetime.fromtimestamp(now // 1_000_000_000, NEW_YORK).date()
    # With it half a second, which an emulator starts without.
    import exchange_calendars  # noqa: PLC0415
    import pandas as pd  # noqa: PLC0415

    calendar = exchange_calendars.get_calendar("XNYS")
    named = calendar.regular_holidays.holidays(pd.Timestamp(today), pd.Timestamp(today + _HORIZON), return_name=True)
    names = {time.date(): name for time, name in named.items()}
    rows: list[Row] = []
    for offset in range(_HORIZON.days + 1):
        date = today + dt.timedelta(days=offset)
        session = session_of(Market.STOCKS, date)
        if session is None and date in names:
            day: Row = {"date": str(date), "name": names[date], "status": "closed"}
        elif session is not None and session.regular_minutes < _HALF_DAY_MINUTES:
            day = _half_day(session)
        else:
            continue
        rows += [day | {"exchange": exchange} for exchange in ("NYSE", "NASDAQ")]
    return rows


def option(known: Instrument) -> Row:
    """/v3/reference/options/contracts/{ticker}: the symbol contains expiry, side and strike."""
    expiry, strike = known.symbol[-15:-9], int(known.symbol[-8:]) / 1000
    return {
        "ticker": known.symbol,
        "underlying_ticker": known.symbol.removeprefix("O:")[:-15],
        "expiration_date": f"20{expiry[:2]}-{expiry[2:4]}-{expiry[4:]}",
        "contract_type": "call" if known.symbol[-9] == "C" else "put",
        "strike_price": strike,
        "exercise_style": "american",
        "primary_exchange": known.exchange,
        "shares_per_contract": 100,
    }


def _phase(session: Session | None, now: int) -> str:
    if session is None or not session.extended_start <= now < session.extended_end:
        return "closed"
    if now < session.regular_start:
        return "pre"
    return "open" if now < session.regular_end else "post"


def _half_day(session: Session) -> Row:
    opens, closes = (
        f"{dt.datetime.fromtimestamp(ns // 1_000_000_000, dt.UTC):%Y-%m-%dT%H:%M:%S.000Z}"
        for ns in (session.regular_start, session.regular_end)
    )
    return {
        "date": str(session.date), "name": _EARLY_CLOSES.get(session.date.month, "Early Close"),
        "status": "early-close", "open": opens, "close": closes,
    }  # fmt: skip


def _listed(tape: MarketTape, query: Mapping[str, str]) -> list[Row]:
    symbols = [symbol for market in _LISTED for symbol in tape.symbols(market)]
    rows = [_ticker(tape, symbol) for symbol in symbols]
    asked = query.get("ticker", "")
    if asked and tape.describe(asked) is not None and asked not in symbols:
        rows.append(_ticker(tape, asked))
    return rows


def _ticker(tape: MarketTape, symbol: str) -> Row:
    market = tape.market(symbol)
    row: Row = {
        "ticker": to_rest(symbol),
        "name": symbol,
        "market": _MARKET_NAMES.get(market, market.value),
        "locale": "global" if market in (Market.CRYPTO, Market.FOREX) else "us",
        "active": True,
        "currency_name": "usd",
    }
    if market in (Market.CRYPTO, Market.FOREX):
        base, _, quote = symbol.partition(":")[2].partition("-")
        row |= {"base_currency_symbol": base, "currency_symbol": quote, "currency_name": quote}
    known = tape.describe(symbol)
    if known is not None:
        row["name"] = known.name
        if known.exchange:
            row |= {"primary_exchange": known.exchange, "type": known.kind}
    return row


def _matches(row: Row, query: Mapping[str, str]) -> bool:
    ticker = str(row["ticker"])
    if query.get("active") == "false":
        return False
    equal = {"ticker": query.get("ticker"), "market": query.get("market"), "type": query.get("type")}
    equal["primary_exchange"] = query.get("exchange")
    if any(value and row.get(name) != value for name, value in equal.items()):
        return False
    search = query.get("search", "").lower()
    if search and search not in ticker.lower() and search not in str(row["name"]).lower():
        return False
    return in_range(ticker, query)
