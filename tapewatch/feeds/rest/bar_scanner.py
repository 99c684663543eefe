"""A compiled scanner of the aggregates in a page: numbers straight into columns, in one pass, without the GIL.

It parses flat objects of the known keys and plain numbers, and reports the other rows, which need the careful parser. The
text must be valid JSON.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from tapewatch.feeds.kernels.digits import decimal, whole
from tapewatch.feeds.kernels.json_text import skip_object, skip_space
from tapewatch.feeds.kernels.pointers import Pointer, Whole, pointer_to
from tapewatch.market.compiled import njit

#: Rows of the float output, in order.
FLOATS: Final = ("open", "high", "low", "close", "volume", "vwap")
NULL_INT: Final = np.iinfo(np.int64).min

_OPEN, _HIGH, _LOW, _CLOSE, _VOLUME, _VWAP, _TIME, _COUNT, _UNKNOWN = range(9)
_REQUIRED = (1 << _OPEN) | (1 << _HIGH) | (1 << _LOW) | (1 << _CLOSE) | (1 << _TIME)
_QUOTE, _COLON, _COMMA, _LOWER_V, _LOWER_W = 34, 58, 44, 118, 119
_LEFT_BRACE, _RIGHT_BRACE, _RIGHT_BRACKET = 123, 125, 93
_FIELD_OF = np.full(256, _UNKNOWN)
for _name, _at in zip(b"ohlcvtn", (_OPEN, _HIGH, _LOW, _CLOSE, _VOLUME, _TIME, _COUNT), strict=True):
    _FIELD_OF[_name] = _at

_compiled = njit(nogil=True, cache=True)


@_compiled
def _field(text: Pointer, at: Whole) -> tuple[Whole, Whole]:
    """The field that the key at `at` names, and the position after its closing quote."""
    if text[at + 2] == _QUOTE:
        return _FIELD_OF[text[at + 1]], at + 3
    if text[at + 1] == _LOWER_V and text[at + 2] == _LOWER_W and text[at + 3] == _QUOTE:
        return np.int64(_VWAP), at + 4
    return np.int64(_UNKNOWN), at


@_compiled
def _row(text: Pointer, at: Whole, row: Whole, ints: npt.NDArray[np.int64], floats: npt.NDArray[np.float64]) -> Whole:
    """Read the object that opens at `at` into the outputs' column `row`; the position after it, 0 where it is not plain."""
    ints[1, row] = NULL_INT
    floats[_VOLUME, row], floats[_VWAP, row] = 0.0, np.nan
    seen = np.int64(0)
    while text[at] != _RIGHT_BRACE:
        at = skip_space(text, at + 1)
        if text[at] != _QUOTE:
            return np.int64(0)
        field, at = _field(text, at)
        if field == _UNKNOWN:
            return np.int64(0)
        at = skip_space(text, at)
        if text[at] != _COLON:
            return np.int64(0)
        at = skip_space(text, at + 1)
        if field >= _TIME:
            number, at = whole(text, at)
            ints[field - _TIME, row], is_plain = number, number >= 0
        else:
            value, at = decimal(text, at)
            floats[field, row], is_plain = value, value >= 0
        seen |= 1 << field
        at = skip_space(text, at)
        if not is_plain or (text[at] != _COMMA and text[at] != _RIGHT_BRACE):
            return np.int64(0)
    return at + 1 if seen & _REQUIRED == _REQUIRED else np.int64(0)


@_compiled
def scan(
    source: npt.NDArray[np.uint8],
    ints: npt.NDArray[np.int64],
    floats: npt.NDArray[np.float64],
    unsure: npt.NDArray[np.int64],
) -> tuple[int, int]:
    """Read the JSON array in `source`, which is valid.

    Args:
        source: the array's bytes, from its opening to its closing bracket.
        ints: (2, rows) output: window start in ms, transactions (`NULL_INT` where absent).
        floats: (6, rows) output, as `FLOATS`; vwap is NaN where absent.
        unsure: (rows, 3) output: row, start and end of each row left to the careful parser.

    Returns:
        rows found, rows unsure; -1 for the first where an element is no object, or there are more than fit.
    """
    text = pointer_to(source)
    at = skip_space(text, np.int64(1))
    rows = left = 0
    while text[at] != _RIGHT_BRACKET:
        if text[at] != _LEFT_BRACE or rows == len(unsure):
            return -1, left
        end = _row(text, at, rows, ints, floats)
        if end == 0:
            end = skip_object(text, at)
            unsure[left, 0], unsure[left, 1], unsure[left, 2] = rows, at, end
            left += 1
        rows += 1
        at = skip_space(text, end)
        if text[at] == _COMMA:
            at = skip_space(text, at + 1)
    return rows, left
