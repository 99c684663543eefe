"""Frames of a batch as the arrays that the compiled pass reads.

Belongs here: symbols and conditions by number, times that cannot be. Not here: any judgement of prices or volumes.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import polars as pl

from tapewatch.market.arrays import EXTENDED_SHIFT, SIDE_SHIFT, withdrawn
from tapewatch.market.conditions import STOCK_UPDATE_RULES, Updates, crypto_aggressors, update_flags
from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND, Market
from tapewatch.streaming.rules_state import Events

Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]

#: An event so far ahead of its whole batch and of the tape is stamped wrongly: it counts at the batch's time.
_AHEAD = 180 * NS_PER_SECOND
_UNKNOWN = -1
_NO_TRAITS = np.uint8(255)
_NONE_I, _NONE_F, _NONE_B = np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.bool_)
_LENGTHS = {"1s": NS_PER_SECOND, "1m": NS_PER_MINUTE}


class EventArrays:
    """Turns frames into `Events`, and remembers symbols and conditions by their category.

    Args:
        market: whose conditions hold.
        register: called with each new symbol; answers its number in the book.
    """

    def __init__(self, market: Market, register: Callable[[str], int]) -> None:
        self._market = market
        self._register = register
        self._numbers = np.full(64, _UNKNOWN, np.int64)
        self._traits = np.full(64, _NO_TRAITS, np.uint8)
        self._rules = STOCK_UPDATE_RULES if market is Market.STOCKS else {}

    def events(
        self,
        trades: pl.DataFrame | None,
        quotes: pl.DataFrame | None,
        bars: pl.DataFrame | None,
        values: pl.DataFrame | None,
        clock: int,
    ) -> tuple[Events, int | None]:
        """The rows as arrays, and the earliest time among them; None without any row."""
        trade, condition, gone = self._trade_columns(trades)
        quote = self._quote_columns(quotes, values)
        bar = self._bar_columns(bars)
        times = np.concatenate((trade[1], quote[1], bar[1]))
        if not times.size:
            return Events(*trade, condition, gone, self._traits, *quote, *bar), None
        latest = max(clock, int(np.median(times)))
        for part in (trade, quote, bar):
            part[1][part[1] > latest + _AHEAD] = latest
        return Events(*trade, condition, gone, self._traits, *quote, *bar), int(times.min())

    def number_of(self, symbol: str) -> int:
        """The number of a symbol, which is registered where it is new."""
        return int(self._symbols(pl.Series([symbol], dtype=pl.Categorical()))[0])

    def _trade_columns(
        self, frame: pl.DataFrame | None
    ) -> tuple[tuple[Int, Int, Float, Float], npt.NDArray[np.uint32], npt.NDArray[np.bool_]]:
        if frame is None or not frame.height:
            return (_NONE_I, _NONE_I, _NONE_F, _NONE_F), np.zeros(0, np.uint32), _NONE_B
        gone = withdrawn(frame["correction"])
        columns = (
            self._symbols(frame["symbol"]),
            _times(frame["time"]),
            _floats(frame["price"]),
            _floats(frame["size"]),
        )
        return columns, self._conditions(frame["conditions"]), gone if gone.size else np.zeros(frame.height, np.bool_)

    def _quote_columns(self, frame: pl.DataFrame | None, values: pl.DataFrame | None) -> tuple[Int, Int, Float, Float]:
        parts = []
        if frame is not None and frame.height:
            parts.append((frame, "bid_price", "ask_price"))
        if values is not None and values.height:
            parts.append((values, "value", "value"))
        if not parts:
            return _NONE_I, _NONE_I, _NONE_F, _NONE_F
        rows = [
            (self._symbols(f["symbol"]), _times(f["time"]), _floats(f[bid]), _floats(f[ask])) for f, bid, ask in parts
        ]
        if len(rows) == 1:
            return rows[0]
        symbol, time, bid_price, ask_price = (np.concatenate(column) for column in zip(*rows, strict=True))
        return symbol, time, bid_price, ask_price

    def _bar_columns(self, frame: pl.DataFrame | None) -> tuple[Int, Int, Int, Float, Float, Float, Float]:
        if frame is None or not frame.height:
            return (_NONE_I, _NONE_I, _NONE_I, _NONE_F, _NONE_F, _NONE_F, _NONE_F)
        clocks = frame["clock"].cast(pl.String).to_list()
        length = np.array([_LENGTHS.get(clock, NS_PER_MINUTE) for clock in clocks], np.int64)
        high, low, close, volume = (_floats(frame[name]) for name in ("high", "low", "close", "volume"))
        return self._symbols(frame["symbol"]), _times(frame["time"]) + length, length, high, low, close, volume

    def _symbols(self, column: pl.Series) -> Int:
        codes = column.to_physical().to_numpy()
        highest = int(codes.max())
        if highest >= self._numbers.size:
            self._numbers = np.pad(self._numbers, (0, highest), constant_values=_UNKNOWN)
        numbers = self._numbers[codes]
        if numbers.min() >= 0:
            found: Int = numbers
            return found
        for row in np.flatnonzero(numbers == _UNKNOWN):
            if self._numbers[codes[row]] == _UNKNOWN:
                self._numbers[codes[row]] = self._register(str(column[int(row)]))
        known: Int = self._numbers[codes]
        return known

    def _conditions(self, column: pl.Series) -> npt.NDArray[np.uint32]:
        codes = column.to_physical().to_numpy()
        highest = int(codes.max())
        if highest >= self._traits.size:
            self._traits = np.pad(self._traits, (0, highest), constant_values=_NO_TRAITS)
        traits = self._traits[codes]
        for row in np.flatnonzero(traits == _NO_TRAITS):
            if self._traits[codes[row]] == _NO_TRAITS:
                self._traits[codes[row]] = self._trait(str(column[int(row)]))
        return codes

    def _trait(self, conditions: str) -> int:
        """One byte a condition list, as `market.arrays.trade_traits` lays it out."""
        regular = int(update_flags([conditions], self._rules, is_extended=False)[0])
        extended = int(update_flags([conditions], self._rules, is_extended=True)[0])
        side = int(crypto_aggressors([conditions])[0]) if self._market is Market.CRYPTO else 0
        return regular & int(Updates.EVERYTHING) | extended << EXTENDED_SHIFT | side + 1 << SIDE_SHIFT


def _times(column: pl.Series) -> Int:
    return column.to_physical().to_numpy().astype(np.int64)


def _floats(column: pl.Series) -> Float:
    return column.to_numpy().astype(np.float64, copy=False)
