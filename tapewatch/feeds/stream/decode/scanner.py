"""A compiled scanner of stream frames: numbers straight into the arrays for rows, many frames in one pass, without the GIL.

It parses frames of flat objects with known keys, plain numbers and words seen before, with the same result as the careful
reader. It skips and reports events of the rarer channels, and stops before any other frame. Frames are separated by a NUL,
which JSON text cannot contain and which ends every loop.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tapewatch.feeds.kernels.digits import MINUS, decimal, whole
from tapewatch.feeds.kernels.json_text import skip_object, skip_space
from tapewatch.feeds.kernels.pointers import Pointer, Whole, pointer_to
from tapewatch.feeds.stream.decode import fields as sp
from tapewatch.feeds.stream.decode.rows import BAR, NULL_INT, TRADE
from tapewatch.feeds.stream.decode.tokens import code_list, nanoseconds, plain_text, short_name, skip_any
from tapewatch.market.compiled import njit

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bytes = npt.NDArray[np.uint8]
Codes = npt.NDArray[np.uint64]
#: Pointers that belong together, inside compiled code.
Pointers = tuple[Any, ...]

#: NULs after the last frame, so that no read goes beyond the text.
PADDING: Final = 16
_QUOTE, _COLON, _COMMA, _LEFT_BRACE, _RIGHT_BRACE, _LEFT_BRACKET, _RIGHT_BRACKET = 34, 58, 44, 123, 125, 91, 93
_LOWER_T, _LOWER_F = 116, 102
_U = np.uint64
_EV = _U(int.from_bytes(b"ev", "big"))
_MIXER, _KEY_SHIFT, _KEY_MASK = _U(sp.KEY_MIXER), _U(64 - sp.KEY_BITS), 2**sp.KEY_BITS - 1
_OPEN, _HIGH, _LOW, _CLOSE, _VOLUME, _VWAP = range(6)
_SECOND_EXCHANGE = 1
_RECEIVED_SLOT = 2
_RARE = -2

_compiled = njit(nogil=True, cache=True)


@_compiled
def _word(text: Pointer, start: Whole, width: Whole, code: np.uint64, table: Pointers) -> Whole:
    """The code of a word of a `WordTable`, -1 where it has none."""
    slots, keys, bounds, letters, mask = table
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
def _quoted_word(text: Pointer, at: Whole, table: Pointers) -> tuple[Whole, Whole]:
    """The code of the word in quotes at `at`, -1 where it has none, and the position after it."""
    if text[at] != _QUOTE:
        return np.int64(-1), at
    end, code = plain_text(text, at + 1)
    if end < 0:
        return np.int64(-1), at
    return _word(text, at + 1, end - at - 1, code, table), end + 1


@_compiled
def _listed_codes(text: Pointer, at: Whole, table: Pointers) -> tuple[Whole, Whole]:
    """The code of the list of codes at `at`, -1 where it has none, and the position after it."""
    start, end, code, after = code_list(text, at)
    if after == 0:
        return np.int64(-1), at
    return _word(text, start, end - start, code, table), after


@_compiled
def _copied(text: Pointer, at: Whole, row: Whole, offsets: Pointer, letters: Pointer) -> Whole:
    """Copy the text in quotes at `at` to the row; the position after it, 0 where it is not plain."""
    start = at + 1
    if text[at] != _QUOTE:
        return np.int64(0)
    end, _ = plain_text(text, start)
    if end < 0:
        return np.int64(0)
    target = offsets[row] - start
    for i in range(start, end):
        letters[target + i] = text[i]
    offsets[row + 1] = target + end
    return end + 1


@_compiled
def _store_int(
    text: Pointer, at: Whole, action: Whole, limit: Whole, cell: Pointer, place: Whole, rows: Whole
) -> Whole:
    """Read an integer, a time or an exchange into its place; the position after it, 0 where it is not plain or not allowed."""
    is_quoted = action == sp.EXCHANGE and text[at] == _QUOTE
    value, at = whole(text, at + is_quoted)
    if action in (sp.TIME, sp.TIME_OR_ZERO):
        moment = nanoseconds(value)
        if moment < 0:
            if value != 0 or action == sp.TIME:
                return np.int64(0)
            moment = NULL_INT
        cell[place] = moment
        return at
    if value < 0 or value > limit or (is_quoted and text[at] != _QUOTE):
        return np.int64(0)
    if action != sp.SKIP_INT:
        cell[place] = value
    if action == sp.EXCHANGE:
        cell[place + _SECOND_EXCHANGE * rows] = value
    return at + is_quoted


@_compiled
def _is_sound(floats: Pointer, base: Whole, rows: Whole, traded: float) -> bool:
    """Whether a bar's prices are consistent; sets the mean price from the traded value."""
    high, low = floats[base + _HIGH * rows], floats[base + _LOW * rows]
    first, last = floats[base + _OPEN * rows], floats[base + _CLOSE * rows]
    volume = floats[base + _VOLUME * rows]
    # `traded` is NaN if it was not sent, and then the comparison is false.
    if volume > 0 and np.isnan(floats[base + _VWAP * rows]) and low <= traded / volume <= high:
        floats[base + _VWAP * rows] = traded / volume
    return bool(high >= first and high >= last and high >= low and low <= first and low <= last)


