"""The lake as a Dagster resource, and the IO manager that commits the assets' outputs to it."""

import base64
from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import dataclass

import dagster as dg
import polars as pl

from resources.interrupts import uninterrupted
from tapewatch.market.instruments import Partition
from tapewatch.market.schema import Column, Table
from tapewatch.market.tables.live import EVERY
from tapewatch.market.tables.tape import TRADES
from tapewatch.store.lake.lake import Lake

#: The new rows of a partition; None keeps it as it is.
Frames = pl.DataFrame | Iterable[pl.DataFrame] | None
_TABLES = {(table.group, table.name): table for table in EVERY}


class LakeResource(dg.ConfigurableResource):
    """The lake in a folder or at an fsspec URL."""

    root: str

    def open(self) -> Lake:
        return Lake(self.root)


@dataclass(frozen=True)
class Days:
    """The output of a partitioned asset: its partitions in turn, each computed when it is needed.

    Each is committed before the next is computed: memory holds one, and a killed backfill keeps the finished ones. The
    partition is None for the one object of an unpartitioned asset.
    """

    items: Generator[tuple[Partition | None, Frames], None, None]


@dataclass(frozen=True)
class LakeTable:
    """The input of an asset for an upstream table: a handle, so that it reads no more than it needs."""

    lake: Lake
    table: Table

    def read(self, partition: Partition | None = None) -> pl.DataFrame:
        """One partition; empty if it was never written."""
        return self.lake.read(self.table, partition) if self.exists(partition) else self.table.empty()

    def exists(self, partition: Partition | None = None) -> bool:
        return self.lake.exists(self.table, partition)

    def scan(self, partition: Partition) -> pl.LazyFrame:
        """The same, lazily."""
        return self.lake.scan(self.table, partition) if self.exists(partition) else self.table.empty().lazy()

    def partitions(self) -> list[Partition]:
        return self.lake.partitions(self.table)


class LakeIOManager(dg.ConfigurableIOManager):
    """Writes an asset's frames to the lake path of its key, and passes a `LakeTable` downstream."""

    lake: dg.ResourceDependency[LakeResource]
    allow_shrink: bool = False

    def handle_output(self, context: dg.OutputContext, obj: Days | pl.DataFrame) -> None:
        """Commit each partition (or the one unpartitioned object) and record its rows, bytes and path."""
        table = _TABLES[tuple(context.asset_key.path)]  # type: ignore[index]
        lake, key = self.lake.open(), None
        days = obj if isinstance(obj, Days) else Days(item for item in [(None, obj)])
        # Closed if a day fails: the error's traceback would keep the generator, and so its locks.
        with closing(days.items) as items:
            for partition, frames in items:
                metadata = self._commit(lake, table, partition, frames)
                key = str(partition) if partition else None
                # Dagster records the materialization once the run has succeeded; the observation is recorded at once.
                with uninterrupted():
                    context.log_event(dg.AssetObservation(context.asset_key, partition=key, metadata=metadata))
                context.step_context.add_asset_metadata(metadata, asset_key=context.asset_key, partition_key=key)
        if key is not None and lake.exists(table, Partition.parse(key)):
            # One plot per run, of its last partition, which the asset's page shows.
            self._draw(context, table, lake.scan(table, Partition.parse(key)), key)

    def _draw(self, context: dg.OutputContext, table: Table, rows: pl.LazyFrame, key: str) -> None:
        from tapewatch.reports.tape_plots import PLOTS  # noqa: PLC0415 - Matplotlib, which only runs need

        if table.name in PLOTS:
            metadata = {"plot": png(PLOTS[table.name](rows))}
            context.step_context.add_asset_metadata(metadata, asset_key=context.asset_key, partition_key=key)

    def _commit(
        self, lake: Lake, table: Table, partition: Partition | None, frames: Frames
    ) -> dict[str, dg.MetadataValue]:
        path = str(lake.path(table, partition))
        if frames is None:
            rows = lake.rows(table, partition) if lake.exists(table, partition) else 0
            return {"dagster/row_count": dg.MetadataValue.int(rows), "kept": dg.MetadataValue.bool(True)}
        # A derived table may shrink with the tape; rows of the tape might not be available again.
        may_shrink = self.allow_shrink or table.group != TRADES.group
        written = lake.write(table, partition, frames, allow_shrink=may_shrink)
        return {
            "dagster/row_count": dg.MetadataValue.int(written.rows),
            "bytes": dg.MetadataValue.int(written.bytes),
            "path": dg.MetadataValue.path(path),
        }

    def load_input(self, context: dg.InputContext) -> LakeTable:
        return LakeTable(self.lake.open(), _TABLES[tuple(context.asset_key.path)])  # type: ignore[index]


def png(image: bytes) -> dg.MetadataValue:
    """A PNG as Dagster metadata."""
    return dg.MetadataValue.md(f"![plot](data:image/png;base64,{base64.b64encode(image).decode()})")


def column_schema(table: Table) -> dg.TableSchema:
    """A table's names, types, units and constraints as Dagster metadata."""
    return dg.TableSchema(columns=[_column(column) for column in table.columns])


def _column(column: Column) -> dg.TableColumn:
    bounds = [
        f"{sign} {bound:g}" for sign, bound in ((">=", column.minimum), ("<=", column.maximum)) if bound is not None
    ]
    description = f"{column.description} ({column.unit})" if column.unit else column.description
    constraints = dg.TableColumnConstraints(nullable=column.is_nullable, other=bounds)
    return dg.TableColumn(column.name, str(column.dtype), description=description, constraints=constraints)
