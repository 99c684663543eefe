"""A compiled scanner of plain CSV lines: numbers and short texts straight into columns, one pass, without the GIL.

It takes the lines it is sure of and names the others (signs, exponents, escapes, wrong field counts, long mantissas, bytes
beyond ASCII), which the careful path reads. Belongs here: the kernel. Not here: what columns mean (`parsing.py`).
"""

import numba
import numpy as np
import numpy.typing as npt

#: How a field is read. SKIP ignores it; SMALL is an integer of up to 32 bits; WORD takes few distinct texts as codes; TEXT
#: copies bytes.
SKIP, INT, SMALL, FLOAT, WORD, TEXT = range(6)
NULL_INT = np.iinfo(np.int64).min
NULL_SMALL = np.iinfo(np.int32).min
NULL_WORD = 0
#: Distinct texts a column may have in one round; a round ends early where they would not fit.
MAX_WORDS = 8192
WORD_SLOTS = 4 * MAX_WORDS

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_NEWLINE, _COMMA, _QUOTE, _POINT, _RETURN, _LAST_ASCII = 10, 44, 34, 46, 13, 127
_DIGIT_ZERO, _NINE = 48, 9
_MAX_DIGITS = 19
_U = np.uint64
_ONE, _TIME_WIDTH = _U(1), _U(19)
_UNSURE = _U(2**63)
_MAX_EXACT = 2**53
_POWERS = np.array([float(10**i) for i in range(_MAX_DIGITS + 1)])
_FNV_START, _FNV_PRIME = _U(14695981039346656037), _U(1099511628211)

_inline = numba.njit(nogil=True, cache=True, inline="always")


@_inline
def _digits(text: Bytes, at: np.uint64, value: np.int64) -> tuple[np.int64, np.uint64]:
    """Append the decimal digits at `at` to `value`; returns it and the position after them.

    One at a time: the processor guesses the length and runs ahead, which eight at a time by masks does not allow.
    """
    digit = np.uint8(text[at] - _DIGIT_ZERO)
    while digit <= _NINE:
        value = value * 10 + digit
        at += _ONE
        digit = np.uint8(text[at] - _DIGIT_ZERO)
    return value, at


@_inline
def _field_end(text: Bytes, at: np.uint64) -> tuple[np.uint64, np.uint64, np.uint64]:
    """Start and end of a text field at `at`, and the position of its terminator, `_UNSURE` where it is not plain."""
    if text[at] == _QUOTE:
        start = at + _ONE
        end = start
        while text[end] != _QUOTE:
            if text[end] == _NEWLINE or text[end] > _LAST_ASCII:
                return start, end, _UNSURE
            end += _ONE
        return start, end, end + _ONE
    end = at
    while text[end] != _COMMA and text[end] != _NEWLINE:
        if text[end] == _QUOTE or text[end] == _RETURN or text[end] > _LAST_ASCII:
            return at, end, _UNSURE
        end += _ONE
    return at, end, end


@_inline
def _word(
    text: Bytes, start: np.uint64, end: np.uint64, table: npt.NDArray[np.int32], bounds: Ints, count: Ints
) -> np.int64:
    """Code of the word in its column's table, entering it where new; -1 where the table is full."""
    width = np.int64(end - start)
    key = _FNV_START
    for i in range(width):
        key = (key ^ _U(text[start + _U(i)])) * _FNV_PRIME
    slot = np.int64((key ^ (key >> _U(29))) & _U(WORD_SLOTS - 1))
    while table[slot] != 0:
        code = table[slot]
        begin = bounds[code, 0]
        is_same = bounds[code, 1] - begin == width
        for i in range(width if is_same else 0):
            is_same &= text[_U(begin + i)] == text[start + _U(i)]
        if is_same:
            return np.int64(code)
        slot = (slot + 1) & (WORD_SLOTS - 1)
    if count[0] + 1 >= MAX_WORDS:
        return np.int64(-1)
    count[0] += 1
    table[slot] = count[0]
    bounds[count[0], 0] = start
    bounds[count[0], 1] = end
    return np.int64(count[0])


@_inline
def _time(text: Bytes, at: np.uint64) -> np.int64:
    """The integer of 19 digits at `at`, as times in nanoseconds are, or -1; two chains, so that they run side by side."""
    high = low = np.int64(0)
    is_wrong = np.uint8(0)
    for i in range(9):
        a = np.uint8(text[at + _U(i)] - _DIGIT_ZERO)
        b = np.uint8(text[at + _U(i + 9)] - _DIGIT_ZERO)
        is_wrong |= np.uint8(a > _NINE) | np.uint8(b > _NINE)
        high = high * 10 + a
        low = low * 10 + b
    last = np.uint8(text[at + _U(18)] - _DIGIT_ZERO)
    return np.int64(-1) if is_wrong or last > _NINE else (high * 1_000_000_000 + low) * 10 + last