@_compiled
def _field(text: Pointer, at: Whole, event: Whole, keys: Pointer) -> tuple[Whole, Whole]:
    """The place in the tables of the field whose key is at `at`, -1 where it is unknown, and the position of its value."""
    key, at = short_name(text, at)
    at = skip_space(text, at)
    if key == _U(0) or text[at] != _COLON:
        return np.int64(-1), at
    place, base = np.int64((key * _MIXER) >> _KEY_SHIFT), event << sp.KEY_BITS
    while keys[base + place] != key:
        if keys[base + place] == _U(0):
            return np.int64(-1), at
        place = (place + 1) & _KEY_MASK
    return base + place, skip_space(text, at + 1)


@_compiled
def _event(  # noqa: PLR0911 - one return per form that is not plain
    text: Pointer, at: Whole, event: Whole, kind: Whole, row: Whole, rows: Whole, int_base: Whole, float_base: Whole,
    plan: Pointers, symbols: Pointers, codes: Pointers, out: Pointers, either: Whole, required: Whole,
) -> Whole:  # fmt: skip
    """Read the fields after the `ev` of an event into a row that holds the defaults; the position after the event, 0 where
    anything is not plain."""
    keys, actions, slots, limits, bits, learnt = plan
    ints, floats, offsets, letters = out
    seen, decided, traded = np.int64(0), np.int64(0), np.nan
    while text[at] == _COMMA:
        place, at = _field(text, skip_space(text, at + 1), event, keys)
        if place < 0 or seen & bits[place]:
            return np.int64(0)
        seen |= bits[place]
        action, slot = actions[place], slots[place]
        if action in (sp.PRICE, sp.AMOUNT):
            value, at = decimal(text, at)
            if value < 0 or (action == sp.PRICE and value == 0):
                return np.int64(0)
            if not decided >> slot & 1:
                floats[float_base + slot * rows] = value
        elif action <= sp.LAST_INT:
            at = _store_int(text, at, action, limits[place], ints, int_base + slot * rows, rows)
        elif action in (sp.WORD, sp.CODES):
            code, at = _quoted_word(text, at, symbols) if action == sp.WORD else _listed_codes(text, at, codes)
            if code < 0:
                return np.int64(0)
            ints[int_base + slot * rows] = code
        elif action == sp.TEXT:
            at = _copied(text, at, row, offsets, letters)
        elif action in (sp.DECIMAL, sp.TRADED, sp.SKIP_NUMBER):
            is_quoted = text[at] == _QUOTE and action != sp.SKIP_NUMBER
            at += is_quoted
            is_negative = text[at] == MINUS and action != sp.DECIMAL
            value, at = decimal(text, at + is_negative)
            if value < 0 or (is_quoted and text[at] != _QUOTE):
                return np.int64(0)
            at += is_quoted
            if action == sp.TRADED:
                traded = -value if is_negative else value
            elif action == sp.DECIMAL:
                floats[float_base + slot * rows] = value
                decided |= 1 << slot
        elif action == sp.SIGNED:
            is_negative = text[at] == MINUS
            value, at = decimal(text, at + is_negative)
            if value < 0 or (is_negative and value == 0):
                return np.int64(0)
            floats[float_base + slot * rows] = -value if is_negative else value
        else:
            if action == sp.SKIP_FLAG and text[at] != _LOWER_T and text[at] != _LOWER_F:
                return np.int64(0)
            at = skip_any(text, at)
            if action == sp.SKIP_ANY:
                learnt[slot] += 1
        if at == 0:
            return at
        at = skip_space(text, at)
    if text[at] != _RIGHT_BRACE or seen & required != required or (either != 0 and seen & either == 0):
        return np.int64(0)
    if kind == BAR and not _is_sound(floats, float_base, rows, traded):
        return np.int64(0)
    return at + 1


