"""Feast's view of the features: which columns of the lake they are, by which key and clock, and who is served which.

One module, since Feast imports every file of its repository by bare name. The columns come from the table's own
definition, the services from the catalogue that the detectors read, so neither can drift.
"""

import os
from datetime import timedelta

import polars as pl
from feast import Entity, FeatureService, FeatureView, Field, FileSource
from feast.data_format import ParquetFormat
from feast.types import Bool, FeastType, Float64, Int32, Int64
from feast.value_type import ValueType

from tapewatch.features.catalog import CATALOG_VERSION, FEATURES
from tapewatch.market.tables import MICROSTRUCTURE

_FEAST_TYPES: dict[pl.DataType, FeastType] = {
    pl.Float64(): Float64,
    pl.Int64(): Int64,
    pl.Int32(): Int32,
    pl.Boolean(): Bool,
}
_LAKE = f"{os.environ.get('TAPEWATCH_HOME', 'data')}/lake"

symbol = Entity(
    name="symbol",
    join_keys=["symbol"],
    value_type=ValueType.STRING,
    description="instrument, spelt as in the vendor's flat files",
)

# A feature may be joined from the moment it was known, not from the minute it describes.
microstructure_source = FileSource(
    name="microstructure",
    path=f"{_LAKE}/{MICROSTRUCTURE.group}/{MICROSTRUCTURE.name}",
    file_format=ParquetFormat(),
    timestamp_field="known_time",
)

symbol_microstructure_1m = FeatureView(
    name="symbol_microstructure_1m",
    description=MICROSTRUCTURE.description,
    entities=[symbol],
    ttl=timedelta(days=1),
    source=microstructure_source,
    schema=[
        Field(name=column.name, dtype=_FEAST_TYPES[column.dtype], description=column.description)
        for column in MICROSTRUCTURE.columns
        if column.dtype in _FEAST_TYPES
    ],
)

isolation_forest = FeatureService(
    name=f"isolation_forest_v{CATALOG_VERSION}",
    features=[symbol_microstructure_1m[[feature.name for feature in FEATURES]]],
    description="What the Isolation Forest reads.",
)
