"""A compiled scanner of plain CSV lines: numbers and short texts straight into columns, in one pass, without the GIL.

It parses the common form and reports the lines that need the careful parser (plus signs, exponents, escapes, wrong field
counts, padded texts, control characters, bytes beyond ASCII).
"""

import numpy as np
import numpy.typing as npt

from tapewatch.feeds.kernels import digits
from tapewatch.feeds.kernels.pointers import Pointer, Whole, pointer_to
from tapewatch.market.compiled import njit

#: How a field is read. SKIP ignores it; SMALL is an integer of up to 32 bits; WORD stores few distinct texts as codes; TEXT
#: copies bytes.
SKIP, INT, SMALL, FLOAT, WORD, TEXT = range(6)
NULL_INT = int(np.iinfo(np.int64).min)
NULL_SMALL = int(np.iinfo(np.int32).min)
NULL_WORD = 0
#: Longer lines are left to the careful parser, which refuses them.
MAX_LINE = 2**16
#: Distinct texts per column and round; a round ends early if there are more.
MAX_WORDS = 8192
_SLOT_BITS = 15
WORD_SLOTS = 2**_SLOT_BITS

Ints = npt.NDArray[np.int64]

_NEWLINE, _COMMA, _QUOTE, _RETURN, _SPACE = 10, 44, 34, 13, 32
#: `np.uint8(byte - _SPACE) <= _PRINTABLE` tests for a printable ASCII character.
_PRINTABLE = 126 - _SPACE
_KEY_BYTES = 8
_UNSURE = -1
_U = np.uint64
_MIXER = _U(0x9E3779B97F4A7C15)

_compiled = njit(nogil=True, cache=True)


@_compiled
def _int(text: Pointer, size: int, at: int, limit: int) -> tuple[Whole, Whole]:
    """An integer, `NULL_INT` where the field is empty, and the position after it, `_UNSURE` where it is not plain."""
    if at + digits.MAX_DIGITS < size and text[at + digits.MAX_DIGITS] == _COMMA:
        value = digits.nineteen_digits(text, at)
        if 0 <= value <= limit:
            return value, at + digits.MAX_DIGITS
    value, end = digits.digits(text, at, np.int64(0))
    if end == at:
        return NULL_INT, end
    if end - at > digits.MAX_DIGITS or value < 0 or value > limit:
        return NULL_INT, _UNSURE
    return value, end


@_compiled
def _float(text: Pointer, at: Whole) -> tuple[float, Whole]:
    """A decimal number, NaN where the field is empty, and the position after it, `_UNSURE` where it is not plain."""
    is_negative = text[at] == digits.MINUS
    start = at + 1 if is_negative else at
    mantissa, wholes, decimals, end = digits.mantissa(text, start)
    if end == at:
        return np.nan, end
    count = wholes + decimals
    value = digits.nearest(mantissa, -decimals) if 0 < count <= digits.MAX_DIGITS else -1.0
    if value < 0:
        return value, _UNSURE
    return (-value if is_negative else value), end


@_compiled
def _field(text: Pointer, at: int) -> tuple[int, int, int, np.uint64]:
    """Start and end of the text field at `at`, the position of its terminator (`_UNSURE` where the field is not plain), and
    its last eight bytes as one number."""
    key = _U(0)
    if text[at] == _QUOTE:
        end = at + 1
        while text[end] != _QUOTE:
            if np.uint8(text[end] - _SPACE) > _PRINTABLE:
                return at, end, _UNSURE, key
            key = (key << _U(8)) | _U(text[end])
            end += 1
        start, after = at + 1, end + 1
    else:
        start = end = at
        while text[end] != _COMMA:
            if text[end] == _QUOTE:
                return at, end, _UNSURE, key
            if np.uint8(text[end] - _SPACE) > _PRINTABLE:
                if text[end] == _NEWLINE or (text[end] == _RETURN and text[end + 1] == _NEWLINE):
                    break
                return at, end, _UNSURE, key
            key = (key << _U(8)) | _U(text[end])
            end += 1
        after = end
    if end > start and (text[start] == _SPACE or text[end - 1] == _SPACE):
        return start, end, _UNSURE, key
    return start, end, after, key


@_compiled
def _is_word(text: Pointer, start: int, width: int, key: np.uint64, keys: Pointer, bounds: Pointer, entry: int) -> bool:
    """Whether a word is that of a table's entry; the key decides for up to eight bytes."""
    begin = bounds[2 * entry]
    if key != keys[entry] or bounds[2 * entry + 1] - begin != width:
        return False
    if width > _KEY_BYTES:
        for i in range(width - _KEY_BYTES):
            if text[begin + i] != text[start + i]:
                return False
    return True


