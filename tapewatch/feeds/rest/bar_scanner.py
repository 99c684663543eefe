"""A compiled scanner of the aggregates in a page: numbers straight into columns, one pass, without the GIL.

It reads the rows it is sure of (flat objects of the known keys and plain numbers) and names the others, which the careful
path reads. The caller has proven the text to be valid JSON.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from tapewatch.market.compiled import njit

#: Rows of the float output, in order.
FLOATS: Final = ("open", "high", "low", "close", "volume", "vwap")
NULL_INT: Final = np.iinfo(np.int64).min

_OPEN, _HIGH, _LOW, _CLOSE, _VOLUME, _VWAP, _TIME, _COUNT, _UNKNOWN = range(9)
_REQUIRED = (1 << _OPEN) | (1 << _HIGH) | (1 << _LOW) | (1 << _CLOSE) | (1 << _TIME)
_QUOTE, _BACKSLASH, _COLON, _COMMA, _POINT, _SPACE = 34, 92, 58, 44, 46, 32
_LEFT_BRACE, _RIGHT_BRACE, _LEFT_BRACKET, _RIGHT_BRACKET = 123, 125, 91, 93
_ZERO, _NINE, _PLUS, _MINUS, _LOWER_E, _UPPER_E = 48, 9, 43, 45, 101, 69
_UNSURE, _FRACTION, _WHOLE = range(3)
_U = np.uint64
_STEP = _U(1)
_MAX_DIGITS = 18
_MAX_EXPONENT_DIGITS = 3
_MAX_EXACT = 2**53
# Beyond these a power of ten is no exact double, and one multiplication no longer rounds as a correct reader does.
_MAX_POWER = 22
_POWERS = np.array([float(10**i) for i in range(_MAX_POWER + 1)])

_LOWER_V, _LOWER_W = 118, 119
_FIELD_OF = np.full(256, _UNKNOWN)
for _name, _at in zip(b"ohlcvtn", (_OPEN, _HIGH, _LOW, _CLOSE, _VOLUME, _TIME, _COUNT), strict=True):
    _FIELD_OF[_name] = _at

_Bytes = npt.NDArray[np.uint8]


# Positions are unsigned: a signed index costs a test for counting from the end at every byte.
_inline = njit(nogil=True, cache=True, inline="always")


@_inline
def _skip_space(text: _Bytes, at: np.uint64) -> np.uint64:
    while text[at] <= _SPACE:
        at += _STEP
    return at


@_inline
def _digits(text: _Bytes, at: np.uint64, value: np.int64) -> tuple[np.int64, np.uint64]:
    digit = np.uint8(text[at] - _ZERO)
    while digit <= _NINE:
        value = value * 10 + digit
        at += _STEP
        digit = np.uint8(text[at] - _ZERO)
    return value, at


@_inline
def _field(text: _Bytes, at: np.uint64) -> tuple[np.int64, np.uint64]:
    """The field that the key at `at` names, and the position after its closing quote."""
    if text[at + _U(2)] == _QUOTE:
        return _FIELD_OF[text[at + _STEP]], at + _U(3)
    if text[at + _STEP] == _LOWER_V and text[at + _U(2)] == _LOWER_W and text[at + _U(3)] == _QUOTE:
        return np.int64(_VWAP), at + _U(4)
    return np.int64(_UNKNOWN), at


@_inline
def _exponent(text: _Bytes, at: np.uint64) -> tuple[np.int64, np.uint64]:
    """The exponent whose letter stands at `at`, too large for any table where it is not plain, and the position after it."""
    at += _STEP
    is_negative = text[at] == _MINUS
    if is_negative or text[at] == _PLUS:
        at += _STEP
    value, end = _digits(text, at, np.int64(0))
    if end == at or np.int64(end - at) > _MAX_EXPONENT_DIGITS:
        value = np.int64(10**_MAX_EXPONENT_DIGITS)
    return -value if is_negative else value, end


@_inline
def _number(text: _Bytes, at: np.uint64) -> tuple[np.int64, np.int64, float, np.uint64]:
    """How the number at `at` reads (`_UNSURE`, `_FRACTION`, `_WHOLE`), its value both ways, and the position after it."""
    mantissa, end = _digits(text, at, np.int64(0))
    digits, power = np.int64(end - at), np.int64(0)
    reading = np.int64(_WHOLE if digits else _UNSURE)
    if text[end] == _POINT:
        point = end + _STEP
        mantissa, end = _digits(text, point, mantissa)
        power = -np.int64(end - point)
        digits -= power
        reading = min(reading, np.int64(_FRACTION))
    if text[end] == _LOWER_E or text[end] == _UPPER_E:
        exponent, end = _exponent(text, end)
        power += exponent
        reading = min(reading, np.int64(_FRACTION))
    if digits > _MAX_DIGITS or mantissa > _MAX_EXACT or abs(power) > _MAX_POWER:
        return np.int64(_UNSURE), mantissa, 0.0, end
    # Both operands are exact in binary, so the result is the nearest double, as a correct reader gives.
    value = mantissa / _POWERS[-power] if power < 0 else mantissa * _POWERS[power]
    return reading, mantissa, value, end


@njit(nogil=True, cache=True)
def _row_end(text: _Bytes, at: np.uint64) -> np.uint64:
    """The position after the object that opens at `at`."""
    depth, is_text = 0, False
    while True:
        byte = text[at]
        if is_text:
            if byte == _BACKSLASH:
                at += _STEP
            is_text = byte != _QUOTE
        elif byte == _QUOTE:
            is_text = True
        elif byte in (_LEFT_BRACE, _LEFT_BRACKET):
            depth += 1
        elif byte in (_RIGHT_BRACE, _RIGHT_BRACKET):
            depth -= 1
            if depth == 0:
                return at + _STEP
        at += _STEP


@_inline
def _row(
    text: _Bytes, at: np.uint64, row: int, ints: npt.NDArray[np.int64], floats: npt.NDArray[np.float64]
) -> np.uint64:
    """Read the object that opens at `at` into the outputs' column `row`; the position after it, 0 where it is not plain."""
    ints[1, row] = NULL_INT
    floats[_VOLUME, row], floats[_VWAP, row] = 0.0, np.nan
    seen = np.int64(0)
    while text[at] != _RIGHT_BRACE:
        at = _skip_space(text, at + _STEP)
        if text[at] != _QUOTE:
            return _U(0)
        field, at = _field(text, at)
        if field == _UNKNOWN:
            return _U(0)
        at = _skip_space(text, at)
        if text[at] != _COLON:
            return _U(0)
        reading, whole, value, at = _number(text, _skip_space(text, at + _STEP))
        if reading == _UNSURE or (field >= _TIME and reading != _WHOLE):
            return _U(0)
        if field >= _TIME:
            ints[field - _TIME, row] = whole
        else:
            floats[field, row] = value
        seen |= 1 << field
        at = _skip_space(text, at)
        if text[at] != _COMMA and text[at] != _RIGHT_BRACE:
            return _U(0)
    return at + _STEP if seen & _REQUIRED == _REQUIRED else _U(0)


