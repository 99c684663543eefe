"""Compiled readers of unsigned numbers in text, shared by the scanners of files, REST pages and stream frames.

Each returns a value and the position after it; a negative value means that the number has a form, or a size, for which the
caller must use its slower parser.
"""

import math

import numpy as np

from tapewatch.feeds.kernels.pointers import Pointer, Whole, eight_bytes
from tapewatch.market.compiled import njit

#: `np.uint8(byte - ZERO) <= NINE` tests for a digit.
ZERO, NINE = 48, 9
#: More digits may overflow an int64 without turning its sign.
MAX_DIGITS = 19
POINT, MINUS, PLUS, LOWER_E, UPPER_E = 46, 45, 43, 101, 69

_MAX_EXACT, _MAX_POWER, _MAX_EXPONENT_DIGITS = 2**53, 22, 3
_LONGEST_MANTISSA = 10**18
# Multiplied by this, a double splits into halves whose products are exact.
_SPLITTER = 2.0**27 + 1
# Half a unit in the last place, less the error of the quotient; below a power of two the units are others.
_NEARLY, _POWER_OF_TWO = 1 - 2.0**-20, 0.5
# Powers of ten up to here are exact in binary.
_POWERS = np.array([float(10**i) for i in range(_MAX_POWER + 1)])
_U = np.uint64
_SIXES, _THREES = _U(0x0606060606060606), _U(0x3030303030303030)
_UPPER_HALVES, _LOWER_HALVES = _U(0xF0F0F0F0F0F0F0F0), _U(0x0F0F0F0F0F0F0F0F)
_EVERY_SECOND, _EVERY_FOURTH = _U(0x00FF00FF00FF00FF), _U(0x0000FFFF0000FFFF)

_compiled = njit(nogil=True, cache=True)


@_compiled
def digits(text: Pointer, at: Whole, value: Whole) -> tuple[Whole, Whole]:
    """Append the decimal digits at `at` to `value`.

    One at a time: the processor predicts the length and runs ahead, which eight at a time by masks does not allow. Unsigned,
    because the compiler takes it that signed numbers never overflow, and drops the callers' tests of the sign.
    """
    total = _U(value)
    digit = np.uint8(text[at] - ZERO)
    while digit <= NINE:
        total = total * _U(10) + _U(digit)
        at += 1
        digit = np.uint8(text[at] - ZERO)
    return np.int64(total), at


@_compiled
def _are_digits(eight: np.uint64) -> bool:
    """Whether all eight bytes are digits: each has 3 in its upper half, and still when six is added."""
    return bool((eight & (eight + _SIXES) & _UPPER_HALVES) == _THREES)


@_compiled
def _eight_digits(eight: np.uint64) -> np.uint64:
    """The number of eight digits, the first in the lowest byte: joined to pairs, then fours, then all."""
    pairs = (eight & _LOWER_HALVES) * _U(10 * 2**8 + 1) >> _U(8)
    fours = (pairs & _EVERY_SECOND) * _U(100 * 2**16 + 1) >> _U(16)
    return (fours & _EVERY_FOURTH) * _U(10_000 * 2**32 + 1) >> _U(32)


@_compiled
def nineteen_digits(text: Pointer, at: Whole) -> Whole:
    """The integer of 19 digits at `at`, such as a time in nanoseconds; read eight at a time, as the length is known."""
    high, low = eight_bytes(text, at), eight_bytes(text, at + 8)
    if not (_are_digits(high) and _are_digits(low)):
        return -1
    total = _eight_digits(high) * _U(100_000_000) + _eight_digits(low)
    for i in range(16, MAX_DIGITS):
        digit = np.uint8(text[at + i] - ZERO)
        if digit > NINE:
            return -1
        total = total * _U(10) + _U(digit)
    return np.int64(total)


@_compiled
def whole(text: Pointer, at: Whole) -> tuple[Whole, Whole]:
    """The integer at `at`, as JSON allows it; -1 for a number with a point or an exponent."""
    value, end = digits(text, at, np.int64(0))
    count = end - at
    if count == 0 or count > MAX_DIGITS or (text[at] == ZERO and count > 1):
        return np.int64(-1), end
    if text[end] == POINT or text[end] == LOWER_E or text[end] == UPPER_E:
        return np.int64(-1), end
    return value, end


@_compiled
def mantissa(text: Pointer, at: Whole) -> tuple[Whole, Whole, Whole, Whole]:
    """The digits at `at`, with or without a point: their value, how many lie before and after the point, and the end."""
    value, end = digits(text, at, np.int64(0))
    wholes, decimals = end - at, 0
    if text[end] == POINT:
        point = end + 1
        value, end = digits(text, point, value)
        decimals = end - point
    return value, wholes, decimals, end


@_compiled
def decimal(text: Pointer, at: Whole) -> tuple[float, Whole]:
    """The number at `at`, as JSON allows it, as the nearest double."""
    value, wholes, decimals, end = mantissa(text, at)
    power = -decimals
    if wholes == 0 or (wholes > 1 and text[at] == ZERO) or (decimals == 0 and end > at + wholes):
        return -1.0, end
    if text[end] == LOWER_E or text[end] == UPPER_E:
        end += 1
        is_negative = text[end] == MINUS
        if is_negative or text[end] == PLUS:
            end += 1
        start = end
        exponent, end = digits(text, start, np.int64(0))
        if end == start or end - start > _MAX_EXPONENT_DIGITS:
            return -1.0, end
        power += -exponent if is_negative else exponent
    return (nearest(value, power) if wholes + decimals <= MAX_DIGITS else -1.0), end


@_compiled
def nearest(value: Whole, power: Whole) -> float:
    """The double nearest to `value` times ten to the `power`, -1 where it is too close to call or `value` has overflowed."""
    if value < 0 or power > _MAX_POWER or power < -_MAX_POWER:
        return -1.0
    if value > _MAX_EXACT:
        return _long_quotient(value, _POWERS[-power]) if power <= 0 else -1.0
    # Both operands are exact in binary, so the result is the nearest double, as a correct parser gives.
    scaled: float = value / _POWERS[-power] if power < 0 else value * _POWERS[power]
    return scaled


@_compiled
def _long_quotient(value: Whole, divisor: float) -> float:
    """The double nearest to the quotient of an integer beyond 2**53 and an exact one, -1 where it is too close to call.

    The quotient is computed to twice a double's precision: a first guess, and the remainder's share (Dekker 1971).
    """
    if value > _LONGEST_MANTISSA:
        return -1.0
    high = np.float64(value)
    low = np.float64(value - np.int64(high))
    guess = high / divisor
    product = guess * divisor
    guess_high = _SPLITTER * guess - (_SPLITTER * guess - guess)
    divisor_high = _SPLITTER * divisor - (_SPLITTER * divisor - divisor)
    guess_low, divisor_low = guess - guess_high, divisor - divisor_high
    rest = guess_low * divisor_low - (
        ((product - guess_high * divisor_high) - guess_low * divisor_high) - guess_high * divisor_low
    )
    share = (((high - product) - rest) + low) / divisor
    quotient = guess + share
    missed = abs(share - (quotient - guess))
    fraction, exponent = math.frexp(quotient)
    is_clear = missed < math.ldexp(_NEARLY, exponent - 54) and fraction != _POWER_OF_TWO
    return quotient if is_clear else -1.0
