"""The features in Feast: their columns in the lake, key and time, and the service of each detector.

It is one module, because Feast imports every file of its repository by bare name. Columns come from the table's definition
and services from the detectors' catalogue.
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

# A feature may be joined from the time at which it was known, not from the minute that it describes.
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
    description="The features of the Isolation Forest.",
)
