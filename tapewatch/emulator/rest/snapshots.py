"""The rows of last trades and quotes, of snapshots, and of a day's open and close, as the vendor names their fields."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from tapewatch.emulator.rest import reference
from tapewatch.emulator.rest.aggregates import Aggregates
from tapewatch.emulator.rest.latest import Bars
from tapewatch.emulator.rest.requests import symbol_of
from tapewatch.emulator.tape.market_tape import MarketTape
from tapewatch.market.conditions import parse
from tapewatch.market.instruments import Market, session_of
from tapewatch.market.tickers import to_rest

Row = dict[str, Any]
_NS_PER_MS = 1_000_000
_TYPES = {
    "stocks": Market.STOCKS, "options": Market.OPTIONS, "crypto": Market.CRYPTO, "fx": Market.FOREX, "forex": Market.FOREX,
    "indices": Market.INDICES,
}  # fmt: skip
_NAMES = {Market.FOREX: "fx"}
_NO_BAR = dict.fromkeys(("o", "h", "l", "c", "v", "vw"), 0)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a plan shows of a symbol: its bars, last trade and quote, an index's value, and the newest time it shows."""

    symbol: str
    market: Market
    bars: Bars
    trade: Row | None
    quote: Row | None
    value: float | None
    newest: int

    @property
    def price(self) -> float | None:
        """The last trade's price, an index's value, or the day's close."""
        if self.trade is not None:
            return float(self.trade["price"])
        return self.value if self.value is not None else self._close(self.bars.day)

    @property
    def change(self) -> tuple[float, float]:
        """The price less the close of the day before, and this in percent; 0 without both."""
        before, price = self._close(self.bars.day_before), self.price
        if not before or price is None or self.bars.day is None:
            return 0.0, 0.0
        return round(price - before, 6), round(100 * (price - before) / before, 4)

    @staticmethod
    def _close(bar: Row | None) -> float | None:
        return None if bar is None else float(bar["close"])


def trade(row: Row, market: Market) -> Row:
    """A `TRADES` row as in the last trade and in a ticker's snapshot; the size without and with its fraction, as for stocks."""
    fields = {
        "c": list(parse(row["conditions"])) or None, "f": row["trf_time"], "i": row["id"], "p": row["price"],
        "q": row["sequence_number"], "r": row["trf_id"] or None, "s": row["size"], "t": row["time"],
        "x": row["exchange"], "y": row["participant_time"], "z": row["tape"],
    }  # fmt: skip
    if market is Market.STOCKS:
        fields |= {"s": int(row["size"]), "ds": str(row["size"])}
    return _stated(fields)


def quote(row: Row) -> Row:
    """A `QUOTES` row as in the last quote."""
    return _stated(
        {
            "P": row["ask_price"], "S": row["ask_size"], "X": row["ask_exchange"], "p": row["bid_price"],
            "s": row["bid_size"], "x": row["bid_exchange"], "c": list(parse(row["conditions"])) or None,
            "i": list(parse(row["indicators"])) or None, "q": row["sequence_number"], "t": row["time"],
            "y": row["participant_time"], "z": row["tape"],
        }
    )  # fmt: skip


def pair_trade(row: Row) -> Row:
    """A crypto `TRADES` row as in the last trade of a pair, in milliseconds."""
    names = ("exchange", "price", "size")
    return {
        **{name: row[name] for name in names}, "conditions": list(parse(row["conditions"])),
        "timestamp": row["time"] // _NS_PER_MS,
    }  # fmt: skip


def pair_quote(row: Row) -> Row:
    """A forex `QUOTES` row as in the last quote of a pair, in milliseconds."""
    return {
        "ask": row["ask_price"], "bid": row["bid_price"], "exchange": row["bid_exchange"],
        "timestamp": row["time"] // _NS_PER_MS,
    }  # fmt: skip


def of_ticker(seen: Seen) -> Row:
    """A ticker's snapshot as in `/v2/snapshot`."""
    change, percent = seen.change
    row = {
        "ticker": to_rest(seen.symbol), "todaysChange": change, "todaysChangePerc": percent, "updated": seen.newest,
        "day": _bar(seen.bars.day), "prevDay": _bar(seen.bars.day_before), "min": _minute(seen.bars),
    }  # fmt: skip
    if seen.trade is not None:
        row["lastTrade"] = {
            k: v for k, v in trade(seen.trade, seen.market).items() if k in ("c", "i", "p", "s", "ds", "t", "x")
        }
    if seen.quote is not None and seen.market is Market.FOREX:
        row["lastQuote"] = {
            "a": seen.quote["ask_price"], "b": seen.quote["bid_price"], "t": seen.quote["time"] // _NS_PER_MS,
            "x": seen.quote["bid_exchange"],
        }  # fmt: skip
    elif seen.quote is not None and seen.market is Market.STOCKS:
        row["lastQuote"] = {k: v for k, v in quote(seen.quote).items() if k in ("P", "S", "p", "s", "t")}
    return row


