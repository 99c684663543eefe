"""Feast's offline store on the lake: as-of joins by when rows were known.

Saved datasets, logged features and `feast monitor` are Feast's own, of its store for Parquet files.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from feast import FeatureView, FileSource, LabelView
from feast.data_source import DataSource
from feast.infra.offline_stores.dask import DaskOfflineStore, DaskOfflineStoreConfig, DaskRetrievalJob
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.infra.offline_stores.offline_utils import infer_event_timestamp_from_entity_df
from feast.infra.registry.base_registry import BaseRegistry
from feast.repo_config import RepoConfig
from feast.types import Bool, Float32, Float64, Int32, Int64, String
from pydantic import AwareDatetime
from upath import UPath

from tapewatch.store.lake.joins.objects import Source
from tapewatch.store.lake.joins.point_in_time import between, join_as_of, latest
from tapewatch.store.lake.joins.said import label_at
from tapewatch.store.lake.lake import OBJECT, open_object

_TYPES = {
    Float64: pl.Float64(), Float32: pl.Float32(), Int64: pl.Int64(), Int32: pl.Int32(), Bool: pl.Boolean(), String: pl.String()
}  # fmt: skip
#: Days are delivered late, and known_time says when a row could be known: materializing looks back as far as this.
_LATE = dt.timedelta(days=7)


class FeaturesError(ValueError):
    """Features cannot be joined; the message names the view, the feature or the column, and the way out."""


class LakeOfflineStoreConfig(DaskOfflineStoreConfig):
    """Whether rows count from when they were known; otherwise they count from the event, and corrections are seen early.

    `labels_known_by` leaves out labels that people gave later.
    """

    type: Literal["resources.feature_store.offline.LakeOfflineStore"] = (  # type: ignore[assignment]
        "resources.feature_store.offline.LakeOfflineStore"
    )
    filter_by_created_timestamp: bool = True
    labels_known_by: AwareDatetime | None = None


class LakeRetrievalJob(DaskRetrievalJob):
    """Computes an Arrow table when it is asked for; Feast's `persist` stores it."""

    def __init__(self, compute: Callable[[], pa.Table], config: RepoConfig, **options: Any) -> None:
        super().__init__(compute, repo_path=str(config.repo_path), **options)

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:  # noqa: ARG002
        return self.evaluation_function()

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        return self._to_arrow_internal(timeout).to_pandas()


