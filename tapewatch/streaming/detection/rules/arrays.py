"""Converts the frames of a batch to the arrays that the compiled pass reads."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from tapewatch.market.arrays import EXTENDED_SHIFT, SIDE_SHIFT, withdrawn
from tapewatch.market.conditions import STOCK_UPDATE_RULES, Updates, crypto_aggressors, update_flags
from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND, Market
from tapewatch.streaming.detection.rules.state import Events

Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]

#: Events this far ahead of all others have a wrong timestamp if they are at most this share; they get the others' time.
_AHEAD = 60 * NS_PER_MINUTE
_FEW = 0.1
_RECENT = 31
_UNKNOWN = -1
_NO_TRAITS = np.uint8(255)
_CODES = pl.col("symbol", "conditions").to_physical()
_LENGTHS = {"1s": NS_PER_SECOND, "1m": NS_PER_MINUTE}

_Array = TypeVar("_Array", bound=npt.NDArray[Any])


class _ByCategory:
    """Values by the code of a category, computed once by `make` from its name; `unknown` marks those not computed yet."""

    def __init__(self, unknown: Any, make: Callable[[str], int]) -> None:
        self._unknown, self._make = unknown, make
        self.values = np.full(64, unknown)

    def of(self, column: pl.Series, codes: npt.NDArray[np.uint32]) -> Any:
        """The value of each row of a categorical column with these codes."""
        highest = int(codes.max())
        if highest >= self.values.size:
            self.values = np.pad(self.values, (0, highest), constant_values=self._unknown)
        for row in np.flatnonzero(self.values[codes] == self._unknown):
            if self.values[codes[row]] == self._unknown:
                self.values[codes[row]] = self._make(str(column[int(row)]))
        return self.values[codes]


class EventArrays:
    """Converts frames to `Events`; caches symbols and conditions by their category.

    `register` is called with each new symbol and returns its number in the book.
    """

    def __init__(self, market: Market, register: Callable[[str], int]) -> None:
        self._market = market
        self._register = register
        self._numbers = _ByCategory(np.int64(_UNKNOWN), self._register)
        self._traits = _ByCategory(np.uint8(_NO_TRAITS), self._trait)
        self._recent: Int = np.zeros(0, np.int64)
        self._latest = 0
        self._rules = STOCK_UPDATE_RULES if market is Market.STOCKS else {}

    def events(
        self, trades: pl.DataFrame, quotes: pl.DataFrame, bars: pl.DataFrame, values: pl.DataFrame | None
    ) -> tuple[Events, int | None]:
        """The rows as arrays, index `values` as quotes, and the earliest time among them; None without any row."""
        trade, condition, gone = self._trade_columns(trades)
        quote = self._quote_columns(quotes, values)
        bar = self._bar_columns(bars)
        times = np.concatenate((trade[1], quote[1], bar[1]))
        if not times.size:
            return Events(*trade, condition, gone, self._traits.values, *quote, *bar), None
        latest = self._latest_credible(times)
        for part in (trade, quote, bar):
            if part[1].size and part[1].max() > latest:
                part[1].flags.writeable = True
                np.minimum(part[1], latest, out=part[1])
                part[1].flags.writeable = False
        self._recent, self._latest = np.concatenate((self._recent, times[-_RECENT:]))[-_RECENT:], latest
        return Events(*trade, condition, gone, self._traits.values, *quote, *bar), min(latest, int(times.min()))

    def _latest_credible(self, times: Int) -> int:
        """The latest time, without a few events that are far ahead of all others."""
        latest = int(times.max())
        if not self._recent.size or latest <= self._latest + _AHEAD:
            return latest
        ordered = np.sort(np.concatenate((self._recent, times)))
        leaps = np.flatnonzero(np.diff(ordered) > _AHEAD)
        is_few = ordered.size - 1 - leaps <= _FEW * ordered.size
        return int(ordered[leaps[is_few][0]]) if is_few.any() else latest

    def number_of(self, symbol: str) -> int:
        """The number of a symbol; a new symbol is registered."""
        column = pl.Series("symbol", [symbol], dtype=pl.Categorical())
        return int(self._codes(column)[0])

    def _trade_columns(
        self, frame: pl.DataFrame
    ) -> tuple[tuple[Int, Int, Float, Float], npt.NDArray[np.uint32], npt.NDArray[np.bool_]]:
        if not frame.height:
            return (_NONE_I, _NONE_I, _NONE_F, _NONE_F), _NONE_U, _NONE_B
        gone = withdrawn(frame["correction"])
        # One query for both columns: the call costs more than the work.
        codes = frame.select(_CODES)
        symbol = _sealed(self._numbers.of(frame["symbol"], codes["symbol"].to_numpy()))
        condition = _sealed(codes["conditions"].to_numpy())
        self._traits.of(frame["conditions"], condition)
        columns = (symbol, _times(frame["time"]), _floats(frame["price"]), _floats(frame["size"]))
        return columns, condition, _sealed(gone if gone.size else np.zeros(frame.height, np.bool_))

    def _quote_columns(self, frame: pl.DataFrame, values: pl.DataFrame | None) -> tuple[Int, Int, Float, Float]:
        parts = []
        if frame.height:
            parts.append((frame, "bid_price", "ask_price"))
        if values is not None and values.height:
            parts.append((values, "value", "value"))
        if not parts:
            return _NONE_I, _NONE_I, _NONE_F, _NONE_F
        rows = [
            (self._codes(f["symbol"]), _times(f["time"]), _floats(f[bid]), _floats(f[ask])) for f, bid, ask in parts
        ]
        if len(rows) == 1:
            return rows[0]
        symbol, time, bid_price, ask_price = (np.concatenate(column) for column in zip(*rows, strict=True))
        return _sealed(symbol), _sealed(time), _sealed(bid_price), _sealed(ask_price)

    def _bar_columns(self, frame: pl.DataFrame) -> tuple[Int, Int, Int, Float, Float, Float, Float]:
        if not frame.height:
            return _NONE_I, _NONE_I, _NONE_I, _NONE_F, _NONE_F, _NONE_F, _NONE_F
        clocks = frame["clock"].to_list()
        length = np.array([_LENGTHS.get(clock, NS_PER_MINUTE) for clock in clocks], np.int64)
        high, low, close, volume = (_floats(frame[name]) for name in ("high", "low", "close", "volume"))
        ends = _sealed(_times(frame["time"]) + length)
        return self._codes(frame["symbol"]), ends, _sealed(length), high, low, close, volume

    def _codes(self, column: pl.Series) -> Int:
        return _sealed(self._numbers.of(column, column.to_physical().to_numpy()))

    def _trait(self, conditions: str) -> int:
        """One byte for a list of conditions, in the layout of `market.arrays.trade_traits`."""
        regular = int(update_flags([conditions], self._rules, is_extended=False)[0])
        extended = int(update_flags([conditions], self._rules, is_extended=True)[0])
        side = int(crypto_aggressors([conditions])[0]) if self._market is Market.CRYPTO else 0
        return regular & int(Updates.EVERYTHING) | extended << EXTENDED_SHIFT | side + 1 << SIDE_SHIFT


def _times(column: pl.Series) -> Int:
    return _sealed(column.to_numpy().view(np.int64).copy())


def _floats(column: pl.Series) -> Float:
    return _sealed(column.to_numpy().astype(np.float64, copy=False))


def _sealed(array: _Array) -> _Array:
    """Make every array read-only, so that the pass is compiled for one signature."""
    array.flags.writeable = False
    return array


_NONE_I: Int = _sealed(np.zeros(0, np.int64))
_NONE_U: npt.NDArray[np.uint32] = _sealed(np.zeros(0, np.uint32))
_NONE_F: Float = _sealed(np.zeros(0))
_NONE_B: npt.NDArray[np.bool_] = _sealed(np.zeros(0, np.bool_))
