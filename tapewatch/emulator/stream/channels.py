"""The rows that each WebSocket channel sends on a day of the tape, and when.

Trades, quotes and values are released when they happen, bars when their second or minute ends.
"""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl

from tapewatch.emulator.tape.market_tape import MarketTape
from tapewatch.emulator.tape.windows import rows_between, second_bars
from tapewatch.market.instruments import NEW_YORK, NS_PER_MINUTE, NS_PER_SECOND, Market, Session
from tapewatch.market.tables.tape import TIME

#: The channels of each market's stream.
CHANNELS: Mapping[Market, tuple[str, ...]] = {
    Market.STOCKS: ("T", "Q", "A", "AM", "LULD", "NOI"),
    Market.OPTIONS: ("T", "Q", "A", "AM"),
    Market.FOREX: ("C", "CA", "CAS"),
    Market.CRYPTO: ("XT", "XQ", "XA", "XAS", "XL2"),
    Market.INDICES: ("V", "A", "AM"),
    Market.FUTURES: ("T", "Q", "A", "AM"),
}
TRADE_CHANNELS = frozenset({"T", "XT"})
QUOTE_CHANNELS = frozenset({"Q", "XQ", "C"})
MINUTE_CHANNELS = frozenset({"AM", "XA", "CA"})
_SECOND_CHANNELS = frozenset({"A", "XAS", "CAS"})

# The table of the tape that a channel is built from, if it is not the trades.
_TABLES = dict.fromkeys(QUOTE_CHANNELS | {"XL2", "CA", "CAS"}, "quotes") | dict.fromkeys(("AM", "XA"), "bars")
_BAND = 0.05
_BANDS_EVERY = 30 * NS_PER_SECOND
_IMBALANCES_FOR = 300 * NS_PER_SECOND


@dataclass(frozen=True, slots=True)
class Day:
    """A market's day of a tape, and the requested symbols."""

    tape: MarketTape
    session: Session
    symbols: Sequence[str]

    def load(self, table: str) -> None:
        """Read a table of the tape for all symbols."""
        self.tape.load(table, self.symbols, self.session.date)

    def rows(self, of_symbol: Callable[[str], pl.DataFrame]) -> pl.DataFrame:
        """The rows of all symbols, symbol by symbol."""
        frames = [frame for symbol in self.symbols if not (frame := of_symbol(symbol)).is_empty()]
        return pl.concat(frames) if frames else of_symbol("").clear()

    def trades(self, symbol: str) -> pl.DataFrame:
        return self.tape.trades(symbol, self.session.date)


def rows(day: Day, channel: str) -> pl.DataFrame:
    """A channel's rows by `_release` (`TIME`): that column, and those that `messages` writes."""
    day.load(_TABLES.get(channel, "trades"))
    if channel in MINUTE_CHANNELS or channel in _SECOND_CHANNELS:
        is_minute = channel in MINUTE_CHANNELS
        found = bars(day, minute_rows(day) if is_minute else _second_rows(day), is_minute=is_minute)
    elif channel in TRADE_CHANNELS:
        found = at_once(day.rows(day.trades))
    elif channel in QUOTE_CHANNELS:
        found = at_once(day.rows(lambda symbol: day.tape.quotes(symbol, day.session.date)))
    else:
        found = _SPECIAL[channel](day)
    return found.sort("_release", maintain_order=True)


def minute_rows(day: Day) -> pl.DataFrame:
    return day.rows(lambda symbol: day.tape.bars(symbol, day.session.date))


def _second_rows(day: Day) -> pl.DataFrame:
    return day.rows(lambda symbol: second_bars(day.tape.prices(symbol, day.session.date), day.session))


def bars(day: Day, built: pl.DataFrame, *, is_minute: bool) -> pl.DataFrame:
    """Bars (`DELIVERED_BARS`) with the stream's additional columns: totals of the day so far, and the official open."""
    width = NS_PER_MINUTE if is_minute else NS_PER_SECOND
    start = pl.col("time").dt.epoch("ns")
    is_regular = (start >= day.session.regular_start) & (start < day.session.regular_end)
    notional = (pl.col("vwap").fill_null(pl.col("close")) * pl.col("volume")).cum_sum().over("symbol")
    official = pl.col("open").filter(is_regular).first().over("symbol")
    return built.with_columns(
        end=(start + width).cast(TIME),
        _release=(start + width).cast(TIME),
        day_volume=pl.col("volume").cum_sum().over("symbol"),
        official_open=pl.when(start >= day.session.regular_start).then(official),
        average_size=pl.when(pl.col("transactions") > 0).then(pl.col("volume") / pl.col("transactions")),
    ).with_columns(day_vwap=pl.when(pl.col("day_volume") > 0).then(notional / pl.col("day_volume")))


