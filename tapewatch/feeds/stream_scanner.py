"""A compiled scanner of stream frames: numbers straight into the room for rows, many frames in one pass, without the GIL.

It takes frames of which it is sure that the careful reader would take every event, and in the same way: flat objects of known
keys, plain numbers, words it has seen before. At any other it stops, as if that frame were not there. Frames are separated by a
NUL, which no JSON text holds: it ends every loop. Belongs here: the kernel. Not here: what fields mean (`stream_plan.py`).
"""

from typing import Final

import numba
import numpy as np
import numpy.typing as npt

from tapewatch.feeds import stream_plan as sp
from tapewatch.feeds.pointers import pointer_to
from tapewatch.feeds.scanner import Pointer, Whole
from tapewatch.feeds.stream_rows import BAR, NULL_INT, TRADE
from tapewatch.feeds.stream_times import EARLIEST_S, LATEST_S

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bytes = npt.NDArray[np.uint8]
Codes = npt.NDArray[np.uint64]

#: NULs after the last frame, so that no look ahead leaves the text.
PADDING: Final = 16
_QUOTE, _BACKSLASH, _COLON, _COMMA, _POINT, _SPACE = 34, 92, 58, 44, 46, 32
_LEFT_BRACE, _RIGHT_BRACE, _LEFT_BRACKET, _RIGHT_BRACKET = 123, 125, 91, 93
_ZERO, _NINE, _PLUS, _MINUS, _LOWER_E, _UPPER_E, _LAST_ASCII = 48, 9, 43, 45, 101, 69, 127
_TAB, _NEWLINE, _RETURN = 9, 10, 13
_TRUE, _FALSE, _NULL = (int.from_bytes(word, "big") for word in (b"true", b"false", b"null"))
_MAX_DIGITS, _MAX_EXACT, _MAX_POWER, _MAX_EXPONENT_DIGITS = 19, 2**53, 22, 3
_POWERS = np.array([float(10**i) for i in range(_MAX_POWER + 1)])
_U = np.uint64
_HASH_SEED, _HASH_PRIME = _U(0xCBF29CE484222325), _U(0x100000001B3)
_MIXER, _KEY_SHIFT, _KEY_MASK = _U(sp.KEY_MIXER), _U(64 - sp.KEY_BITS), 2**sp.KEY_BITS - 1
_EV = _U(int.from_bytes(b"ev", "big"))
_MS, _US, _NS = 1_000, 1_000_000, 1_000_000_000
_OPEN, _HIGH, _LOW, _CLOSE, _VOLUME, _VWAP = range(6)
_SECOND_EXCHANGE = 1
_SYMBOL_SLOT, _RECEIVED_SLOT = 0, 2

_compiled = numba.njit(nogil=True, cache=True)


@_compiled
def _skip_space(text: Pointer, at: Whole) -> Whole:
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
def _whole(text: Pointer, at: Whole) -> tuple[Whole, Whole]:
    """The integer at `at`, -1 where it is not plain, and the position after it."""
    value, end = _digits(text, at, np.int64(0))
    digits = end - at
    if digits == 0 or digits > _MAX_DIGITS or (text[at] == _ZERO and digits > 1):
        return np.int64(-1), end
    if text[end] == _POINT or text[end] == _LOWER_E or text[end] == _UPPER_E:
        return np.int64(-1), end
    return value, end


@_compiled
def _decimal(text: Pointer, at: Whole) -> tuple[float, Whole]:
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
    if digits > _MAX_DIGITS or mantissa < 0 or mantissa > _MAX_EXACT or power > _MAX_POWER or power < -_MAX_POWER:
        return -1.0, end
    # Both operands are exact in binary, so the result is the nearest double, as a correct reader gives.
    return (mantissa / _POWERS[-power] if power < 0 else mantissa * _POWERS[power]), end


