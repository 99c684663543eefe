"""Compiled readers of the tokens of JSON, as far as they are plain: numbers without signs, texts without escapes.

What they are not sure of they leave: a negative number or position says so. Every text they read ends in a NUL, at which
each of them stops.
"""

import math

import numpy as np

from tapewatch.feeds.kernels.pointers import Pointer, Whole
from tapewatch.feeds.stream.decode.fields import MAX_KEY_BYTES
from tapewatch.feeds.stream.decode.times import EARLIEST_S, LATEST_S
from tapewatch.market.compiled import njit

_QUOTE, _BACKSLASH, _COMMA, _POINT, _SPACE, _COLON = 34, 92, 44, 46, 32, 58
_LEFT_BRACE, _RIGHT_BRACE, _LEFT_BRACKET, _RIGHT_BRACKET = 123, 125, 91, 93
_ZERO, _NINE, _PLUS, _MINUS, _LOWER_E, _UPPER_E, _LOWER_A, _LOWER_Z, _LAST_ASCII = 48, 9, 43, 45, 101, 69, 97, 122, 127
_TAB, _NEWLINE, _RETURN = 9, 10, 13
_TRUE, _FALSE, _NULL = (int.from_bytes(word, "big") for word in (b"true", b"false", b"null"))
_LONGEST_WORD, _DEEPEST = 5, 32
_MAX_DIGITS, _MAX_EXACT, _MAX_POWER, _MAX_EXPONENT_DIGITS = 19, 2**53, 22, 3
_LONGEST_MANTISSA = 10**18
# Multiplied by this, a double parts into halves whose products are exact.
_SPLITTER = 2.0**27 + 1
# Half a unit in the last place, but for what the quotient may be off; below a power of two the units are others.
_NEARLY, _POWER_OF_TWO = 1 - 2.0**-20, 0.5
# Powers of ten up to here are exact in binary.
_POWERS = np.array([float(10**i) for i in range(_MAX_POWER + 1)])
_U = np.uint64
_HASH_SEED, _HASH_PRIME = _U(0xCBF29CE484222325), _U(0x100000001B3)
_MS, _US, _NS = 1_000, 1_000_000, 1_000_000_000

_compiled = njit(nogil=True, cache=True)


@_compiled
def skip_space(text: Pointer, at: Whole) -> Whole:
    while text[at] <= _SPACE and (
        text[at] == _SPACE or text[at] == _NEWLINE or text[at] == _RETURN or text[at] == _TAB
    ):
        at += 1
    return at


@_compiled
def _digits(text: Pointer, at: Whole, value: Whole) -> tuple[Whole, Whole]:
    digit = np.uint8(text[at] - _ZERO)
    while digit <= _NINE:
        value = value * 10 + digit
        at += 1
        digit = np.uint8(text[at] - _ZERO)
    return value, at


@_compiled
def whole(text: Pointer, at: Whole) -> tuple[Whole, Whole]:
    """The integer at `at`, -1 where it is not plain, and the position after it."""
    value, end = _digits(text, at, np.int64(0))
    digits = end - at
    if digits == 0 or digits > _MAX_DIGITS or (text[at] == _ZERO and digits > 1):
        return np.int64(-1), end
    if text[end] == _POINT or text[end] == _LOWER_E or text[end] == _UPPER_E:
        return np.int64(-1), end
    return value, end


