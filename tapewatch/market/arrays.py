"""Frames of the tape as arrays for compiled kernels, without a copy where possible."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from tapewatch.market.conditions import Updates, crypto_aggressors, sign_flags, update_flags
from tapewatch.market.instruments import Market, Session

Array = npt.NDArray[Any]

#: Bit positions in a trade's traits, see `trade_traits`.
EXTENDED_SHIFT = 3
SIDE_SHIFT, SIDE_MASK = 6, 3
SIGNED_SHIFT = 8
#: One more than the largest value of a trade's traits.
TRAITS = 1 << 10
_FIRST_WITHDRAWN = 7


class SessionBounds(NamedTuple):
    """Bounds of a session for kernels: int64 nanoseconds UTC, half-open."""

    day_start: int
    day_end: int
    regular_start: int
    regular_end: int


class FlatTrades(NamedTuple):
    """Trades as arrays; symbol `i` has rows `offsets[i]` to `offsets[i + 1]`.

    `condition` indexes `traits` (see `trade_traits`); `withdrawn` is empty where no trade is.
    """

    offsets: Array
    time: Array
    price: Array
    size: Array
    condition: Array
    traits: Array
    withdrawn: Array


def session_bounds(session: Session) -> SessionBounds:
    """A session's `SessionBounds`."""
    return SessionBounds(session.day_start, session.day_end, session.regular_start, session.regular_end)


def flat_trades(
    trades: pl.DataFrame,
    session: Session,
    rules: Mapping[int, Updates],
    exclude_price_codes: Sequence[int] = (),
) -> tuple[tuple[str, ...], FlatTrades]:
    """The symbols of sorted `TRADES` rows, in order, and the rows as arrays.

    Raises:
        ValueError: symbols are out of order, or one of them comes twice.
    """
    symbols, offsets = symbol_runs(trades)
    return symbols, FlatTrades(
        offsets,
        flat(trades["time"]),
        flat(trades["price"]),
        flat(trades["size"]),
        flat(trades["conditions"]),
        trade_traits(trades["conditions"], session, rules, exclude_price_codes),
        withdrawn(trades["correction"]),
    )


def flat(column: pl.Series, *, null: float | None = None) -> Array:
    """A column as one read-only NumPy array: times as int64 nanoseconds, categories as their codes.

    Shares memory with the column unless that has several chunks or nulls. Nulls of floats become NaN; those of other types
    need a value in `null`.
    """
    # By dtype, since `to_physical` costs as much as the rest of a small frame.
    if column.dtype.is_numeric():
        physical = column.rechunk()
    else:
        physical = (column.cast(pl.Int64) if column.dtype.is_temporal() else column.to_physical()).rechunk()
    if physical.null_count() and null is not None:
        physical = physical.fill_null(null)
    return of_one_type(physical.to_numpy())


def of_one_type(array: Array) -> Array:
    """The array in C order and read-only; a view where it is in C order already.

    To Numba arrays that may be written, or lie in another order, have types of their own, each of which is compiled. Which
    of them Polars returns depends on where it has put the columns.
    """
    shown = np.ascontiguousarray(array).view()
    shown.flags.writeable = False
    return shown


def symbol_runs(frame: pl.DataFrame) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
    """The symbols of a sorted frame and their rows: symbol `i` has rows `offsets[i]` to `offsets[i + 1]`.

    Raises:
        ValueError: symbols are out of order, or one of them comes twice.
    """
    codes = flat(frame["symbol"])
    starts = np.flatnonzero(codes[1:] != codes[:-1]) + 1
    offsets = np.concatenate(([0], starts, [codes.size])) if codes.size else np.zeros(1, dtype=np.int64)
    symbols = frame["symbol"].gather(offsets[:-1]).cast(pl.String).to_list()
    for before, after in itertools.pairwise(symbols):
        if before >= after:
            raise ValueError(f"{after} comes after {before}: rows must be sorted by symbol, then time")
    return tuple(symbols), offsets


def trade_traits(
    conditions: pl.Series,
    session: Session,
    rules: Mapping[int, Updates],
    exclude_price_codes: Sequence[int] = (),
) -> npt.NDArray[np.uint16]:
    """One number for each condition list, by its physical code.

    Bits 0 to 2 are the `Updates` of a trade in regular hours, bits 3 to 5 of one outside them, bits 6 and 7 the stated
    aggressor plus one. Bits 8 (in regular hours) and 9 (outside) mark a trade that has a side although it sets no last price,
    see `conditions.sign_flags`. Only stocks have update rules; only crypto states the aggressor.

    Args:
        conditions: the trades' categorical condition lists.
        session: the day; only its market matters.
        rules: code to allowed fields.
        exclude_price_codes: codes whose trades set no price in regular hours, whatever the rules say.
    """
    distinct = conditions.unique().drop_nulls()
    codes = distinct.to_physical().to_numpy()
    texts = distinct.cast(pl.String).to_list()
    if session.market is not Market.STOCKS:
        rules = {}
    excluded = {code: rules.get(code, Updates.EVERYTHING) & ~Updates.PRICE for code in exclude_price_codes}
    regular = update_flags(texts, {**rules, **excluded}, is_extended=False)
    extended = update_flags(texts, rules, is_extended=True)
    sides = crypto_aggressors(texts) if session.market is Market.CRYPTO else np.zeros(len(texts), dtype=np.int8)
    signed = [sign_flags(texts, rules, is_extended=is_extended).astype(np.uint16) for is_extended in (False, True)]
    traits = np.zeros(int(codes.max()) + 1 if codes.size else 1, dtype=np.uint16)
    traits[codes] = regular | extended << EXTENDED_SHIFT | (sides + 1).astype(np.uint16) << SIDE_SHIFT
    traits[codes] |= (signed[0] | signed[1] << 1) << SIGNED_SHIFT
    return traits


def withdrawn(correction: pl.Series) -> npt.NDArray[np.bool_]:
    """Which rows count for nothing: trades marked as error (7) or cancelled (8), and records about trades (10, 11, 12).

    A late-corrected trade (1) holds the corrected values and counts; the correction record (12) repeats them. The array is
    empty if no row is marked.
    """
    highest = correction.max()
    if not isinstance(highest, int) or highest < _FIRST_WITHDRAWN:
        marked = np.zeros(0, dtype=np.bool_)
    else:
        marked = (correction >= _FIRST_WITHDRAWN).fill_null(value=False).to_numpy()
    marked.flags.writeable = False
    return marked