@_compiled
def _text(text: Pointer, at: Whole) -> tuple[Whole, np.uint64]:
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
def _short_name(text: Pointer, at: Whole) -> tuple[np.uint64, Whole]:
    """The name in quotes at `at` packed into a number, 0 where it is not plain or too long, and the position after it."""
    if text[at] != _QUOTE:
        return _U(0), at
    at += 1
    start, key = at, _U(0)
    while text[at] != _QUOTE:
        byte = text[at]
        if byte < _SPACE or byte == _BACKSLASH or byte > _LAST_ASCII or at - start == sp.MAX_KEY_BYTES:
            return _U(0), at
        key = (key << _U(8)) | _U(byte)
        at += 1
    return key, at + 1


@_compiled
def _code_of(
    text: Pointer, start: Whole, width: Whole, code: np.uint64, mask: Whole, slots: Pointer, keys: Pointer,
    bounds: Pointer, letters: Pointer,
) -> Whole:  # fmt: skip
    """The code of a word of the table, -1 where it has none."""
    place = np.int64(code & _U(mask))
    while slots[place] != 0:
        number = slots[place] - 1
        if keys[number] == code and bounds[3 * number + 1] == width:
            base, i = bounds[3 * number], 0
            while i < width and letters[base + i] == text[start + i]:
                i += 1
            if i == width:
                return bounds[3 * number + 2]
        place = (place + 1) & mask
    return np.int64(-1)


@_compiled
def _code_list(text: Pointer, at: Whole) -> tuple[Whole, Whole, np.uint64, Whole]:
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
def _nanoseconds(value: Whole) -> Whole:
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
        end, _ = _text(text, at + 1)
        return end + 1 if end >= 0 else np.int64(0)
    if text[at] == _MINUS or np.uint8(text[at] - _ZERO) <= _NINE:
        value, end = _decimal(text, at + 1 if text[at] == _MINUS else at)
        return end if value >= 0 else np.int64(0)
    word, end = np.int64(0), at
    while text[end] >= ord("a") and text[end] <= ord("z") and end - at < 6:
        word = (word << 8) | text[end]
        end += 1
    return end if word in (_TRUE, _FALSE, _NULL) else np.int64(0)


@_compiled
def _skip_any(text: Pointer, at: Whole) -> Whole:
    """The position after a plain value or a flat list of such; 0 where it is neither."""
    if text[at] != _LEFT_BRACKET:
        return _skip_plain(text, at)
    at = _skip_space(text, at + 1)
    if text[at] == _RIGHT_BRACKET:
        return at + 1
    while True:
        at = _skip_plain(text, at)
        if at == 0:
            return at
        at = _skip_space(text, at)
        if text[at] == _RIGHT_BRACKET:
            return at + 1
        if text[at] != _COMMA:
            return np.int64(0)
        at = _skip_space(text, at + 1)


@_compiled
def _is_sound_bar(floats: Pointer, base: Whole, rows: Whole) -> bool:
    high, low = floats[base + _HIGH * rows], floats[base + _LOW * rows]
    first, last = floats[base + _OPEN * rows], floats[base + _CLOSE * rows]
    return bool(high >= first and high >= last and high >= low and low <= first and low <= last)


