"""A symbol's ticks as arrays, and the changes that injected anomalies make to them."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt
import polars as pl

from tapewatch.market.conditions import CRYPTO_BUY_SIDE, CRYPTO_SELL_SIDE
from tapewatch.market.instruments import Market, market_of
from tapewatch.market.tables.tape import SYMBOL, TIME

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Ticks:
    """Trades and two-sided quotes from `start` (included) to `end` (excluded), in time order.

    Times are int64 ns. `trade_row` and `quote_row` are positions in `trades` and `quotes`, the rows of the stretch and
    some before it; a new row is a copy of the one at its position with other values. `bid`, `ask`, `price` and `direction` are what was in force before `start`, NaN where nothing was;
    `last` is the time of the last tick. `stated` is the side that a crypto trade states, else 0. Rows that do not count
    (withdrawn trades, quotes of one side) stay in the frames unless the stretch is cleared.
    """

    start: int
    end: int
    tick: float
    market: Market
    trades: pl.DataFrame
    quotes: pl.DataFrame
    trade_time: Integers
    trade_price: Floats
    trade_size: Floats
    trade_row: Integers
    trade_new: Bools
    stated: Integers
    quote_time: Integers
    quote_bid: Floats
    quote_ask: Floats
    quote_row: Integers
    quote_new: Bools
    lots: Floats
    bid: float
    ask: float
    price: float
    direction: int
    last: int
    standing_row: int
    is_cleared: bool = False

    @classmethod
    def between(cls, trades: pl.DataFrame, quotes: pl.DataFrame, start: int, end: int, tick: float) -> Self:
        """The ticks of one symbol's `TRADES` and `QUOTES` rows in time order; withdrawn trades stay in the frames alone."""
        trades, quotes = _headed(trades, start, end), _headed(quotes, start, end)
        t_time, q_time = (frame["time"].dt.epoch("ns").to_numpy() for frame in (trades, quotes))
        price, size = trades["price"].to_numpy(), trades["size"].to_numpy()
        bid, ask = quotes["bid_price"].to_numpy(), quotes["ask_price"].to_numpy()
        counted = np.flatnonzero((trades["correction"].fill_null(0).to_numpy() <= 1) & (price > 0) & (size > 0))
        valid = np.flatnonzero((bid > 0) & (ask > 0))
        before, inside = counted[t_time[counted] < start], counted[t_time[counted] >= start]
        stood, quoted = valid[q_time[valid] < start], valid[q_time[valid] >= start]
        name = trades["symbol"] if trades.height else quotes["symbol"]
        market = market_of(str(name[0])) if len(name) else Market.STOCKS
        is_stated = market is Market.CRYPTO
        stated = _stated(trades["conditions"]) if is_stated else np.zeros(trades.height, dtype=np.int64)
        turns = np.sign(np.diff(price[before]))
        turns = turns[turns != 0]
        earlier = [each[each < start].max(initial=0) for each in (t_time, q_time)]
        return cls(
            start, end, tick, market, trades, quotes,
            t_time[inside], price[inside], size[inside], inside, np.zeros(inside.size, dtype=np.bool_),
            stated[inside],
            q_time[quoted], bid[quoted], ask[quoted], quoted, np.zeros(quoted.size, dtype=np.bool_), np.ones(quoted.size),
            float(bid[stood[-1]]) if stood.size else np.nan,
            float(ask[stood[-1]]) if stood.size else np.nan,
            float(price[before[-1]]) if before.size else np.nan,
            int(turns[-1]) if turns.size else 0,
            int(max(earlier)),
            int(stood[-1]) if stood.size else 0,
        )  # fmt: skip

    @property
    def is_quoted(self) -> bool:
        """Whether the stretch has quotes, or one was in force at its start."""
        return bool(self.quote_time.size) or not np.isnan(self.bid)

    def touch(self, times: Integers) -> tuple[Floats, Floats]:
        """Bid and offer in force strictly before each time; the last trade's price twice where there are no quotes."""
        if not self.is_quoted:
            known = np.append(self.price, self.trade_price)[np.searchsorted(self.trade_time, times, side="left")]
            return known, known
        at = np.searchsorted(self.quote_time, times, side="left")
        return np.append(self.bid, self.quote_bid)[at], np.append(self.ask, self.quote_ask)[at]

    def sides(self) -> Integers:
        """The side of each trade: as stated for crypto, at or through the touch, by the tick rule without quotes."""
        if self.market is Market.CRYPTO:
            return self.stated
        if self.is_quoted:
            bid, ask = self.touch(self.trade_time)
            slack = 0.01 * self.tick
            middle = np.where(bid >= ask, np.sign(self.trade_price - bid), 0.0)
            at_touch = np.where(
                self.trade_price >= ask - slack, 1.0, np.where(self.trade_price <= bid + slack, -1.0, 0)
            )
            return np.where(bid >= ask, middle, at_touch).astype(np.int64)
        turns = np.sign(np.diff(np.append(self.price, self.trade_price)))
        known = np.maximum.accumulate(np.where(turns != 0, np.arange(turns.size), -1))
        return np.where(known >= 0, turns[np.maximum(known, 0)], self.direction).astype(np.int64)

    def frames(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The stretch's rows; a new one has a null sequence number. Rows that are not counted stay as they are."""
        return self._trade_rows(), self._quote_rows()

    def _trade_rows(self) -> pl.DataFrame:
        at = pl.Series(self.trade_time).cast(TIME)
        new = pl.Series(self.trade_new)
        rows = self.trades[self.trade_row]
        conditions, is_other = pl.lit(""), new
        if self.market is Market.CRYPTO:
            codes = np.where(self.stated > 0, CRYPTO_BUY_SIDE, CRYPTO_SELL_SIDE)
            conditions = pl.lit(pl.Series(codes).cast(pl.String))
            is_other = new | pl.Series(self.stated != _stated(rows["conditions"]))
        rows = rows.with_columns(
            time=at,
            price=pl.Series(self.trade_price),
            size=pl.Series(self.trade_size),
            sequence_number=pl.when(~new).then("sequence_number"),
            conditions=pl.when(is_other).then(conditions).otherwise(pl.col("conditions").cast(pl.String)).cast(SYMBOL),
            id=pl.when(~new).then("id"),
            correction=pl.when(new & pl.col("correction").is_not_null()).then(0).otherwise("correction").cast(pl.Int8),
            participant_time=_moved_along("participant_time", new, at),
            trf_id=pl.when(~new).then("trf_id"),
            trf_time=pl.when(~new).then("trf_time"),
        )
        return self._with_rest(rows, self.trades, self.trade_row[~self.trade_new])

    def _quote_rows(self) -> pl.DataFrame:
        at = pl.Series(self.quote_time).cast(TIME)
        new, lots = pl.Series(self.quote_new), pl.Series(self.lots)
        rows = self.quotes[self.quote_row].with_columns(
            time=at,
            bid_price=pl.Series(self.quote_bid),
            ask_price=pl.Series(self.quote_ask),
            bid_size=pl.col("bid_size") * lots,
            ask_size=pl.col("ask_size") * lots,
            sequence_number=pl.when(~new).then("sequence_number"),
            participant_time=_moved_along("participant_time", new, at),
        )
        return self._with_rest(rows, self.quotes, self.quote_row[~self.quote_new])

    def _with_rest(self, rows: pl.DataFrame, frame: pl.DataFrame, counted: Integers) -> pl.DataFrame:
        """`rows` and, unless cleared, those of the stretch that did not count, in time order."""
        if self.is_cleared:
            return rows
        is_rest = frame["time"].dt.epoch("ns").to_numpy() >= self.start
        is_rest[counted] = False
        return pl.concat([rows, frame.filter(pl.Series(is_rest))]).sort("time", maintain_order=True)

    def with_trades(self, time: Integers, price: Floats, size: Floats, row: Integers, side: Integers) -> "Ticks":
        """With new trades, copies of the rows `row` with these values."""
        every = np.append(self.trade_time, time)
        order = np.argsort(every, kind="stable")
        return replace(
            self,
            trade_time=every[order],
            trade_price=np.append(self.trade_price, price)[order],
            trade_size=np.append(self.trade_size, size)[order],
            trade_row=np.append(self.trade_row, row)[order],
            stated=np.append(self.stated, side)[order],
            trade_new=np.append(self.trade_new, np.ones(time.size, dtype=np.bool_))[order],
        )

    def with_quotes(self, time: Integers, lots: Floats, bid_off: float = 0.0) -> "Ticks":
        """With new quotes, each a copy of the one in force, sizes times `lots`, the bid lowered by `bid_off`."""
        at = np.searchsorted(self.quote_time, time, side="right")
        row = np.append(self.standing_row, self.quote_row)[at]
        bid = np.append(self.bid, self.quote_bid)[at] - bid_off
        every = np.append(self.quote_time, time)
        order = np.argsort(every, kind="stable")
        return replace(
            self,
            quote_time=every[order],
            quote_bid=np.append(self.quote_bid, np.round(bid, 10))[order],
            quote_ask=np.append(self.quote_ask, np.append(self.ask, self.quote_ask)[at])[order],
            quote_row=np.append(self.quote_row, row)[order],
            quote_new=np.append(self.quote_new, np.ones(time.size, dtype=np.bool_))[order],
            lots=np.append(self.lots, lots)[order],
        )

    def shifted(self, times: Integers, bid: Integers, ask: Integers) -> "Ticks | None":
        """Bids and offers moved by whole ticks, `bid` and `ask` from each time on; trades move with the side they are on.

        The book is stated anew at each time, so that it follows. None where a price would not stay above zero.
        """
        restated = self.with_quotes(times, np.ones(times.size)) if self.is_quoted else self
        at = np.searchsorted(times, restated.quote_time, side="right")
        off_bid, off_ask = np.append(0, bid), np.append(0, ask)
        quote_bid = _in_ticks(restated.quote_bid, off_bid[at], self.tick)
        quote_ask = _in_ticks(restated.quote_ask, off_ask[at], self.tick)
        # At one instant a trade comes before a quote.
        when = np.searchsorted(times, self.trade_time, side="left")
        was_bid, was_ask = self.touch(self.trade_time)
        slack = 0.01 * self.tick
        middle = np.floor_divide(off_bid[when] + off_ask[when], 2)
        # In a crossed book the offer lies below the bid.
        is_crossed = was_bid > was_ask
        low_off, high_off = np.where(is_crossed, (off_ask[when], off_bid[when]), (off_bid[when], off_ask[when]))
        off = np.where(self.trade_price >= np.fmax(was_bid, was_ask) - slack, high_off, middle)
        off = np.where(self.trade_price <= np.fmin(was_bid, was_ask) + slack, low_off, off)
        price = _in_ticks(self.trade_price, off, self.tick)
        if min(price.min(initial=1.0), quote_bid.min(initial=1.0)) <= 0:
            return None
        return replace(restated, quote_bid=quote_bid, quote_ask=quote_ask, trade_price=price)


def _headed(frame: pl.DataFrame, start: int, end: int) -> pl.DataFrame:
    """The rows from `start` to `end`, after the last fifty before."""
    times = frame["time"].dt.epoch("ns")
    first, last = (int(times.search_sorted(at)) for at in (start, end))
    head = max(0, first - 50)
    return frame.slice(head, last - head)


def _stated(conditions: pl.Series) -> Integers:
    codes = conditions.cast(pl.String).to_list()
    buy, sell = str(CRYPTO_BUY_SIDE), str(CRYPTO_SELL_SIDE)
    return np.array([(buy in each.split(",")) - (sell in each.split(",")) for each in codes], dtype=np.int64)


def _in_ticks(price: Floats, off: Integers, tick: float) -> Floats:
    return np.where(off != 0, np.round(price + off * tick, 10), price)


def _moved_along(name: str, new: pl.Series, at: pl.Series) -> pl.Expr:
    return pl.when(new & pl.col(name).is_not_null()).then(at).otherwise(name)