@_compiled
def _kind_of(text: Pointer, at: Whole, tags: Codes) -> tuple[Whole, Whole]:
    """The number of the event whose object opens at `at`, and the position after its `ev`. The number is -1 where `ev` is not
    plain or not first, and `_RARE` where it is none of the plan's."""
    if text[at] != _LEFT_BRACE:
        return np.int64(-1), at
    key, at = short_name(text, skip_space(text, at + 1))
    at = skip_space(text, at)
    if key != _EV or text[at] != _COLON:
        return np.int64(-1), at
    tag, at = short_name(text, skip_space(text, at + 1))
    for event in range(len(tags)):
        if tags[event] == tag:
            return np.int64(event), skip_space(text, at)
    return np.int64(_RARE if tag != _U(0) else -1), at


@_compiled
def scan(
    source: Bytes, starts: Ints, received: Ints, frame: int,
    tags: Codes, kinds: Ints, required: Ints, either: Ints,
    keys: Codes, actions: Ints, slots: Ints, limits: Ints, bits: Ints,
    int_defaults: Ints, float_defaults: Floats, learnt: Ints,
    symbol_slots: npt.NDArray[np.int32], symbol_keys: Codes, symbol_bounds: Ints, symbol_letters: Bytes,
    code_slots: npt.NDArray[np.int32], code_keys: Codes, code_bounds: Ints, code_letters: Bytes,
    int_room: Ints, float_room: Floats, offsets: Ints, letters: Bytes, counts: Ints,
    passed: Ints, counts_before: Ints, learnt_before: Ints,
) -> tuple[int, int, int, int]:  # fmt: skip
    """Read frames from number `frame` on, until one is not plain, or has skipped events.

    Args:
        source, starts: the frames, each followed by a NUL, and the start of each, and of one more.
        received: int64 ns UTC of each frame.
        tags … learnt: those of `FieldTables`. symbol_*, code_*: the tables of a `WordTable`.
        int_room … counts: the outputs, those of a `RowRoom`.
        passed: (events, 3) output: place in the frame from 1, start and end of each skipped event.
        counts_before, learnt_before: outputs: `counts` and `learnt` before the last frame, in case it is not valid.

    Returns:
        the number of the frame after the last that was read; events read; events read and events skipped of the last frame
        if it has skipped events, else 0.
    """
    text = pointer_to(source)
    symbols = (
        pointer_to(symbol_slots), pointer_to(symbol_keys), pointer_to(symbol_bounds), pointer_to(symbol_letters),
        len(symbol_slots) - 1,
    )  # fmt: skip
    codes = (
        pointer_to(code_slots), pointer_to(code_keys), pointer_to(code_bounds), pointer_to(code_letters),
        len(code_slots) - 1,
    )  # fmt: skip
    plan = (
        pointer_to(keys), pointer_to(actions), pointer_to(slots), pointer_to(limits), pointer_to(bits),
        pointer_to(learnt),
    )  # fmt: skip
    ints, floats = pointer_to(int_room), pointer_to(float_room)
    out = ints, floats, pointer_to(offsets), pointer_to(letters)
    rows, int_slots, float_slots = int_room.shape[2], int_room.shape[1], float_room.shape[1]
    events = 0
    while frame < len(received):
        counts_before[:], learnt_before[:] = counts, learnt
        in_frame = rare = 0
        at = skip_space(text, starts[frame])
        is_plain = text[at] == _LEFT_BRACKET
        at = skip_space(text, at + 1)
        is_open = is_plain and text[at] != _RIGHT_BRACKET
        while is_open and is_plain:
            begin = at
            event, at = _kind_of(text, at, tags)
            if event == _RARE and rare < len(passed):
                at = skip_object(text, begin)
                passed[rare, 0], passed[rare, 1], passed[rare, 2] = in_frame + rare + 1, begin, at
                rare += 1
            elif event < 0:
                at = np.int64(0)
            else:
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
                at = _event(
                    text, at, event, kind, row, rows, int_base, float_base, plan, symbols, codes, out, either[event],
                    required[event],
                )  # fmt: skip
                counts[kind] = row + 1
                in_frame += 1
            if at == 0:
                is_plain = False
                break
            at = skip_space(text, at)
            is_open = text[at] == _COMMA
            is_plain = is_open or text[at] == _RIGHT_BRACKET
            if is_open:
                at = skip_space(text, at + 1)
        if is_plain:
            at = skip_space(text, at + 1)
        if not is_plain or at != starts[frame + 1] - 1:
            counts[:], learnt[:] = counts_before, learnt_before
            return frame, events, 0, 0
        frame += 1
        if rare > 0:
            return frame, events, in_frame, rare
        events += in_frame
    return frame, events, 0, 0
