"""The lake as a Dagster resource, and the IO manager that commits what assets return to it."""

import base64
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass

import dagster as dg
import polars as pl

from resources.interrupts import uninterrupted
from tapewatch.market.instruments import Partition
from tapewatch.market.live_tables import EVERY
from tapewatch.market.schema import Table
from tapewatch.market.tables import TRADES
from tapewatch.store.lake.lake import Lake

_TABLES = {(table.group, table.name): table for table in EVERY}


class LakeResource(dg.ConfigurableResource):
    """Where the lake lies: a folder or an fsspec URL."""

    root: str

    def open(self) -> Lake:
        """The lake itself."""
        return Lake(self.root)


@dataclass(frozen=True)
class Days:
    """What a partitioned asset returns: its partitions one after the other, computed as they are asked for.

    Each is committed before the next is computed, so memory holds one and a killed backfill keeps what it had done.
    None in place of frames keeps the partition as it stands, there or not; None in place of a partition is the one object of
    an unpartitioned asset.
    """

    items: Generator[tuple[Partition | None, pl.DataFrame | Iterable[pl.DataFrame] | None], None, None]


@dataclass(frozen=True)
class LakeTable:
    """What an asset receives for an upstream table: a handle, so that it reads no more than it needs."""

    lake: Lake
    table: Table

    def read(self, partition: Partition | None = None) -> pl.DataFrame:
        """One partition, whole; without its rows if it was never written."""
        return self.lake.read(self.table, partition) if self.exists(partition) else self.table.empty()

    def exists(self, partition: Partition | None = None) -> bool:
        """Whether it was ever written."""
        return self.lake.exists(self.table, partition)

    def scan(self, partition: Partition) -> pl.LazyFrame:
        """One partition, lazily; without rows if it was never written."""
        return self.lake.scan(self.table, partition) if self.exists(partition) else self.table.empty().lazy()

    def partitions(self) -> list[Partition]:
        """The partitions that exist, oldest first."""
        return self.lake.partitions(self.table)


class LakeIOManager(dg.ConfigurableIOManager):
    """Writes an asset's frames to the lake path of its key, and hands downstream a `LakeTable`."""

    lake: dg.ResourceDependency[LakeResource]
    allow_shrink: bool = False

    def handle_output(self, context: dg.OutputContext, obj: Days | pl.DataFrame) -> None:
        """Commit each partition (or the one unpartitioned object) and record its rows, bytes and path."""
        table = _TABLES[tuple(context.asset_key.path)]  # type: ignore[index]
        lake, key = self.lake.open(), None
        days = obj if isinstance(obj, Days) else Days(item for item in [(None, obj)])
        # Closed where a day fails: the locks that it holds would outlive it with the error's traceback.
        with closing(days.items) as items:
            for partition, frames in items:
                metadata = self._commit(lake, table, partition, frames)
                key = str(partition) if partition else None
                # The materialization is only recorded when the whole run ends well; what is committed is told at once.
                with uninterrupted():
                    context.log_event(dg.AssetObservation(context.asset_key, partition=key, metadata=metadata))
                context.step_context.add_asset_metadata(metadata, asset_key=context.asset_key, partition_key=key)
        if key is not None and lake.exists(table, Partition.parse(key)):
            # One picture a run, of its last partition: the one that the asset's page shows.
            self._draw(context, table, lake.scan(table, Partition.parse(key)), key)

    def _draw(self, context: dg.OutputContext, table: Table, rows: pl.LazyFrame, key: str) -> None:
        from tapewatch.reports.tape_plots import PLOTS  # noqa: PLC0415 - Matplotlib, which only runs need

        if table.name in PLOTS:
            metadata = {"plot": png(PLOTS[table.name](rows))}
            context.step_context.add_asset_metadata(metadata, asset_key=context.asset_key, partition_key=key)

    def _commit(
        self,
        lake: Lake,
        table: Table,
        partition: Partition | None,
        frames: pl.DataFrame | Iterable[pl.DataFrame] | None,
    ) -> dict[str, dg.MetadataValue]:
        path = str(lake.path(table, partition))
        if frames is None:
            rows = lake.rows(table, partition) if lake.exists(table, partition) else 0
            return {"dagster/row_count": dg.MetadataValue.int(rows), "kept": dg.MetadataValue.bool(True)}
        # What is derived follows the tape, however small; what was fetched may be lost for good.
        may_shrink = self.allow_shrink or table.group != TRADES.group
        written = lake.write(table, partition, frames, allow_shrink=may_shrink)
        return {
            "dagster/row_count": dg.MetadataValue.int(written.rows),
            "bytes": dg.MetadataValue.int(written.bytes),
            "path": dg.MetadataValue.path(path),
        }

    def load_input(self, context: dg.InputContext) -> LakeTable:
        """A handle on the upstream asset's table."""
        return LakeTable(self.lake.open(), _TABLES[tuple(context.asset_key.path)])  # type: ignore[index]


def png(image: bytes) -> dg.MetadataValue:
    """A picture as Dagster's metadata panel shows it."""
    return dg.MetadataValue.md(f"![plot](data:image/png;base64,{base64.b64encode(image).decode()})")


def column_schema(table: Table) -> dg.TableSchema:
    """A table's definition as Dagster shows it: names, types, units, constraints."""
    return dg.TableSchema(columns=list(_columns(table)))


def _columns(table: Table) -> Iterator[dg.TableColumn]:
    for column in table.columns:
        bounds = [
            *([f">= {column.minimum:g}"] if column.minimum is not None else []),
            *([f"<= {column.maximum:g}"] if column.maximum is not None else []),
        ]
        unit = f" ({column.unit})" if column.unit else ""
        yield dg.TableColumn(
            column.name,
            str(column.dtype),
            description=column.description + unit,
            constraints=dg.TableColumnConstraints(nullable=column.is_nullable, other=bounds),
        )
