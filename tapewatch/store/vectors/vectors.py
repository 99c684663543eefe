"""What every store of vectors does: it keeps each key's newest vector, and a whole batch is written or nothing of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol


class VectorsError(RuntimeError):
    """A store of vectors cannot be used; the message names it, why, and the way out. No part of the batch was written."""


@dataclass(frozen=True, slots=True)
class Vector:
    """The features of a key (`content`, encoded by the caller), and when they happened and were known, µs UTC."""

    key: bytes
    event_us: int
    known_us: int
    content: bytes

    @property
    def age(self) -> tuple[int, int]:
        """Grows from older to newer vectors of a key: a correction is newer than what it corrects."""
        return self.event_us, self.known_us


class Vectors(Protocol):
    """Each view's vectors by key. Methods raise VectorsError; they may be called from any thread."""

    def prepare(self) -> None:
        """Create what the store needs; nothing happens if it is there."""

    def write(self, view: str, vectors: Sequence[Vector]) -> None:
        """Keep these vectors, except where the store has a newer one of the key. All at once, or none."""

    def read(self, view: str, keys: Sequence[bytes]) -> list[Vector | None]:
        """The vectors of some keys, in their order; None where there is none."""

    def remove(self, view: str) -> None:
        """Forget a view's vectors."""

    def close(self) -> None:
        """Close the connections."""


def newest(vectors: Iterable[Vector]) -> list[Vector]:
    """The newest vector of each key, by key: writers that meet take their locks in one order."""
    kept: dict[bytes, Vector] = {}
    for vector in vectors:
        before = kept.get(vector.key)
        if before is None or vector.age >= before.age:
            kept[vector.key] = vector
    return [kept[key] for key in sorted(kept)]
