"""Live rows on their way to the database: all of them arrive in order, few transactions, and a bound while it is away."""

import datetime as dt
from pathlib import Path

import polars as pl

from tapewatch.market.instruments import Market, Partition
from tapewatch.market.live_tables import LIVE_QUARANTINE
from tapewatch.market.tables import TIME
from tapewatch.store.database import Database
from tapewatch.streaming.live_database import LiveDatabase, RowWriter

DAY = Partition(dt.date(2024, 3, 5), Market.CRYPTO)
NEXT = Partition(dt.date(2024, 3, 6), Market.CRYPTO)


def rows(first: int, count: int, reason: str = "made up") -> pl.DataFrame:
    numbers = range(first, first + count)
    return LIVE_QUARANTINE.conform(
        pl.DataFrame({"entry_id": [f"{n:06d}" for n in numbers]}).with_columns(
            source=pl.lit("test"), received_time=pl.lit(0).cast(TIME), reason=pl.lit(reason), raw=pl.lit("{}")
        )
    )


def test_everything_arrives_and_the_later_row_stays(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'live.db'}"
    writer = RowWriter(LiveDatabase(url))
    for first in range(0, 3_000, 100):
        writer.put(LIVE_QUARANTINE, DAY, rows(first, 100))
        writer.put(LIVE_QUARANTINE, NEXT, rows(10_000 + first, 100))
    writer.put(LIVE_QUARANTINE, DAY, rows(0, 2_500, "said later"))
    writer.start()
    assert writer.close(60) == 0
    with Database(url) as database:
        found = database.read(LIVE_QUARANTINE)
    assert found.height == 6_000
    assert found.filter(pl.col("reason") == "said later").height == 2_500
    assert writer.rows_dropped == writer.rows_refused == 0


def test_while_the_database_is_away_the_oldest_rows_go(tmp_path: Path) -> None:
    database = LiveDatabase(f"postgresql://nobody@/nothing?host={tmp_path}")
    writer = RowWriter(database, buffer_rows=1_000)
    writer.start()
    for first in range(0, 5_000, 100):
        writer.put(LIVE_QUARANTINE, DAY, rows(first, 100))
    assert writer.close(30) <= 1_100
    assert writer.rows_dropped >= 3_900
    assert writer.rows_dropped + writer.rows_waiting == 5_000
    assert database.is_away


def test_rows_that_the_database_refuses_are_counted_and_hold_up_nothing(tmp_path: Path) -> None:
    writer = RowWriter(LiveDatabase(f"sqlite:///{tmp_path / 'live.db'}"))
    writer.put(LIVE_QUARANTINE, DAY, rows(0, 10).drop("raw"))
    writer.put(LIVE_QUARANTINE, NEXT, rows(0, 10))
    writer.start()
    assert writer.close(30) == 0
    assert (writer.rows_refused, writer.rows_written) == (10, 10)
