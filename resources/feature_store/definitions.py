"""The features as Feast objects: a view for each table of features, and a service for each version of a detector.

Columns come from the tables' definitions and the service's features from the detectors' catalogue.
"""

import datetime as dt
import hashlib
from dataclasses import dataclass

import polars as pl
from feast import Entity, FeatureService, FeatureView, Field, FileSource, PushSource
from feast.data_format import ParquetFormat
from feast.types import Bool, FeastType, Float64, Int32, Int64
from feast.value_type import ValueType

from tapewatch.features.catalog import CATALOG_VERSION, NAMES
from tapewatch.market.schema import Column, Table
from tapewatch.market.tables.derived import BINS_5S
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
    # In µs since the epoch: Feast's own type for times has whole seconds only, and it takes numbers through float64.
    TIME: Int64,
}


@dataclass(frozen=True, slots=True)
class View:
    """A table of features as a feature view: a row holds for `ttl` after its event, unless a newer one is known."""

    name: str
    table: Table
    ttl: dt.timedelta = dt.timedelta(days=1)

    @property
    def push_source(self) -> str:
        """The name under which the stream pushes rows of this view."""
        return f"{self.table.name}_stream"

    @property
    def columns(self) -> tuple[Column, ...]:
        """The features: all columns but the key and the times of the row."""
        others = {*self.table.key, "known_time"}
        return tuple(c for c in self.table.columns if c.name not in others and c.dtype in _FEAST_TYPES)

    @property
    def schema(self) -> dict[str, pl.DataType]:
        """The features' names and types."""
        return {c.name: pl.Int64() if c.dtype == TIME else c.dtype for c in self.columns}


#: The views, by family and grain. A further family joins by one line.
VIEWS = (
    View(MICROSTRUCTURE_VIEW, MICROSTRUCTURE),
    View("symbol_bins_5s", BINS_5S),
)
#: The detectors' versions: the view and the features that each reads.
SERVICES: dict[str, tuple[View, tuple[str, ...]]] = {
    f"isolation_forest_v{CATALOG_VERSION}": (VIEWS[0], NAMES),
    f"scan_v{SCAN_VERSION}": (VIEWS[1], tuple(VIEWS[1].schema)),
}
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
    services: list[FeatureService]


def definitions(lake_root: str) -> Definitions:
    """The objects, with sources under the lake of `lake_root`."""
    sources = [_source(view, lake_root) for view in VIEWS]
    pushes = [PushSource(name=v.push_source, batch_source=s) for v, s in zip(VIEWS, sources, strict=True)]
    views = [_feature_view(view, push) for view, push in zip(VIEWS, pushes, strict=True)]
    by_name = {view.name: view for view in views}
    services = [
        FeatureService(name=name, features=[by_name[view.name][list(features)]], description="What the detector reads.")
        for name, (view, features) in SERVICES.items()
    ]
    return Definitions(sources, pushes, views, services)


def schema_tag(schema: dict[str, pl.DataType]) -> str:
    """A digest of names and types."""
    text = ",".join(f"{name}:{dtype}" for name, dtype in sorted(schema.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _source(view: View, lake_root: str) -> FileSource:
    return FileSource(
        name=view.table.name,
        path=f"{lake_root}/{view.table.group}/{view.table.name}",
        file_format=ParquetFormat(),
        timestamp_field="event_time",
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
        schema=[
            Field(
                name=column.name,
                dtype=_FEAST_TYPES[column.dtype],
                description=f"{column.description} (µs UTC)" if column.dtype == TIME else column.description,
            )
            for column in view.columns
        ],
        tags={SCHEMA_TAG: schema_tag(view.schema)},
    )