@njit(nogil=True, cache=True)
def scan(
    text: _Bytes,
    ints: npt.NDArray[np.int64],
    floats: npt.NDArray[np.float64],
    unsure: npt.NDArray[np.int64],
) -> tuple[int, int]:
    """Read the JSON array in `text`, which is valid.

    Args:
        text: the array's bytes, from its opening to its closing bracket.
        ints: (2, rows) output: window start in ms, transactions (`NULL_INT` where absent).
        floats: (6, rows) output, as `FLOATS`; vwap is NaN where absent.
        unsure: (rows, 3) output: row, start and end of each row left to the careful path.

    Returns:
        rows found, rows unsure; -1 for the first where an element is no object, or there are more than fit.
    """
    at = _skip_space(text, _STEP)
    rows = left = 0
    while text[at] != _RIGHT_BRACKET:
        if text[at] != _LEFT_BRACE or rows == len(unsure):
            return -1, left
        end = _row(text, at, rows, ints, floats)
        if end == _U(0):
            end = _row_end(text, at)
            unsure[left, 0], unsure[left, 1], unsure[left, 2] = rows, at, end
            left += 1
        rows += 1
        at = _skip_space(text, end)
        if text[at] == _COMMA:
            at = _skip_space(text, at + _STEP)
    return rows, left
