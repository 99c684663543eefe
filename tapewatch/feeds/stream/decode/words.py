"""Repeated texts (symbols, condition lists) as small codes that are kept from frame to frame."""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from tapewatch.market.tables.tape import SYMBOL

_SEED: Final = 0xCBF29CE484222325
_PRIME: Final = 0x100000001B3
_MASK: Final = 2**64 - 1
_FIRST_BITS: Final = 10


def hash_of(word: bytes) -> int:
    """64-bit FNV-1a, as in the scanner."""
    value = _SEED
    for byte in word:
        value = ((value ^ byte) * _PRIME) & _MASK
    return value


class WordTable:
    """Words and their codes. Several spellings may be one word: `meaning_of` maps a spelling to its word.

    Attributes:
        slots, keys, bounds, letters: the hash table for the scanner, with open addressing by the low bits of the hash. A slot
            holds 1 + the spelling's number, or 0; a spelling has its hash, (start, length, code), and its bytes.
    """

    def __init__(self, meaning_of: Callable[[str], str]) -> None:
        self._meaning_of = meaning_of
        self._code_of_spelling: dict[str, int] = {}
        self._code_of_meaning: dict[str, int] = {}
        self._spellings = 0
        self._letters_used = 0
        self._fresh: list[str] = []
        self._words = pl.Series([], dtype=SYMBOL)
        self.slots = np.zeros(2**_FIRST_BITS, np.int32)
        self.keys = np.zeros(2**_FIRST_BITS, np.uint64)
        self.bounds = np.zeros((2**_FIRST_BITS, 3), np.int64)
        self.letters = np.zeros(16 * 2**_FIRST_BITS, np.uint8)

    def code(self, spelling: str) -> int:
        """The code of a word, a new one for a new word.

        Raises:
            ValueError: from `meaning_of`, for an invalid spelling.
        """
        code = self._code_of_spelling.get(spelling)
        if code is None:
            meaning = self._meaning_of(spelling)
            code = self._code_of_meaning.get(meaning)
            if code is None:
                code = self._code_of_meaning[meaning] = len(self._code_of_meaning)
                self._fresh.append(meaning)
            self._code_of_spelling[spelling] = code
            self._enter(spelling.encode(), code)
        return code

    def words(self) -> pl.Series:
        """Every word, by code."""
        if self._fresh:
            self._words = pl.concat([self._words, pl.Series(self._fresh, dtype=SYMBOL)])
            self._fresh = []
        return self._words

    def column(self, name: str, codes: npt.NDArray[np.int64]) -> pl.Series:
        """The words of `codes`, of which there is at least one."""
        first = int(codes[0])
        if bool((codes == first).all()):
            return self.words().slice(first, 1).new_from_index(0, len(codes)).alias(name)
        # `[]` is faster than `gather`, which goes through the query planner.
        return self.words()[pl.Series(codes.astype(np.uint32))].alias(name)

    def tables(self) -> tuple[npt.NDArray[Any], ...]:
        """In the order of the scanner's arguments; a new word may replace them."""
        return self.slots, self.keys, self.bounds, self.letters

    def _enter(self, spelling: bytes, code: int) -> None:
        number, start, end = self._spellings, self._letters_used, self._letters_used + len(spelling)
        if end > len(self.letters):
            self.letters = np.concatenate([self.letters, np.zeros(max(len(self.letters), len(spelling)), np.uint8)])
        if 2 * (number + 1) > len(self.slots):
            self._grow()
        self.letters[start:end] = np.frombuffer(spelling, np.uint8)
        self.keys[number] = hash_of(spelling)
        self.bounds[number] = start, len(spelling), code
        self._place(number)
        self._spellings, self._letters_used = number + 1, end

    def _grow(self) -> None:
        size = 2 * len(self.slots)
        self.slots = np.zeros(size, np.int32)
        self.keys = np.concatenate([self.keys, np.zeros_like(self.keys)])
        self.bounds = np.concatenate([self.bounds, np.zeros_like(self.bounds)])
        for number in range(self._spellings):
            self._place(number)

    def _place(self, number: int) -> None:
        mask = len(self.slots) - 1
        slot = int(self.keys[number]) & mask
        while self.slots[slot]:
            slot = (slot + 1) & mask
        self.slots[slot] = number + 1