@_compiled
def _word(
    text: Pointer, start: int, end: int, key: np.uint64,
    table: Pointer, keys: Pointer, bounds: Pointer, seen: Pointer, slot: int,
) -> Whole:  # fmt: skip
    """Code of the word in its column's table, which gets it if it is new; -1 where the table is full."""
    width = end - start
    entries, places = slot * MAX_WORDS, slot * WORD_SLOTS
    code = seen[2 * slot + 1]
    if _is_word(text, start, width, key, keys, bounds, entries + code):
        return code
    place: Whole = np.int64((key * _MIXER) >> _U(64 - _SLOT_BITS))
    while table[places + place] != 0:
        code = int(table[places + place])
        if _is_word(text, start, width, key, keys, bounds, entries + code):
            seen[2 * slot + 1] = code
            return code
        place = (place + 1) & (WORD_SLOTS - 1)
    code = seen[2 * slot] + 1
    if code >= MAX_WORDS:
        return -1
    seen[2 * slot] = seen[2 * slot + 1] = code
    table[places + place] = np.int32(code)
    keys[entries + code] = key
    bounds[2 * (entries + code)] = start
    bounds[2 * (entries + code) + 1] = end
    return code


@_compiled
def scan(
    source: npt.NDArray[np.uint8],
    at: int,
    kinds: Ints,
    slots: Ints,
    limits: Ints,
    ints: Ints,
    smalls: npt.NDArray[np.int32],
    floats: npt.NDArray[np.float64],
    words: npt.NDArray[np.uint32],
    tables: npt.NDArray[np.int32],
    keys: npt.NDArray[np.uint64],
    bounds: Ints,
    seen: Ints,
    offsets: Ints,
    copies: npt.NDArray[np.uint8],
    nulls: Ints,
    lines: Ints,
    unsure: Ints,
) -> tuple[int, int, int, int]:
    """Read rows from `source[at:]`, which ends in a newline, until the outputs are full.

    Args:
        kinds, slots, limits: by column: how to read it, its row in the outputs, the largest integer allowed.
        ints, smalls, floats, words: (columns of the kind, rows) outputs; null is `NULL_INT`, `NULL_SMALL`, NaN,
            `NULL_WORD`.
        tables, keys, bounds, seen: by WORD column: hash table, key by code, start and end in `source` by code, and the
            codes last entered and last seen; all zero at first.
        offsets, copies: by TEXT column: Arrow offsets (rows + 1) and bytes.
        nulls: by column: an upper bound on the number of empty fields.
        lines: (rows) line of each row, from 0 at `at`.
        unsure: (lines, 3) line, start, end of the lines left to the careful parser.

    Returns:
        rows read, unsure lines, lines passed, position reached.
    """
    text, table, key_of, bound_of, last_of = (
        pointer_to(source), pointer_to(tables), pointer_to(keys), pointer_to(bounds), pointer_to(seen),
    )  # fmt: skip
    size, columns = len(source), len(kinds)
    rows = left = line = 0
    while at < size and rows < len(lines) and left < len(unsure):
        begin = at
        is_whole = True
        for column in range(columns):
            kind = kinds[column]
            slot = slots[column]
            if kind == INT:
                ints[slot, rows], end = _int(text, size, at, limits[column])
            elif kind == FLOAT:
                floats[slot, rows], end = _float(text, at)
            elif kind == SMALL:
                value, end = _int(text, size, at, limits[column])
                smalls[slot, rows] = value if value >= 0 else NULL_SMALL
            else:
                first, last, end, key = _field(text, at)
                if end != _UNSURE and kind == WORD:
                    code = NULL_WORD
                    if last > first:
                        code = _word(text, first, last, key, table, key_of, bound_of, last_of, slot)
                    if code < 0:
                        return rows, left, line, begin
                    words[slot, rows] = code
                elif end != _UNSURE and kind == TEXT:
                    base = offsets[slot, rows]
                    for i in range(last - first):
                        copies[slot, base + i] = text[first + i]
                    offsets[slot, rows + 1] = base + last - first
                nulls[column] += last == first
            is_null = end == at
            is_last = column == columns - 1
            if is_last and end != _UNSURE and text[end] == _RETURN:
                # The next comparison fails unless a newline follows.
                end += 1
            if end == _UNSURE or text[end] != (_NEWLINE if is_last else _COMMA):
                is_whole = False
                break
            nulls[column] += is_null
            at = end + 1
        if is_whole and at - begin <= MAX_LINE:
            lines[rows] = line
            rows += 1
        else:
            at = begin
            while text[at] != _NEWLINE:
                at += 1
            at += 1
            unsure[left, 0], unsure[left, 1], unsure[left, 2] = line, begin, at
            left += 1
        line += 1
    return rows, left, line, at
