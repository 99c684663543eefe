"""A hash table of the ticks seen and their event times, limited to the ticks still held."""

import numpy as np

from tapewatch.market.arrays import Array
from tapewatch.market.compiled import njit

#: Four MiB: enough for a busy market; a quiet one only pays for the pages that it touches.
_SMALLEST, _FULL = 1 << 18, 0.7


class Identities:
    """Maps a tick's identity to its event time, for ticks no older than the last `forget`."""

    def __init__(self) -> None:
        self._slots = np.zeros((_SMALLEST, 2), dtype=np.int64)
        self._used = 0
        self._oldest = 1

    def enter(self, group: Array, number: Array, time: Array, is_known: Array) -> Array:
        """Add ticks in order; returns the time at which each was seen before, 0 if it is new or has no identity.

        Args:
            group: int64, small; equal numbers in different groups are different ticks.
            number: int64, the tick's number within its group.
            time: int64, above 0.
            is_known: bool, whether the tick has an identity.
        """
        if self._used + number.size > self._slots.shape[0] * _FULL:
            self._make_room(number.size)
        before = np.zeros(number.size, dtype=np.int64)
        self._used += int(_enter(self._slots, group, number, time, is_known, before))
        return before

    def forget(self, oldest: int) -> None:
        """Let ticks before `oldest` be removed when room is needed."""
        self._oldest = max(self._oldest, oldest)

    def _make_room(self, count: int) -> None:
        held = self._slots[self._slots[:, 1] >= self._oldest]
        size = _SMALLEST
        # At most half full, so that this is not needed again at once.
        while size < 2 * (held.shape[0] + count):
            size *= 2
        self._slots = np.zeros((size, 2), dtype=np.int64)
        _refill(self._slots, held)
        self._used = held.shape[0]


@njit(cache=True, nogil=True)
def _mixed(group: int, number: int) -> np.int64:
    """Scatter an identity over 64 bits (the finaliser of SplitMix64)."""
    bits = np.uint64(number) ^ (np.uint64(group) * np.uint64(0x9E3779B97F4A7C15))
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.int64(bits ^ (bits >> np.uint64(31)))


@njit(cache=True, nogil=True)
def _enter(slots: Array, group: Array, number: Array, time: Array, is_known: Array, before: Array) -> int:
    mask = slots.shape[0] - 1
    added = 0
    for row in range(number.size):
        if not is_known[row]:
            continue
        key = _mixed(group[row], number[row])
        slot = key & mask
        while slots[slot, 1] != 0 and slots[slot, 0] != key:
            slot = (slot + 1) & mask
        before[row] = slots[slot, 1]
        added += slots[slot, 1] == 0
        slots[slot, 0], slots[slot, 1] = key, time[row]
    return added


@njit(cache=True, nogil=True)
def _refill(slots: Array, held: Array) -> None:
    mask = slots.shape[0] - 1
    for row in range(held.shape[0]):
        slot = held[row, 0] & mask
        while slots[slot, 1] != 0:
            slot = (slot + 1) & mask
        slots[slot] = held[row]
