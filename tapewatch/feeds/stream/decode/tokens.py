"""Compiled readers of the plain tokens of JSON: unsigned numbers, texts without escapes.

For any other token they return a negative number or position. Every text must end in a NUL, at which they stop.
"""

import numpy as np

from tapewatch.feeds.kernels.digits import MINUS, NINE, ZERO, decimal
from tapewatch.feeds.kernels.json_text import skip_space
from tapewatch.feeds.kernels.pointers import Pointer, Whole
from tapewatch.feeds.stream.decode.fields import MAX_KEY_BYTES
from tapewatch.feeds.stream.decode.times import EARLIEST_S, LATEST_S
from tapewatch.market.compiled import njit

_QUOTE, _BACKSLASH, _COMMA, _SPACE, _COLON = 34, 92, 44, 32, 58
_LEFT_BRACE, _RIGHT_BRACE, _LEFT_BRACKET, _RIGHT_BRACKET = 123, 125, 91, 93
_LOWER_A, _LOWER_Z, _LAST_ASCII = 97, 122, 127
_TRUE, _FALSE, _NULL = (int.from_bytes(word, "big") for word in (b"true", b"false", b"null"))
_LONGEST_WORD, _DEEPEST = 5, 32
_U = np.uint64
_HASH_SEED, _HASH_PRIME = _U(0xCBF29CE484222325), _U(0x100000001B3)
_MS, _US, _NS = 1_000, 1_000_000, 1_000_000_000

_compiled = njit(nogil=True, cache=True)


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
def code_list(text: Pointer, at: Whole) -> tuple[Whole, Whole, np.uint64, Whole]:
    """Start, end and hash of the digits and commas at `at`, bracketed or one number, and the position after; 0 where unsure."""
    is_list = text[at] == _LEFT_BRACKET
    start = at + 1 if is_list else at
    end, code = start, _HASH_SEED
    while np.uint8(text[end] - ZERO) <= NINE or (is_list and text[end] == _COMMA):
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
    """The position after a text, a number, true, false or null; 0 where it is not plain."""
    if text[at] == _QUOTE:
        end, _ = plain_text(text, at + 1)
        return end + 1 if end >= 0 else np.int64(0)
    if text[at] == MINUS or np.uint8(text[at] - ZERO) <= NINE:
        value, end = decimal(text, at + 1 if text[at] == MINUS else at)
        return end if value >= 0 else np.int64(0)
    word, end = np.int64(0), at
    while _LOWER_A <= text[end] <= _LOWER_Z and end - at <= _LONGEST_WORD:
        word = (word << 8) | text[end]
        end += 1
    return end if word in (_TRUE, _FALSE, _NULL) else np.int64(0)


@_compiled
def _skip_key(text: Pointer, at: Whole) -> Whole:
    """The position of the value of the member whose key is at `at`; 0 where it is not plain."""
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
    """The position after a value of plain tokens, nested up to `_DEEPEST` deep; 0 where it is not one."""
    # One bit per open list (0) or object (1), the innermost lowest.
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
