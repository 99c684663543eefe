"""The features as Feast objects: views by family and grain, people's labels, and a service for each version of a detector.

Columns come from the tables' definitions and the services' features from the detectors' catalogue.
"""

import datetime as dt
import hashlib
from dataclasses import dataclass

import polars as pl
from feast import Entity, FeatureService, FeatureView, Field, FileSource, LabelView, PushSource
from feast.data_format import ParquetFormat
from feast.labeling import ConflictPolicy
from feast.types import Bool, FeastType, Float64, Int32, Int64, String
from feast.value_type import ValueType

from tapewatch.features.catalog import CATALOG_VERSION, NAMES
from tapewatch.labels.kinds import KINDS
from tapewatch.market.schema import Column, Table
from tapewatch.market.tables.derived import BINS_5S
from tapewatch.market.tables.features import (
    CROSS_ASSET,
    INDICATORS,
    LIQUIDITY,
    MICROSTRUCTURE_MORE,
    ORDER_FLOW,
    REGIMES,
    SEASONALITY,
    VOLATILITY,
)
from tapewatch.market.tables.labels import HUMAN_LABELS
from tapewatch.market.tables.tape import MICROSTRUCTURE, TIME
from tapewatch.store.vectors.symbols import MICROSTRUCTURE_VIEW

#: The tag of a view that tells versions apart: a digest of its features' names and types.
SCHEMA_TAG = "schema"
#: Increases with every change to what the scan reads of a bin.
SCAN_VERSION = 1
_FEAST_TYPES: dict[pl.DataType, FeastType] = {
    pl.Float64(): Float64,
    pl.Int64(): Int64,
    pl.Int32(): Int32,
    pl.Boolean(): Bool,
    pl.String(): String,
    pl.Categorical(): String,
    # In µs since the epoch: Feast's own type for times has whole seconds only, and it takes numbers through float64.
    TIME: Int64,
}


#: As what the store returns them.
_PLAIN: dict[pl.DataType, pl.DataType] = {TIME: pl.Int64(), pl.Categorical(): pl.String()}


@dataclass(frozen=True, slots=True)
class View:
    """A table of features, or `family` of it, as a feature view: a row holds for `ttl`, unless a newer one is known."""

    name: str
    table: Table
    family: tuple[Column, ...] = ()
    ttl: dt.timedelta = dt.timedelta(days=1)

    @property
    def push_source(self) -> str:
        """The name under which the stream pushes rows of this view."""
        return f"{self.name.removeprefix('symbol_')}_stream" if self.family else f"{self.table.name}_stream"

    @property
    def columns(self) -> tuple[Column, ...]:
        """The features: all columns but the key and the times of the row."""
        others = {*self.table.key, "known_time"}
        return tuple(c for c in self.family or self.table.columns if c.name not in others and c.dtype in _FEAST_TYPES)

    @property
    def schema(self) -> dict[str, pl.DataType]:
        """The features' names and types."""
        return {c.name: _PLAIN.get(c.dtype, c.dtype) for c in self.columns}


#: The views, by family and grain. A further family joins by one line.
VIEWS = (
    View(MICROSTRUCTURE_VIEW, MICROSTRUCTURE),
    View("symbol_bins_5s", BINS_5S),
    View("symbol_order_flow_1m", MICROSTRUCTURE_MORE, ORDER_FLOW),
    View("symbol_liquidity_1m", MICROSTRUCTURE_MORE, LIQUIDITY),
    View("symbol_volatility_1m", MICROSTRUCTURE_MORE, VOLATILITY),
    View("symbol_indicators_1m", INDICATORS),
    View("symbol_cross_asset_1m", CROSS_ASSET),
    View("symbol_regimes_5m", REGIMES),
    View("symbol_seasonality_1m", SEASONALITY),
)
#: People's labels, by symbol and stretch.
LABELS_VIEW = "symbol_human_labels"
#: The detectors' versions: the view and the features that each reads.
SERVICES: dict[str, tuple[View, tuple[str, ...]]] = {
    f"isolation_forest_v{CATALOG_VERSION}": (VIEWS[0], NAMES),
    f"scan_v{SCAN_VERSION}": (VIEWS[1], tuple(VIEWS[1].schema)),
}
#: For training: a detector's features with what people say of the minute.
LABELLED = f"labelled_minutes_v{CATALOG_VERSION}"
SYMBOL = Entity(
    name="symbol",
    join_keys=["symbol"],
    value_type=ValueType.STRING,
    description="instrument, spelt as in the vendor's flat files",
)