@_compiled
def _long_quotient(mantissa: Whole, divisor: float) -> float:
    """The double nearest to the quotient of an integer beyond 2**53 and an exact one, -1 where it is too close to call.

    The quotient is found to twice a double's precision: a first guess, and the remainder's share (Dekker 1971).
    """
    if mantissa > _LONGEST_MANTISSA:
        return -1.0
    high = np.float64(mantissa)
    low = np.float64(mantissa - np.int64(high))
    guess = high / divisor
    product = guess * divisor
    guess_high = _SPLITTER * guess - (_SPLITTER * guess - guess)
    divisor_high = _SPLITTER * divisor - (_SPLITTER * divisor - divisor)
    guess_low, divisor_low = guess - guess_high, divisor - divisor_high
    rest = guess_low * divisor_low - (
        ((product - guess_high * divisor_high) - guess_low * divisor_high) - guess_high * divisor_low
    )
    share = (((high - product) - rest) + low) / divisor
    value = guess + share
    missed = abs(share - (value - guess))
    fraction, exponent = math.frexp(value)
    is_clear = missed < math.ldexp(_NEARLY, exponent - 54) and fraction != _POWER_OF_TWO
    return value if is_clear else -1.0


@_compiled
def decimal(text: Pointer, at: Whole) -> tuple[float, Whole]:
    """The number at `at`, -1 where it is not plain, and the position after it."""
    mantissa, end = _digits(text, at, np.int64(0))
    digits, power = end - at, 0
    if digits == 0 or (text[at] == _ZERO and digits > 1):
        return -1.0, end
    if text[end] == _POINT:
        point = end + 1
        mantissa, end = _digits(text, point, mantissa)
        power = point - end
        digits -= power
        if power == 0:
            return -1.0, end
    if text[end] == _LOWER_E or text[end] == _UPPER_E:
        end += 1
        is_negative = text[end] == _MINUS
        if is_negative or text[end] == _PLUS:
            end += 1
        start = end
        exponent, end = _digits(text, start, np.int64(0))
        if end == start or end - start > _MAX_EXPONENT_DIGITS:
            return -1.0, end
        power += -exponent if is_negative else exponent
    if digits > _MAX_DIGITS or mantissa < 0 or power > _MAX_POWER or power < -_MAX_POWER:
        return -1.0, end
    if mantissa > _MAX_EXACT:
        return (_long_quotient(mantissa, _POWERS[-power]) if -_MAX_POWER <= power <= 0 else -1.0), end
    # Both operands are exact in binary, so the result is the nearest double, as a correct reader gives.
    return (mantissa / _POWERS[-power] if power < 0 else mantissa * _POWERS[power]), end


@_compiled
def plain_text(text: Pointer, at: Whole) -> tuple[Whole, np.uint64]:
    """The position of the closing quote of the text that begins at `at`, -1 where it is not plain, and the text's hash."""
    code = _HASH_SEED
    while text[at] != _QUOTE:
        byte = text[at]
        if byte < _SPACE or byte == _BACKSLASH or byte > _LAST_ASCII:
            return np.int64(-1), code
        code = (code ^ _U(byte)) * _HASH_PRIME
        at += 1
    return at, code


@_compiled
def short_name(text: Pointer, at: Whole) -> tuple[np.uint64, Whole]:
    """The name in quotes at `at` packed into a number, 0 where it is not plain or too long, and the position after it."""
    if text[at] != _QUOTE:
        return _U(0), at
    at += 1
    start, key = at, _U(0)
    while text[at] != _QUOTE:
        byte = text[at]
        if byte < _SPACE or byte == _BACKSLASH or byte > _LAST_ASCII or at - start == MAX_KEY_BYTES:
            return _U(0), at
        key = (key << _U(8)) | _U(byte)
        at += 1
    return key, at + 1


@_compiled
def skip_object(text: Pointer, at: Whole) -> Whole:
    """The position after the object that opens at `at`, 0 where the text ends in it. Whether it is sound is not looked at."""
    depth, is_text = 0, False
    while text[at] != 0:
        byte = text[at]
        at += 1
        if is_text:
            if byte == _BACKSLASH and text[at] != 0:
                at += 1
            is_text = byte != _QUOTE
        elif byte == _QUOTE:
            is_text = True
        elif byte in (_LEFT_BRACE, _LEFT_BRACKET):
            depth += 1
        elif byte in (_RIGHT_BRACE, _RIGHT_BRACKET):
            depth -= 1
            if depth == 0:
                return at
    return np.int64(0)