@_compiled
def scan(
    source: Bytes, starts: Ints, received: Ints, frame: int,
    tags: Codes, kinds: Ints, required: Ints, either: Ints,
    key_table: Codes, action_table: Ints, slot_table: Ints, limit_table: Ints, bit_table: Ints,
    int_defaults: Ints, float_defaults: Floats, learnt: Ints,
    symbol_slots: npt.NDArray[np.int32], symbol_keys: Codes, symbol_bounds: Ints, symbol_letters: Bytes,
    code_slots: npt.NDArray[np.int32], code_keys: Codes, code_bounds: Ints, code_letters: Bytes,
    int_room: Ints, float_room: Floats, offset_room: Ints, letter_room: Bytes, counts: Ints,
) -> tuple[int, int]:  # fmt: skip
    """Read frames from number `frame` on, until one is not plain.

    Args:
        source, starts: the frames, each followed by a NUL, and where each begins, and where one more would.
        received: int64 ns UTC of each frame.
        tags … learnt: the tables of a `Plan`. symbol_*, code_*: the tables of a `WordTable`.
        int_room … counts: the outputs, those of a `RowRoom`.

    Returns:
        the number of the frame that was not read, one more than there are where all were; events read.
    """
    text, ints, floats = pointer_to(source), pointer_to(int_room), pointer_to(float_room)
    field_keys, field_actions, field_slots = pointer_to(key_table), pointer_to(action_table), pointer_to(slot_table)
    field_limits, field_bits = pointer_to(limit_table), pointer_to(bit_table)
    symbols = pointer_to(symbol_slots), pointer_to(symbol_keys), pointer_to(symbol_bounds), pointer_to(symbol_letters)
    codes = pointer_to(code_slots), pointer_to(code_keys), pointer_to(code_bounds), pointer_to(code_letters)
    offsets, letters = pointer_to(offset_room), pointer_to(letter_room)
    symbol_mask, code_mask = len(symbol_slots) - 1, len(code_slots) - 1
    rows, int_slots, float_slots = int_room.shape[2], int_room.shape[1], float_room.shape[1]
    events = 0
    before, learnt_before = counts.copy(), learnt.copy()
    while frame < len(received):
        before[:], learnt_before[:] = counts, learnt
        in_frame = 0
        at = _skip_space(text, starts[frame])
        is_plain = text[at] == _LEFT_BRACKET
        at = _skip_space(text, at + 1)
        is_open = is_plain and text[at] != _RIGHT_BRACKET
        while is_open:
            is_plain = False
            if text[at] != _LEFT_BRACE:
                break
            key, at = _short_name(text, _skip_space(text, at + 1))
            at = _skip_space(text, at)
            if key != _EV or text[at] != _COLON:
                break
            tag, at = _short_name(text, _skip_space(text, at + 1))
            event = 0
            while event < len(tags) and tags[event] != tag:
                event += 1
            if event == len(tags):
                break
            kind = kinds[event]
            row = counts[kind]
            int_base, float_base = kind * int_slots * rows + row, kind * float_slots * rows + row
            for slot in range(int_slots):
                ints[int_base + slot * rows] = int_defaults[event, slot]
            for slot in range(float_slots):
                floats[float_base + slot * rows] = float_defaults[event, slot]
            ints[int_base + _RECEIVED_SLOT * rows] = received[frame]
            if kind == TRADE:
                offsets[row + 1] = offsets[row]
            seen, decided = np.int64(0), np.int64(0)
            traded = -1.0
            at = _skip_space(text, at)
            while text[at] == _COMMA:
                is_plain = False
                key, at = _short_name(text, _skip_space(text, at + 1))
                at = _skip_space(text, at)
                if key == _U(0) or text[at] != _COLON:
                    break
                at = _skip_space(text, at + 1)
                place = np.int64((key * _MIXER) >> _KEY_SHIFT)
                base = event << sp.KEY_BITS
                while field_keys[base + place] != key and field_keys[base + place] != _U(0):
                    place = (place + 1) & _KEY_MASK
                place += base
                if field_keys[place] == _U(0) or seen & field_bits[place]:
                    break
                seen |= field_bits[place]
                action, slot = field_actions[place], field_slots[place]
                if action == sp.WORD:
                    start = at + 1
                    if text[at] != _QUOTE:
                        break
                    at, code = _text(text, start)
                    if at < 0:
                        break
                    word = _code_of(text, start, at - start, code, symbol_mask, *symbols)
                    if word < 0:
                        break
                    ints[int_base + slot * rows] = word
                    at += 1
                elif action in (sp.PRICE, sp.AMOUNT):
                    value, at = _decimal(text, at)
                    if value < 0 or (action == sp.PRICE and value == 0):
                        break
                    if not decided >> slot & 1:
                        floats[float_base + slot * rows] = value
                elif action in (sp.TIME, sp.TIME_OR_ZERO):
                    whole, at = _whole(text, at)
                    moment = _nanoseconds(whole)
                    if moment < 0:
                        if whole != 0 or action == sp.TIME:
                            break
                        moment = NULL_INT
                    ints[int_base + slot * rows] = moment
                elif action in (sp.INT, sp.SKIP_INT):
                    whole, at = _whole(text, at)
                    if whole < 0 or whole > field_limits[place]:
                        break
                    if action == sp.INT:
                        ints[int_base + slot * rows] = whole
                elif action == sp.CODES:
                    start, end, code, at = _code_list(text, at)
                    word = np.int64(-1)
                    if at > 0:
                        word = _code_of(text, start, end - start, code, code_mask, *codes)
                    if word < 0:
                        break
                    ints[int_base + slot * rows] = word
                elif action == sp.TEXT:
                    start = at + 1
                    if text[at] != _QUOTE:
                        break
                    at, _ = _text(text, start)
                    if at < 0:
                        break
                    target = offsets[row] - start
                    for i in range(start, at):
                        letters[target + i] = text[i]
                    offsets[row + 1] = target + at
                    at += 1
                elif action in (sp.DECIMAL, sp.TRADED):
                    is_quoted = text[at] == _QUOTE
                    value, at = _decimal(text, at + is_quoted)
                    if value < 0 or (is_quoted and text[at] != _QUOTE):
                        break
                    at += is_quoted
                    if action == sp.TRADED:
                        traded = value
                    else:
                        floats[float_base + slot * rows] = value
                        decided |= 1 << slot
                elif action == sp.EXCHANGE:
                    is_quoted = text[at] == _QUOTE
                    whole, at = _whole(text, at + is_quoted)
                    if whole < 0 or whole > field_limits[place] or (is_quoted and text[at] != _QUOTE):
                        break
                    at += is_quoted
                    ints[int_base + slot * rows] = whole
                    ints[int_base + (slot + _SECOND_EXCHANGE) * rows] = whole
                elif action == sp.SKIP_NUMBER:
                    value, at = _decimal(text, at)
                    if value < 0:
                        break
                elif action == sp.SKIP_FLAG:
                    if text[at] != ord("t") and text[at] != ord("f"):
                        break
                    at = _skip_plain(text, at)
                    if at == 0:
                        break
                else:
                    at = _skip_any(text, at)
                    if at == 0:
                        break
                    learnt[slot] += 1
                at = _skip_space(text, at)
                is_plain = True
            if not is_plain or text[at] != _RIGHT_BRACE:
                is_plain = False
                break
            is_plain = False
            if seen & required[event] != required[event] or (either[event] != 0 and seen & either[event] == 0):
                break
            if kind == BAR:
                if not _is_sound_bar(floats, float_base, rows):
                    break
                volume, vwap = floats[float_base + _VOLUME * rows], floats[float_base + _VWAP * rows]
                if traded >= 0 and volume > 0 and np.isnan(vwap):
                    vwap = traded / volume
                    if floats[float_base + _LOW * rows] <= vwap <= floats[float_base + _HIGH * rows]:
                        floats[float_base + _VWAP * rows] = vwap
            counts[kind] = row + 1
            in_frame += 1
            at = _skip_space(text, at + 1)
            is_open = text[at] == _COMMA
            if is_open:
                at = _skip_space(text, at + 1)
            is_plain = is_open or text[at] == _RIGHT_BRACKET
            if not is_plain:
                break
        if is_plain:
            at = _skip_space(text, at + 1)
        if not is_plain or at != starts[frame + 1] - 1:
            counts[:], learnt[:] = before, learnt_before
            return frame, events
        events += in_frame
        frame += 1
    return frame, events