@dataclass(frozen=True)
class Definitions:
    """Every object of the repository."""

    sources: list[FileSource]
    push_sources: list[PushSource]
    views: list[FeatureView]
    labels: list[LabelView]
    services: list[FeatureService]


def definitions(lake_root: str) -> Definitions:
    """The objects, with sources under the lake of `lake_root`."""
    tables = {view.table.name: _source(view.table, lake_root) for view in VIEWS}
    pushes = [PushSource(name=view.push_source, batch_source=tables[view.table.name]) for view in VIEWS]
    views = [_feature_view(view, push) for view, push in zip(VIEWS, pushes, strict=True)]
    by_name = {view.name: view for view in views}
    services = [
        FeatureService(name=name, features=[by_name[view.name][list(features)]], description="What the detector reads.")
        for name, (view, features) in SERVICES.items()
    ]
    said = _source(HUMAN_LABELS, lake_root, event="start_time")
    labels = label_view(said)
    services.append(
        FeatureService(
            name=LABELLED,
            features=[by_name[MICROSTRUCTURE_VIEW][list(NAMES)], labels],
            description="To train on people's labels.",
        )
    )
    return Definitions([*tables.values(), said], pushes, views, [labels], services)


def label_view(source: FileSource) -> LabelView:
    """People's labels: the offline store joins them to the moments of their stretch, whenever they were said."""
    columns = [c for c in HUMAN_LABELS.columns if c.name not in {"symbol", "known_time"}]
    fields = [*columns, HUMAN_LABELS.by_name["known_time"]]
    return LabelView(
        name=LABELS_VIEW,
        description=HUMAN_LABELS.description,
        entities=[SYMBOL],
        source=source,
        schema=[_field(column) for column in fields],
        online=False,
        labeler_field="author",
        conflict_policy=ConflictPolicy.LAST_WRITE_WINS,
        reference_feature_view=MICROSTRUCTURE_VIEW,
        tags={
            SCHEMA_TAG: schema_tag({c.name: _PLAIN.get(c.dtype, c.dtype) for c in fields}),
            "feast.io/label-values:kind": ",".join(KINDS),
            "feast.io/field-role:kind": "label",
            "feast.io/field-role:is_anomaly": "label",
            "feast.io/field-role:note": "metadata",
        },
    )


def schema_tag(schema: dict[str, pl.DataType]) -> str:
    """A digest of names and types."""
    text = ",".join(f"{name}:{dtype}" for name, dtype in sorted(schema.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _source(table: Table, lake_root: str, *, event: str = "event_time") -> FileSource:
    return FileSource(
        name=table.name,
        path=f"{lake_root}/{table.group}/{table.name}",
        file_format=ParquetFormat(),
        timestamp_field=event,
        # A row counts from here on: the offline store joins by it, and it orders corrections of one event.
        created_timestamp_column="known_time",
    )


def _feature_view(view: View, push: PushSource) -> FeatureView:
    return FeatureView(
        name=view.name,
        description=view.table.description,
        entities=[SYMBOL],
        ttl=view.ttl,
        source=push,
        schema=[_field(column) for column in view.columns],
        tags={SCHEMA_TAG: schema_tag(view.schema)},
    )


def _field(column: Column) -> Field:
    return Field(
        name=column.name,
        dtype=_FEAST_TYPES[column.dtype],
        description=f"{column.description} (µs UTC)" if column.dtype == TIME else column.description,
    )