@_compiled
def code_list(text: Pointer, at: Whole) -> tuple[Whole, Whole, np.uint64, Whole]:
    """Start, end and hash of the digits and commas at `at`, bracketed or one number, and the position after; 0 where unsure."""
    is_list = text[at] == _LEFT_BRACKET
    start = at + 1 if is_list else at
    end, code = start, _HASH_SEED
    while np.uint8(text[end] - _ZERO) <= _NINE or (is_list and text[end] == _COMMA):
        code = (code ^ _U(text[end])) * _HASH_PRIME
        end += 1
    if is_list:
        return start, end, code, (end + 1 if text[end] == _RIGHT_BRACKET else np.int64(0))
    return start, end, code, (end if end > start else np.int64(0))


@_compiled
def nanoseconds(value: Whole) -> Whole:
    """A time in s, ms, µs or ns as ns, -1 where it fits none."""
    if EARLIEST_S * _MS <= value < LATEST_S * _MS:
        return value * _US
    if EARLIEST_S * _NS <= value < LATEST_S * _NS:
        return value
    if EARLIEST_S * _US <= value < LATEST_S * _US:
        return value * _MS
    if EARLIEST_S <= value < LATEST_S:
        return value * _NS
    return np.int64(-1)


@_compiled
def _skip_plain(text: Pointer, at: Whole) -> Whole:
    """The position after a text, a number, true, false or null; 0 where it is none or not plain."""
    if text[at] == _QUOTE:
        end, _ = plain_text(text, at + 1)
        return end + 1 if end >= 0 else np.int64(0)
    if text[at] == _MINUS or np.uint8(text[at] - _ZERO) <= _NINE:
        value, end = decimal(text, at + 1 if text[at] == _MINUS else at)
        return end if value >= 0 else np.int64(0)
    word, end = np.int64(0), at
    while _LOWER_A <= text[end] <= _LOWER_Z and end - at <= _LONGEST_WORD:
        word = (word << 8) | text[end]
        end += 1
    return end if word in (_TRUE, _FALSE, _NULL) else np.int64(0)


@_compiled
def _skip_key(text: Pointer, at: Whole) -> Whole:
    """The position of the value of the member whose key stands at `at`; 0 where it is not plain."""
    at = skip_space(text, at)
    if text[at] != _QUOTE:
        return np.int64(0)
    end, _ = plain_text(text, at + 1)
    if end < 0:
        return np.int64(0)
    at = skip_space(text, end + 1)
    return skip_space(text, at + 1) if text[at] == _COLON else np.int64(0)


@_compiled
def skip_any(text: Pointer, at: Whole) -> Whole:
    """The position after a value of plain ones, lists and objects up to `_DEEPEST` deep; 0 where it is none."""
    # One bit for each list or object that is open, the innermost lowest: 1 is an object.
    depth, kinds = 0, np.int64(0)
    while True:
        if text[at] in (_LEFT_BRACE, _LEFT_BRACKET):
            is_object = text[at] == _LEFT_BRACE
            depth, kinds = depth + 1, (kinds << 1) | is_object
            at = skip_space(text, at + 1)
            if depth > _DEEPEST:
                return np.int64(0)
            if text[at] != (_RIGHT_BRACE if is_object else _RIGHT_BRACKET):
                at = _skip_key(text, at) if is_object else at
                if at == 0:
                    return at
                continue
        else:
            at = _skip_plain(text, at)
            if at == 0 or depth == 0:
                return at
            at = skip_space(text, at)
        while depth > 0 and text[at] == (_RIGHT_BRACE if kinds & 1 else _RIGHT_BRACKET):
            depth, kinds = depth - 1, kinds >> 1
            at = at + 1 if depth == 0 else skip_space(text, at + 1)
        if depth == 0:
            return at
        if text[at] != _COMMA:
            return np.int64(0)
        at = _skip_key(text, at + 1) if kinds & 1 else skip_space(text, at + 1)
        if at == 0:
            return at
