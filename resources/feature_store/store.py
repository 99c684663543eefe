"""What a deployment does with its feature store: apply the definitions, fill the online store, push, and compare."""

import contextlib
import datetime as dt
import io
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from feast import FeatureStore, FeatureView, Project
from feast.diff.property_diff import PropertyDiff
from feast.protos.feast.core.DataSource_pb2 import DataSource
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import RepoConfig
from feast.repo_contents import RepoContents
from upath import UPath

from resources.feature_store.definitions import SCHEMA_TAG, SYMBOL, VIEWS, View, definitions, schema_tag
from resources.feature_store.online import VectorOnlineStore, features_of
from resources.feature_store.registry import RegistryError
from tapewatch.store.lake.joins.objects import Source, as_type
from tapewatch.store.lake.joins.point_in_time import join_as_of, latest
from tapewatch.store.lake.lake import Lake
from tapewatch.store.vectors.symbols import symbol_key
from tapewatch.store.vectors.vectors import Vector

#: Feast wants times in whole microseconds.
_US = pl.Datetime("us", "UTC")
_TIMES = {"event_time": pl.Datetime("ns", "UTC"), "known_time": pl.Datetime("ns", "UTC")}
#: The field of Feast's values that holds a type.
_KINDS = {
    pl.Float64(): "double_val", pl.Int64(): "int64_val", pl.Int32(): "int32_val", pl.Boolean(): "bool_val",
    pl.String(): "string_val",
}  # fmt: skip
_DOUBLE = bytes([Value.DESCRIPTOR.fields_by_name["double_val"].number << 3 | 1])
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True)
class Fault:
    """A feature whose online value is not that of the lake. `lag_s`: how much older the online vector is; None without one."""

    view: str
    feature: str
    symbol: str
    lag_s: float | None

    def __str__(self) -> str:
        lag = "is missing" if self.lag_s is None else f"lags {self.lag_s:g} s" if self.lag_s else "differs"
        return f"{self.view}:{self.feature} of {self.symbol} {lag}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """How many vectors of each view were compared, how many the stream had pushed ahead of the lake, and what differs."""

    compared: dict[str, int]
    ahead: int
    faults: list[Fault]


def repo_config(home: Path, *, redis_url: str | None = None, database_url: str | None = None) -> RepoConfig:
    """The configuration of `feature_repo/feature_store.yaml`, for a data folder."""
    package = __name__.rpartition(".")[0]
    folder = home.absolute() / "feast"
    return RepoConfig(
        project="tapewatch",
        provider="local",
        registry={
            "path": str(folder / "registry.db"),
            "registry_store_type": f"{package}.registry.WholeFileRegistryStore",
        },
        online_store={
            "type": f"{package}.online.VectorOnlineStore",
            "path": str(folder / "online.db"),
            "redis_url": redis_url,
            "database_url": database_url,
        },
        offline_store={"type": f"{package}.offline.LakeOfflineStore", "filter_by_created_timestamp": True},
        materialization_config={"pull_latest_features": True},
        entity_key_serialization_version=3,
        repo_path=folder,
    )


class Features:
    """A deployment's feature store."""

    def __init__(self, config: RepoConfig, lake_root: str) -> None:
        Path(config.registry.path).parent.mkdir(parents=True, exist_ok=True)
        self._lake_root = lake_root
        self.config = config
        with _quiet():
            self.store = FeatureStore(config=config)

    def apply(self) -> list[str]:
        """Bring registry and online store to the definitions; returns the planned changes, one a line.

        Raises:
            RegistryError: the registry is damaged or of another version's format.
            VectorsError: the online store is away; the registry stays as it was.
        """
        made = definitions(self._lake_root)
        contents = RepoContents(
            projects=[Project(name=self.config.project)],
            data_sources=[*made.sources, *made.push_sources],
            feature_views=made.views,
            on_demand_feature_views=[],
            stream_feature_views=[],
            label_views=made.labels,
            entities=[SYMBOL],
            feature_services=made.services,
            permissions=[],
        )
        with _quiet():
            # The online store first: were it away, the registry would name views that it cannot hold.
            self.online.update(self.config, [], made.views, [], [], partial=True)
            registry_diff, infra_diff, infra = self.store.plan(contents)
            self.store._apply_diffs(registry_diff, infra_diff, infra)
        changes = [
            f"{d.transition_type.name.lower()} {d.feast_object_type.value} {d.name}"
            for d in registry_diff.feast_object_diffs
            if d.transition_type.name != "UNCHANGED"
            and (d.transition_type.name != "UPDATE" or any(map(_is_change, d.feast_object_property_diffs)))
        ]
        removed = [
            d.current_feast_object for d in registry_diff.feast_object_diffs if d.transition_type.name == "DELETE"
        ]
        self.online.update(self.config, [v for v in removed if isinstance(v, FeatureView)], [], [], [], partial=True)
        return changes

    def check(self) -> None:
        """Refuse a registry that was applied by another version.

        Raises:
            RegistryError: it lacks a view, or a view has other features than this code.
        """
        way_out = "run `feast -c feature_repo apply`, or materialize feature_store/registry"
        with _quiet():
            applied = {view.name: view for view in self.store.list_feature_views()}
        path = self.config.registry.path
        for view in VIEWS:
            if view.name not in applied:
                raise RegistryError(f"the registry {path} has no feature view {view.name}: {way_out}")
            tag = applied[view.name].tags.get(SCHEMA_TAG)
            if tag != schema_tag(view.schema):
                raise RegistryError(
                    f"the registry {path} was applied by another version of Tapewatch: {view.name} has other features "
                    f"({tag}, here {schema_tag(view.schema)}): {way_out}"
                )

    def materialize(self, end: dt.datetime | None = None) -> dict[str, dict[str, str]]:
        """Bring each view's online rows to the newest that the lake holds and that were known by `end`, by default now.

        Returns:
            The interval of each view whose table the lake has.

        Raises:
            RegistryError: as `check`.
            VectorsError: the online store is away; the interval is not recorded, and the next call repeats it.
        """
        self.check()
        end = end or dt.datetime.now(dt.UTC)
        done = {}
        for view in self._in_the_lake():
            with _quiet():
                before = self.store.get_feature_view(view.name).most_recent_end_time
                # Feast would begin one time to live before now, or where it ended. But an older lake would leave the online
                # store empty, and a day that was computed again has other values of times that are over.
                start = min(before or end, self._first(view, end))
                self.store.materialize(start, end, feature_views=[view.name])
            done[view.name] = {"from": f"{start:%Y-%m-%d %H:%M:%S}", "to": f"{end:%Y-%m-%d %H:%M:%S}"}
        return done

    def push(self, view: View, rows: pl.DataFrame) -> None:
        """Push rows of a view's table to the online store; rows that are older than those in it change nothing.

        As `FeatureStore.push`, which takes ten times as long to turn a frame into Feast's values.

        Raises:
            VectorsError: the online store is away.
        """
        newest = rows.sort("event_time", "known_time", maintain_order=True).unique("symbol", keep="last")
        features = [as_type(pl.col(name), newest.schema[name], dtype) for name, dtype in view.schema.items()]
        frame, names = newest.select(features), list(view.schema)
        columns = [_encoded(frame[name], _KINDS[dtype]) for name, dtype in view.schema.items()]
        content = [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
        times = (newest[name].cast(_US).to_physical().to_list() for name in _TIMES)
        keys = [symbol_key(symbol) for symbol in newest["symbol"].cast(pl.String).to_list()]
        if keys:
            self.online.write_encoded(self.config, view.name, zip(keys, *times, content, strict=True))

    def compare(self, *, sample: int = 200, seed: int = 0) -> Comparison:
        """Compare sampled online vectors with what the lake's as-of join gives for their time, bit for bit.

        Of each view `sample` symbols with rows in its last time to live. A vector is compared at the time to which its view was
        materialized, or when it was known if that is later: then the stream pushed it. One that the lake has not got yet is
        counted as ahead.
        """
        compared, ahead, faults = {}, 0, []
        for view in self._in_the_lake():
            with _quiet():
                until = self.store.get_feature_view(view.name).most_recent_end_time
            if until is None:
                raise RegistryError(f"{view.name} has never been materialized: materialize feature_store/online")
            found = self._compare(view, until, sample, seed)
            compared[view.name] = found[0]
            ahead += found[1]
            faults += found[2]
        return Comparison(compared, ahead, faults)

    @property
    def online(self) -> VectorOnlineStore:
        found: VectorOnlineStore = self.store._get_provider().online_store
        return found

    def close(self) -> None:
        """Close the connections of the online store."""
        self.online.close_vectors()

    def _compare(self, view: View, until: dt.datetime, sample: int, seed: int) -> tuple[int, int, list[Fault]]:
        first = self._first(view, until)
        # Online vectors stay until they are replaced; so does the lake's row here, however old it is.
        folder = UPath(self._lake_root) / view.table.group / view.table.name
        source = Source(folder, ("symbol",), ttl=dt.datetime.now(dt.UTC) - first)
        known = latest(source, {}, first, until)["symbol"]
        symbols = sorted(known.sample(min(sample, len(known)), seed=seed))
        vectors = dict(zip(symbols, self.online.read_vectors(self.config, view.name, _keys(symbols)), strict=True))
        faults = [
            Fault(view.name, "every feature", symbol, None) for symbol, vector in vectors.items() if vector is None
        ]
        there = {symbol: vector for symbol, vector in vectors.items() if vector is not None}
        at = [max(until, _EPOCH + dt.timedelta(microseconds=v.known_us)) for v in there.values()]
        asked = pl.DataFrame({"symbol": list(there), "time": at}, schema={"symbol": pl.String(), "time": _US})
        rows = join_as_of(source, asked, {**_TIMES, **view.schema}).cast(dict.fromkeys(_TIMES, pl.Int64))
        ahead = 0
        for (symbol, vector), row in zip(there.items(), rows.to_dicts(), strict=True):
            age = (row["event_time"] or 0) // 1000, (row["known_time"] or 0) // 1000
            if age < vector.age:
                ahead += 1
            elif age > vector.age:
                lag_s = (age[0] - vector.event_us or age[1] - vector.known_us) / 1e6
                faults.append(Fault(view.name, "every feature", symbol, lag_s))
            else:
                faults += [Fault(view.name, name, symbol, 0.0) for name in _differing(vector, row, view.schema)]
        return len(symbols) - ahead, ahead, faults

    def _in_the_lake(self) -> list[View]:
        """The views whose table has a partition."""
        lake = Lake(self._lake_root)
        return [view for view in VIEWS if lake.partitions(view.table)]

    def _first(self, view: View, end: dt.datetime) -> dt.datetime:
        """One time to live before the newest row of the lake that was known by `end`."""
        lake = Lake(self._lake_root)
        days = [day for day in lake.partitions(view.table) if day.date <= end.date() + dt.timedelta(days=2)]
        newest = max((day.date for day in days), default=end.date())
        return min(dt.datetime.combine(newest, dt.time(), dt.UTC), end) - view.ttl


def _keys(symbols: Sequence[str]) -> list[EntityKey]:
    return [EntityKey(join_keys=["symbol"], entity_values=[Value(string_val=symbol)]) for symbol in symbols]


def _encoded(column: pl.Series, kind: str) -> list[bytes]:
    """Each value as the text of Feast's message; null is the empty message."""
    if column.dtype == pl.Float64:
        # A tag and eight bytes, little end first: as the message's own method writes it, many times faster.
        raw = column.fill_null(0).to_numpy().astype("<f8").tobytes()
        is_null = column.is_null().to_list()
        return [b"" if null else _DOUBLE + raw[8 * i : 8 * i + 8] for i, null in enumerate(is_null)]
    distinct = {
        value: b"" if value is None else Value(**{kind: value}).SerializeToString() for value in column.unique()
    }
    return [distinct[value] for value in column.to_list()]


def _is_change(found: PropertyDiff) -> bool:
    """Whether a property differs by more than the times that Feast records in a source."""
    before, after = found.val_existing, found.val_declared
    if not isinstance(before, DataSource) or not isinstance(after, DataSource):
        return True
    plain = [DataSource.FromString(source.SerializeToString()) for source in (before, after)]
    for source in plain:
        source.ClearField("meta")
        source.batch_source.ClearField("meta")
    return bool(plain[0] != plain[1])


def _differing(vector: Vector, row: Mapping[str, Any], schema: Mapping[str, pl.DataType]) -> list[str]:
    """The features whose bits are not those of the lake's row."""
    online = features_of(vector)
    return [name for name in schema if name not in online or _bits(_plain(online[name])) != _bits(row[name])]


def _plain(value: Value) -> Any:
    kind = value.WhichOneof("val")
    return None if kind is None or kind == "null_val" else getattr(value, kind)


def _bits(value: Any) -> Any:
    return struct.pack("<d", value) if isinstance(value, float) else value


@contextlib.contextmanager
def _quiet() -> Any:
    """Without what Feast prints, and its progress bars."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
