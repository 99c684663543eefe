"""Feast's online store on the vectors of SQLite, PostgreSQL or Redis: a key's features are written and read as one."""

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
from feast import Entity, FeatureView
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.online_store import OnlineStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import FeastConfigBaseModel, RepoConfig
from pydantic import SecretStr, field_validator, model_validator

from tapewatch.store.vectors.redis import RedisVectors
from tapewatch.store.vectors.sql import PostgresVectors, SqliteVectors
from tapewatch.store.vectors.vectors import Vector, Vectors

#: A row to write: the key, the features, when it happened and when it was known.
Row = tuple[EntityKey, dict[str, Value], dt.datetime, dt.datetime | None]
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[str, bytes]).decode


class VectorOnlineStoreConfig(FeastConfigBaseModel):
    """Where the vectors are: in the SQLite file `path`, unless an address of Redis or PostgreSQL is given."""

    type: Literal["resources.feature_store.online.VectorOnlineStore"] = (
        "resources.feature_store.online.VectorOnlineStore"
    )
    path: str
    redis_url: SecretStr | None = None
    database_url: SecretStr | None = None

    @field_validator("redis_url", "database_url", mode="before")
    @classmethod
    def _unset(cls, given: object) -> object:
        """Feast leaves the name of a variable that is not set in the text."""
        return None if not given or (isinstance(given, str) and given.startswith("${")) else given

    @model_validator(mode="after")
    def _one_of_them(self) -> "VectorOnlineStoreConfig":
        if self.redis_url and self.database_url:
            raise ValueError(
                "TAPEWATCH_REDIS_URL and TAPEWATCH_ONLINE_DATABASE_URL are both set: unset one, the online store is in one place"
            )
        return self


class VectorOnlineStore(OnlineStore):
    """The newest vector of each view and key. A row that is older than the one in the store is dropped."""

    def __init__(self) -> None:
        self._vectors: Vectors | None = None

    def online_write_batch(
        self, config: RepoConfig, table: FeatureView, data: Sequence[Row], progress: Callable[[int], Any] | None
    ) -> None:
        """Write rows, all or none.

        Raises:
            VectorsError: the store is away.
        """
        rows = [
            Vector(
                _key(config, key),
                _us(event),
                _us(known or event),
                _encode({name: value.SerializeToString() for name, value in values.items()}),
            )
            for key, values, event, known in data
        ]
        self._opened(config).write(table.name, rows)
        if progress:
            progress(len(data))

    def write_encoded(
        self, config: RepoConfig, view: str, rows: Iterable[tuple[bytes, int, int, dict[str, bytes]]]
    ) -> None:
        """The same for rows of a serialized key, both times in µs, and features as serialized messages."""
        vectors = [Vector(key, event, known, _encode(content)) for key, event, known, content in rows]
        self._opened(config).write(view, vectors)

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[tuple[dt.datetime | None, dict[str, Value] | None]]:
        """The event's time and the features of each key; None where there is none.

        Raises:
            VectorsError: the store is away.
        """
        found = self.read_vectors(config, table.name, entity_keys)
        return [
            (None, None)
            if vector is None
            else (_EPOCH + dt.timedelta(microseconds=vector.event_us), features_of(vector, requested_features))
            for vector in found
        ]

    def read_vectors(self, config: RepoConfig, view: str, entity_keys: Sequence[EntityKey]) -> list[Vector | None]:
        """The same with both times, undecoded."""
        return self._opened(config).read(view, [_key(config, key) for key in entity_keys])

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],  # noqa: ARG002
        entities_to_delete: Sequence[Entity],  # noqa: ARG002
        entities_to_keep: Sequence[Entity],  # noqa: ARG002
        partial: bool,  # noqa: ARG002
    ) -> None:
        vectors = self._opened(config)
        vectors.prepare()
        for table in tables_to_delete:
            vectors.remove(table.name)

    def teardown(self, config: RepoConfig, tables: Sequence[FeatureView], entities: Sequence[Entity]) -> None:  # noqa: ARG002
        vectors = self._opened(config)
        for table in tables:
            vectors.remove(table.name)
        self.close_vectors()

    def close_vectors(self) -> None:
        """Close the connections; the next call opens them again."""
        if self._vectors is not None:
            self._vectors.close()
            self._vectors = None

    def _opened(self, config: RepoConfig) -> Vectors:
        if self._vectors is None:
            self._vectors = _open(config)
        return self._vectors


def features_of(vector: Vector, names: Sequence[str] | None = None) -> dict[str, Value]:
    """The features of a vector, or those of `names` that it has."""
    content = _decode(vector.content)
    return {name: Value.FromString(content[name]) for name in (names or content) if name in content}


def _open(config: RepoConfig) -> Vectors:
    options: VectorOnlineStoreConfig = config.online_store
    if options.redis_url:
        return RedisVectors(options.redis_url.get_secret_value(), config.project)
    if options.database_url:
        return PostgresVectors(options.database_url.get_secret_value())
    return SqliteVectors(Path(options.path))


def _key(config: RepoConfig, key: EntityKey) -> bytes:
    return bytes(serialize_entity_key(key, entity_key_serialization_version=config.entity_key_serialization_version))


def _us(time: dt.datetime) -> int:
    """Microseconds since the epoch; a time without a zone is in UTC."""
    return ((time if time.tzinfo else time.replace(tzinfo=dt.UTC)) - _EPOCH) // dt.timedelta(microseconds=1)