def at_once(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(_release=pl.col("time"))


def _values(day: Day) -> pl.DataFrame:
    values = day.rows(lambda symbol: day.tape.prices(symbol, day.session.date))
    if values.is_empty():
        # Recorded indices have bars only: each close is a value.
        values = minute_rows(day).with_columns(
            pl.col("close").alias("price"), (pl.col("time") + pl.duration(minutes=1)).cast(TIME)
        )
    return at_once(values.select("symbol", "time", pl.col("price").alias("value")))


def _books(day: Day) -> pl.DataFrame:
    def of_symbol(symbol: str) -> pl.DataFrame:
        quotes = day.tape.quotes(symbol, day.session.date)
        return (
            quotes.filter(pl.col("bid_size").is_not_null())
            .group_by(pl.col("time").dt.truncate("1s").alias("_second"), maintain_order=True)
            .last()
            .drop("_second")
            .select(quotes.columns)
        )

    return at_once(day.rows(of_symbol))


def _bands(day: Day) -> pl.DataFrame:
    """Limit-up and limit-down bands: 5 % around the last price, twice a minute in regular hours."""
    session = day.session

    def of_symbol(symbol: str) -> pl.DataFrame:
        trades = rows_between(day.trades(symbol), session.regular_start, session.regular_end)
        every = (pl.col("time").dt.epoch("ns") // _BANDS_EVERY).alias("_window")
        last = trades.group_by(every, maintain_order=True).agg(pl.col("symbol", "price", "tape").last())
        return last.select(
            "symbol",
            ((pl.col("_window") + 1) * _BANDS_EVERY).cast(TIME).alias("time"),
            (pl.col("price") * (1 + _BAND)).round(2).alias("high_price"),
            (pl.col("price") * (1 - _BAND)).round(2).alias("low_price"),
            "tape",
            pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias("sequence_number"),
        )

    return _made_up(day, of_symbol)


def _imbalances(day: Day) -> pl.DataFrame:
    """Imbalances of the closing auction, each second of the last five minutes, from the trades of those minutes."""
    end = day.session.regular_end
    at = dt.datetime.fromtimestamp(end // NS_PER_SECOND, dt.UTC).astimezone(NEW_YORK)

    def of_symbol(symbol: str) -> pl.DataFrame:
        trades = rows_between(day.trades(symbol), end - _IMBALANCES_FOR, end)
        seconds = trades.group_by(pl.col("time").dt.truncate("1s").alias("time"), maintain_order=True).agg(
            pl.col("symbol").first(), clearing_price=pl.col("price").last(), paired=pl.col("size").sum() * 20
        )
        return seconds.select(
            "symbol",
            (pl.col("time") + pl.duration(seconds=1)).cast(TIME).alias("time"),
            pl.lit(at.hour * 100 + at.minute, dtype=pl.Int32).alias("auction_time"),
            pl.lit("C").alias("auction_type"),
            pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias("sequence_number"),
            pl.lit(10, dtype=pl.Int16).alias("exchange"),
            (pl.col("paired") * 0.1 * pl.when(pl.int_range(pl.len()) % 2 == 0).then(1.0).otherwise(-1.0))
            .round(0)
            .alias("imbalance"),
            "paired",
            "clearing_price",
        )

    return _made_up(day, of_symbol)


def _made_up(day: Day, of_symbol: Callable[[str], pl.DataFrame]) -> pl.DataFrame:
    """Made-up rows of a synthetic tape. A recorded tape has none: no file holds them."""
    is_recorded = day.tape.truth("", day.session.date) is None
    return at_once((replace(day, symbols=()) if is_recorded else day).rows(of_symbol))


_SPECIAL: Mapping[str, Callable[[Day], pl.DataFrame]] = {
    "V": _values,
    "XL2": _books,
    "LULD": _bands,
    "NOI": _imbalances,
}