class LakeOfflineStore(DaskOfflineStore):
    """Point-in-time joins over the lake's partitions. The lake is written by the assets alone."""

    supports_filter_by_created_timestamp = True

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView | LabelView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | str | None,
        registry: BaseRegistry,  # noqa: ARG004
        project: str,  # noqa: ARG004
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = False,
        **_: object,
    ) -> RetrievalJob:
        """The features of each entity row, as they were known at its time; null where none was or the last held no more.

        Raises:
            FeaturesError: the entity rows lack a key or a time, or a view lacks a feature.
        """
        if not isinstance(entity_df, pd.DataFrame):
            raise FeaturesError(
                "give the entity rows as a pandas DataFrame with the columns symbol and event_timestamp"
            )
        time = infer_event_timestamp_from_entity_df(dict(zip(entity_df.columns, entity_df.dtypes, strict=True)))
        wanted = [(view, _wanted(view, feature_refs)) for view in feature_views]
        keys = {key for view, _ in wanted for key in _keys(view).values()}
        rows = _entity_rows(entity_df, sorted(keys), time)
        as_known = filter_by_created_timestamp or config.offline_store.filter_by_created_timestamp

        def compute() -> pa.Table:
            joined = pl.from_pandas(entity_df.reset_index(drop=True)).with_columns(rows["time"].alias(time))
            for view, features in wanted:
                mapping = _keys(view)
                part = rows.select(pl.col(mapping[key]).alias(key) for key in mapping).with_columns(rows["time"])
                types = {name: _dtype(view, name) for name in features}
                if isinstance(view, LabelView):
                    found = _said(config, view, part, types)
                else:
                    source = _source(config, view.batch_source, tuple(mapping), view.ttl)
                    found = join_as_of(source, part, types, as_known=as_known)
                prefix = f"{view.projection.name_to_use()}__" if full_feature_names else ""
                joined = joined.hstack(found.rename({name: f"{prefix}{name}" for name in features}))
            return joined.cast({time: pl.Datetime("us", "UTC")}).to_arrow(compat_level=pl.CompatLevel.oldest())

        times = rows["time"].cast(pl.Datetime("us", "UTC"))
        metadata = RetrievalMetadata(
            feature_refs,
            sorted(set(entity_df.columns) - {time}),
            times.min(),
            times.max(),  # type: ignore[arg-type]
        )
        return LakeRetrievalJob(compute, config, full_feature_names=full_feature_names, metadata=metadata)

    @staticmethod
    def pull_latest_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: dt.datetime,
        end_date: dt.datetime,
    ) -> RetrievalJob:
        """Each key's latest row that was known by `end_date`, also one that came to the lake only after `start_date`."""
        columns = (timestamp_field, created_timestamp_column)
        return _pull(
            config, data_source, join_key_columns, feature_name_columns, columns, (start_date, end_date), latest
        )

    @staticmethod
    def pull_all_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: dt.datetime | None = None,
        end_date: dt.datetime | None = None,
    ) -> RetrievalJob:
        """Every row that became known from `start_date` to `end_date`."""
        columns = (timestamp_field, created_timestamp_column)
        times = (start_date or dt.datetime(1970, 1, 10, tzinfo=dt.UTC), end_date or dt.datetime.now(dt.UTC))
        return _pull(config, data_source, join_key_columns, feature_name_columns, columns, times, between)

    # What `feast monitor` computes lies beside the registry: Feast would put it into the checkout.

    @staticmethod
    def ensure_monitoring_tables(config: RepoConfig) -> None:
        DaskOfflineStore.ensure_monitoring_tables(_beside_registry(config))

    @staticmethod
    def save_monitoring_metrics(config: RepoConfig, *arguments: Any, **options: Any) -> None:
        DaskOfflineStore.save_monitoring_metrics(_beside_registry(config), *arguments, **options)

    @staticmethod
    def query_monitoring_metrics(config: RepoConfig, *arguments: Any, **options: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = DaskOfflineStore.query_monitoring_metrics(
            _beside_registry(config), *arguments, **options
        )
        return found

    @staticmethod
    def clear_monitoring_baseline(config: RepoConfig, *arguments: Any, **options: Any) -> None:
        DaskOfflineStore.clear_monitoring_baseline(_beside_registry(config), *arguments, **options)

    @staticmethod
    def offline_write_batch(*_: object, **__: object) -> None:
        raise FeaturesError(
            "the lake is written by Tapewatch's assets alone: push to the online store (PushMode.ONLINE)"
        )


def _pull(
    config: RepoConfig,
    data_source: DataSource,
    keys: Sequence[str],
    features: Sequence[str],
    time_columns: tuple[str, str | None],
    times: tuple[dt.datetime, dt.datetime],
    read: Callable[..., pl.DataFrame],
) -> RetrievalJob:
    source = Source(_folder(config, data_source), tuple(keys), *time_columns, ttl=_LATE)
    first, last = (time if time.tzinfo else time.replace(tzinfo=dt.UTC) for time in times)
    if read is latest:
        first -= _LATE

    def compute() -> pa.Table:
        rows = read(source, _schema(source.folder, features), first, last)
        return rows.with_columns(pl.col(pl.Datetime).dt.cast_time_unit("us")).to_arrow(
            compat_level=pl.CompatLevel.oldest()
        )

    return LakeRetrievalJob(compute, config, full_feature_names=False)


def _beside_registry(config: RepoConfig) -> RepoConfig:
    return config.model_copy(update={"repo_path": Path(config.registry.path).parent})


def _wanted(view: FeatureView | LabelView, refs: Sequence[str]) -> list[str]:
    """The features of a view among references such as `view:feature`, in their order."""
    name = view.projection.name_to_use()
    return [ref.partition(":")[2] for ref in refs if ref.partition(":")[0] == name]


def _keys(view: FeatureView | LabelView) -> dict[str, str]:
    """The column of the entity rows for each column of the view's key."""
    mapping = view.projection.join_key_map
    return {entity.name: mapping.get(entity.name, entity.name) for entity in view.entity_columns}


def _entity_rows(frame: pd.DataFrame, keys: Sequence[str], time: str) -> pl.DataFrame:
    """The keys as text, and `time` in ns."""
    missing = [key for key in keys if key not in frame.columns]
    if missing:
        raise FeaturesError(
            f"the entity rows lack the column {', '.join(missing)}; they have {', '.join(frame.columns)}"
        )
    # pandas would look for repeated times first.
    times = pd.to_datetime(frame[time], utc=True, cache=False)
    if times.isna().any():
        raise FeaturesError(
            f"{int(times.isna().sum())} entity rows have no {time}: give each row a time, or leave it out"
        )
    rows = {key: pa.array(frame[key].astype("string")) for key in keys}
    return pl.DataFrame(rows, schema=dict.fromkeys(keys, pl.String())).with_columns(
        pl.Series("time", times.dt.as_unit("ns").astype("int64").to_numpy(), pl.Int64).cast(pl.Datetime("ns", "UTC"))
    )


def _said(config: RepoConfig, view: LabelView, rows: pl.DataFrame, columns: dict[str, pl.DataType]) -> pl.DataFrame:
    """The labels that hold at the rows' times."""
    folder = _folder(config, view.batch_source)
    return label_at(folder.parent.parent, rows, columns, known_by=config.offline_store.labels_known_by)


def _dtype(view: FeatureView | LabelView, name: str) -> pl.DataType:
    dtype = next(field.dtype for field in view.features if field.name == name)
    if dtype not in _TYPES:
        raise FeaturesError(f"{view.name}:{name} is of type {dtype}, which the lake's tables do not have")
    return _TYPES[dtype]


def _source(config: RepoConfig, source: DataSource | None, keys: tuple[str, ...], ttl: dt.timedelta | None) -> Source:
    folder = _folder(config, source)
    return Source(folder, keys, source.timestamp_field, source.created_timestamp_column or None, ttl or None)


def _folder(config: RepoConfig, source: DataSource | None) -> UPath:
    if source is None:
        raise FeaturesError("the view has no batch source: give it one in feature_repo")
    if not isinstance(source, FileSource):
        raise FeaturesError(
            f"{source.name} is a {type(source).__name__}: this store reads the lake's folders (FileSource)"
        )
    uri = source.file_options.uri
    return UPath(uri if "://" in uri or Path(uri).is_absolute() else Path(config.repo_path or ".") / uri)


def _schema(folder: UPath, names: Sequence[str]) -> dict[str, pl.DataType]:
    """The types of some columns in the table's newest object, times as whole numbers; Float64 before there is one."""
    paths = sorted(folder.glob(f"market=*/date=*/{OBJECT}"), key=lambda path: path.parent.name)
    if not paths:
        return dict.fromkeys(names, pl.Float64())
    with open_object(paths[-1]) as stream:
        empty = pl.DataFrame(pq.read_schema(stream).empty_table())
    types = {name: empty.schema.get(name, pl.Float64()) for name in names}
    return {
        name: pl.Int64() if isinstance(dtype, pl.Datetime) else pl.String() if dtype == pl.Categorical() else dtype
        for name, dtype in types.items()
    }
