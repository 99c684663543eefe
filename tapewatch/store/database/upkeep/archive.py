"""Backups: one file that either engine can write and either can be restored from.

A zip of one Parquet file a table, and `manifest.json` with the revision and the rows of each. It appears whole or not at
all.
"""

import datetime as dt
import json
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy.engine import Connection

from tapewatch.market.schema import Table
from tapewatch.store.database.database import Database
from tapewatch.store.database.engine import DatabaseError, transaction
from tapewatch.store.database.migrations import HEAD
from tapewatch.store.database.tables import SQL_TABLES
from tapewatch.store.database.upkeep import copying, rollups
from tapewatch.store.database.upkeep.copying import Listener, no_listener
from tapewatch.store.durable import write_whole

_FORMAT = 1
_MANIFEST = "manifest.json"


def backup(
    database: Database, path: Path, listener: Listener = no_listener, *, overwrites: bool = False
) -> dict[str, int]:
    """Write the whole database, as of one moment, to a file; others may write meanwhile.

    Args:
        overwrites: replace the file if it exists, once the new backup is complete.

    Returns: rows by table.

    Raises:
        DatabaseError: the database cannot be read, or the file exists and may not be overwritten.
        OSError: the file cannot be written.
    """
    if path.exists() and not overwrites:
        raise DatabaseError(f"{path} exists: name another file, or replace it with --force")
    rows: dict[str, int] = {}
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=path.parent, prefix=".backup-") as folder,
        copying.snapshot(database.engine) as connection,
    ):

        def write(stream: BinaryIO) -> None:
            # Parquet is compressed already.
            with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
                for table in SQL_TABLES:
                    file = Path(folder) / f"{table.name}.parquet"
                    rows[table.name] = _dump(connection, table, file, listener)
                    archive.write(file, file.name)
                    file.unlink()
                made = dt.datetime.now(dt.UTC).isoformat()
                manifest = {"format": _FORMAT, "revision": HEAD, "made": made, "rows": rows}
                archive.writestr(_MANIFEST, json.dumps(manifest, indent=1))

        write_whole(path, write, is_shared=True)
    return rows


def restore(
    database: Database, path: Path, *, replace: bool = False, listener: Listener = no_listener
) -> dict[str, int]:
    """Fill an empty database from a backup, in one transaction.

    Args:
        replace: delete what the database holds first, in the same transaction.

    Returns: rows by table.

    Raises:
        DatabaseError: the file is no backup, is damaged or of a newer Tapewatch; the database is not empty, or refuses.
            Nothing was changed.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = _manifest(archive, path)
            with transaction(database.engine) as connection:
                if replace:
                    copying.clear(connection)
                copying.refuse_unless_empty(connection, "--replace deletes them first")
                for table in SQL_TABLES:
                    _load(connection, table, archive, manifest, listener)
    except FileNotFoundError:
        raise DatabaseError(f"{path}: there is no such file") from None
    except (zipfile.BadZipFile, pa.ArrowException, KeyError) as error:
        raise DatabaseError(f"{path} is no backup, or damaged: {error}") from error
    rollups.refresh(database.engine, everything=True)
    return dict(manifest["rows"])


def _dump(connection: Connection, table: Table, file: Path, listener: Listener) -> int:
    rows, done = copying.count(connection, table), 0
    schema = _readable(pl.DataFrame(schema={"market": pl.String(), "date": pl.Date(), **table.schema}))
    with pq.ParquetWriter(file, schema.to_arrow().schema, compression="zstd") as writer:
        for batch in copying.batches(connection, table):
            writer.write_table(_readable(batch).to_arrow())
            done += batch.height
            listener(table.name, done, rows)
    return done


def _readable(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.col(pl.Categorical).cast(pl.String))


def _manifest(archive: zipfile.ZipFile, path: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads(archive.read(_MANIFEST))
    if manifest["format"] > _FORMAT or manifest["revision"] > HEAD:
        raise DatabaseError(
            f"{path} was made at revision {manifest['revision']}, and this Tapewatch is at {HEAD}: "
            "restore it with the Tapewatch that made it, or a newer one"
        )
    if (damaged := archive.testzip()) is not None:
        raise DatabaseError(f"{path} is damaged: {damaged} does not match its checksum. Take another backup file")
    return manifest


def _load(
    connection: Connection, table: Table, archive: zipfile.ZipFile, manifest: dict[str, Any], listener: Listener
) -> None:
    rows, done = int(manifest["rows"].get(table.name, 0)), 0
    # A table that was added after the backup stays empty.
    for batch in _stored(archive, f"{table.name}.parquet") if rows else ():
        copying.write(connection, table, batch)
        done += batch.height
        listener(table.name, done, rows)
    if (kept := copying.count(connection, table)) != rows:
        raise DatabaseError(f"{archive.filename}: {table.name} should have {rows:,} rows and has {kept:,}")


def _stored(archive: zipfile.ZipFile, name: str) -> Iterator[pl.DataFrame]:
    with archive.open(name) as stream:
        for batch in pq.ParquetFile(stream).iter_batches(copying.ROWS_A_BATCH):
            frame = pl.from_arrow(batch)
            assert isinstance(frame, pl.DataFrame)  # noqa: S101 - a batch is never a series
            yield frame
