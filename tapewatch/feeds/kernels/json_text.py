"""Compiled steps over JSON text, shared by the scanners of REST pages and stream frames."""

import numpy as np

from tapewatch.feeds.kernels.pointers import Pointer, Whole
from tapewatch.market.compiled import njit

_QUOTE, _BACKSLASH, _SPACE, _TAB, _NEWLINE, _RETURN = 34, 92, 32, 9, 10, 13
_LEFT_BRACE, _RIGHT_BRACE, _LEFT_BRACKET, _RIGHT_BRACKET = 123, 125, 91, 93

_compiled = njit(nogil=True, cache=True)


@_compiled
def skip_space(text: Pointer, at: Whole) -> Whole:
    while text[at] <= _SPACE and (
        text[at] == _SPACE or text[at] == _NEWLINE or text[at] == _RETURN or text[at] == _TAB
    ):
        at += 1
    return at


@_compiled
def skip_object(text: Pointer, at: Whole) -> Whole:
    """The position after the object that opens at `at`, 0 where a NUL comes first; does not check that the object is valid."""
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