@_inline
def _int(text: Bytes, at: np.uint64, limit: np.int64) -> tuple[np.int64, np.uint64]:
    """An integer, `NULL_INT` where the field is empty, and the position after it, `_UNSURE` where it is not plain."""
    if at + _TIME_WIDTH < _U(len(text)) and text[at + _TIME_WIDTH] == _COMMA:
        value = _time(text, at)
        if 0 <= value <= limit:
            return value, at + _TIME_WIDTH
    value, end = _digits(text, at, np.int64(0))
    if end == at:
        return np.int64(NULL_INT), end
    if np.int64(end - at) > _MAX_DIGITS or value < 0 or value > limit:
        return np.int64(NULL_INT), _UNSURE
    return value, end


@_inline
def _float(text: Bytes, at: np.uint64) -> tuple[float, np.uint64]:
    """A decimal number, NaN where the field is empty, and the position after it, `_UNSURE` where it is not plain."""
    mantissa, end = _digits(text, at, np.int64(0))
    digits = np.int64(end - at)
    decimals = np.int64(0)
    if text[end] == _POINT:
        point = end + _ONE
        mantissa, end = _digits(text, point, mantissa)
        decimals = np.int64(end - point)
        digits += decimals
        if digits == 0:
            return np.nan, _UNSURE
    if digits == 0:
        return np.nan, end
    if digits > _MAX_DIGITS or mantissa < 0 or mantissa > _MAX_EXACT:
        return np.nan, _UNSURE
    # Both operands are exact in binary, so the quotient is the nearest double, as a correct strtod gives.
    return mantissa / _POWERS[decimals], end


@numba.njit(nogil=True, cache=True)
def scan(
    text: Bytes,
    at: int,
    kinds: Ints,
    slots: Ints,
    limits: Ints,
    ints: Ints,
    smalls: npt.NDArray[np.int32],
    floats: Floats,
    words: npt.NDArray[np.uint32],
    tables: npt.NDArray[np.int32],
    bounds: Ints,
    counts: Ints,
    offsets: Ints,
    copies: npt.NDArray[np.uint8],
    nulls: Ints,
    lines: Ints,
    unsure: Ints,
) -> tuple[int, int, int, np.int64]:
    """Read rows from `text[at:]`, which ends in a newline, until the outputs are full.

    Args:
        kinds, slots, limits: by column: how to read it, its row in the outputs, the largest integer allowed.
        ints, smalls, floats, words: (columns of the kind, rows) outputs; null is `NULL_INT`, `NULL_SMALL`, NaN,
            `NULL_WORD`.
        tables, bounds, counts: by WORD column: zeroed hash table, (code, start and end) in `text`, [last code].
        offsets, copies: by TEXT column: Arrow offsets (rows + 1) and bytes.
        nulls: by column: how many empty fields were seen, a bound from above.
        lines: (rows) line of each row, from 0 at `at`.
        unsure: (lines, 3) line, start, end of the lines left to the careful path.

    Returns:
        rows read, unsure lines, lines passed, position reached.
    """
    here = _U(at)
    size = _U(len(text))
    rows = left = line = 0
    columns = len(kinds)
    while here < size and rows < len(lines) and left < len(unsure):
        begin = here
        is_whole = True
        for column in range(columns):
            terminator = _COMMA if column < columns - 1 else _NEWLINE
            kind = kinds[column]
            slot = slots[column]
            if kind == INT:
                ints[slot, rows], end = _int(text, here, limits[column])
            elif kind == SMALL:
                value, end = _int(text, here, limits[column])
                smalls[slot, rows] = value if value >= 0 else NULL_SMALL
            elif kind == FLOAT:
                floats[slot, rows], end = _float(text, here)
            else:
                first, last, end = _field_end(text, here)
                if end != _UNSURE and kind == WORD:
                    code = (
                        _word(text, first, last, tables[slot], bounds[slot], counts[slot])
                        if last > first
                        else NULL_WORD
                    )
                    if code < 0:
                        return rows, left, line, np.int64(begin)
                    words[slot, rows] = code
                elif end != _UNSURE and kind == TEXT:
                    base = offsets[slot, rows]
                    for i in range(np.int64(last - first)):
                        copies[slot, base + i] = text[first + _U(i)]
                    offsets[slot, rows + 1] = base + np.int64(last - first)
            if end == _UNSURE or text[end] != terminator:
                is_whole = False
                break
            if end == here:
                nulls[column] += 1
            here = end + _ONE
        if is_whole:
            lines[rows] = line
            rows += 1
        else:
            while text[here] != _NEWLINE:
                here += _ONE
            here += _ONE
            unsure[left, 0], unsure[left, 1], unsure[left, 2] = line, begin, here
            left += 1
        line += 1
    return rows, left, line, np.int64(here)