def universal(tape: MarketTape, seen: Seen, now: int) -> Row:
    """A symbol's snapshot as in `/v3/snapshot`."""
    change, percent = seen.change
    day, before = seen.bars.day or {}, seen.bars.day_before or {}
    session = {
        "change": change, "change_percent": percent, "previous_close": before.get("close"), "price": seen.price,
        **{name: day.get(name) for name in ("open", "high", "low", "close", "volume")},
    }  # fmt: skip
    known = tape.describe(seen.symbol)
    row: Row = {
        "ticker": to_rest(seen.symbol), "type": _NAMES.get(seen.market, seen.market.value),
        "name": known.name if known else seen.symbol, "market_status": reference.phase(seen.market, now),
        "session": _stated(session),
    }  # fmt: skip
    if seen.value is not None:
        row["value"] = seen.value
    if known is not None and seen.market is Market.OPTIONS:
        names = ("contract_type", "exercise_style", "expiration_date", "shares_per_contract", "strike_price")
        row["details"] = {name: reference.option(known)[name] for name in names}
    if seen.trade is not None:
        row["last_trade"] = _stated(
            {name: seen.trade[name] for name in ("id", "price", "size", "exchange")}
            | {"conditions": list(parse(seen.trade["conditions"])) or None, "last_updated": seen.trade["time"]}
        )
    if seen.quote is not None:
        quoted, middle = seen.quote, (seen.quote["bid_price"] + seen.quote["ask_price"]) / 2
        row["last_quote"] = _stated(
            {
                "ask": quoted["ask_price"], "ask_size": quoted["ask_size"], "bid": quoted["bid_price"],
                "bid_size": quoted["bid_size"], "midpoint": middle, "last_updated": quoted["time"],
            }
        )  # fmt: skip
    return row


def asked(tape: MarketTape, query: Mapping[str, str]) -> list[str]:
    """The symbols that a universal snapshot is requested of, in its order; those named need not exist."""
    wanted = _TYPES.get(query.get("type", ""))
    names = [name for name in (query.get("ticker.any_of") or query.get("ticker") or "").split(",") if name]
    if names:
        symbols = [symbol_of(name) for name in names]
        symbols = symbols if wanted is None else [symbol for symbol in symbols if tape.market(symbol) is wanted]
    else:
        symbols = [s for m in dict.fromkeys(_TYPES.values()) if wanted in (None, m) for s in tape.symbols(m)]
        symbols = [symbol for symbol in symbols if reference.in_range(to_rest(symbol), query)]
    return sorted(symbols, key=to_rest, reverse=query.get("order") == "desc")


def open_close(tape: MarketTape, symbol: str, date: dt.date) -> Row | None:
    """A day's open, high, low, close and volume, with the first price before and the last after regular hours."""
    session = session_of(tape.market(symbol), date) if tape.may_have(symbol) else None
    day = Aggregates(tape).base(symbol, date, "day")
    if session is None or day.is_empty():
        return None
    minutes, time = tape.bars(symbol, date), pl.col("time").dt.epoch("ns")
    early, late = minutes.filter(time < session.regular_start), minutes.filter(time >= session.regular_end)
    fields = {name: day[name][0] for name in ("open", "high", "low", "close", "volume")}
    fields |= {
        "preMarket": early["open"][0] if early.height else None,
        "afterHours": late["close"][-1] if late.height else None,
    }
    return _stated(fields)


def _bar(bar: Row | None) -> Row:
    if bar is None:
        return dict(_NO_BAR)
    names = {"o": "open", "h": "high", "l": "low", "c": "close", "v": "volume", "vw": "vwap"}
    return _stated({field: bar[name] for field, name in names.items()})


def _minute(bars: Bars) -> Row:
    if bars.minute is None or bars.day is None:
        return _bar(None)
    times = {"t": bars.minute["time"] // _NS_PER_MS, "n": bars.minute["transactions"], "av": bars.day["volume"]}
    return _stated(_bar(bars.minute) | times)


def _stated(fields: Mapping[str, Any]) -> Row:
    """The fields that have a value, as the vendor leaves out the others."""
    return {name: value for name, value in fields.items() if value is not None}
