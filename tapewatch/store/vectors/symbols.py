"""Reads a symbol's newest features as Feast's online store keeps them, without Feast.

A key is Feast's serialization (version 3) of the entity `symbol`; a vector's content is MessagePack, from a feature's name to
its value as the protobuf message `feast.types.Value`, empty where there is none.
"""

import datetime as dt
import struct
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from tapewatch.store.vectors.redis import RedisVectors
from tapewatch.store.vectors.sql import PostgresVectors, SqliteVectors
from tapewatch.store.vectors.vectors import Vector, Vectors, VectorsError

#: The feature view of `MICROSTRUCTURE`, and the prefix of all keys in Redis.
MICROSTRUCTURE_VIEW: Final = "symbol_microstructure_1m"
_PROJECT: Final = "tapewatch"
_STRING: Final = 2
#: Tags of the message's fields: number and wire type.
_INT32, _INT64, _DOUBLE, _BOOL = 3 << 3, 4 << 3, 5 << 3 | 1, 7 << 3
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_unpack_double: Final = struct.Struct("<d").unpack
_decode = msgspec.msgpack.Decoder(dict[str, bytes]).decode
Value = float | int | bool | None


@dataclass(frozen=True, slots=True)
class Features:
    """A symbol's newest features, when they happened and when they were known."""

    values: dict[str, Value]
    event_time: dt.datetime
    known_time: dt.datetime


def open_vectors(home: Path, *, redis_url: str | None = None, database_url: str | None = None) -> Vectors:
    """The online store of a deployment: in Redis or PostgreSQL by address, else in SQLite under its home."""
    if redis_url:
        return RedisVectors(redis_url, _PROJECT)
    return PostgresVectors(database_url) if database_url else SqliteVectors(home / "feast" / "online.db")


def read_features(
    vectors: Vectors, view: str, symbols: Sequence[str], names: Collection[str] | None = None
) -> list[Features | None]:
    """The newest features of each symbol, in their order; None where there are none.

    Args:
        vectors: the online store.
        view: the feature view.
        symbols: of any number.
        names: the features that are wanted; all of the view if not given.

    Raises:
        VectorsError: the store is away, or holds what this code cannot read.
    """
    found = vectors.read(view, [symbol_key(symbol) for symbol in symbols])
    wanted = None if names is None else frozenset(names)
    return [None if vector is None else _features(vector, view, wanted) for vector in found]


def symbol_key(symbol: str) -> bytes:
    """The key of a symbol."""
    name, value = b"symbol", symbol.encode()
    parts = (1, _STRING, len(name)), (_STRING, len(value))
    return struct.pack("<3I", *parts[0]) + name + struct.pack("<2I", *parts[1]) + value


def value_of(message: bytes) -> Value:
    """The number in a serialized `Value`; None for an empty one.

    Raises:
        ValueError: it is no number.
    """
    if not message:
        return None
    tag, rest = message[0], message[1:]
    if tag == _DOUBLE and len(rest) == 8:
        return float(_unpack_double(rest)[0])
    if tag in (_INT32, _INT64, _BOOL) and rest:
        number = sum((byte & 0x7F) << 7 * at for at, byte in enumerate(rest))
        signed = number - (1 << 64) if number >> 63 else number
        return bool(signed) if tag == _BOOL else signed
    raise ValueError(f"a value of kind {tag >> 3} is no number")


def _features(vector: Vector, view: str, wanted: Collection[str] | None) -> Features:
    try:
        values = {
            name: value_of(message)
            for name, message in _decode(vector.content).items()
            if wanted is None or name in wanted
        }
    except (msgspec.DecodeError, ValueError, struct.error) as error:
        raise VectorsError(f"the online store holds a vector of {view} that cannot be read: {error}") from error
    times = (_EPOCH + dt.timedelta(microseconds=us) for us in (vector.event_us, vector.known_us))
    return Features(values, *times)
