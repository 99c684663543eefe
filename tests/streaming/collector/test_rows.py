"""Live rows on their way to the database: all arrive in order, in few transactions, and bounded while it is unreachable."""

import datetime as dt
import threading
from pathlib import Path
from unittest.mock import patch

import polars as pl

from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.live import LIVE_BARS, LIVE_QUARANTINE
from tapewatch.market.tables.tape import TIME
from tapewatch.store.database.database import Database, DatabaseError
from tapewatch.streaming.collector import live_database
from tapewatch.streaming.collector.live_database import LiveDatabase, RowWriter
from tests.support.live_rows import rows_of

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


def test_a_writer_out_of_time_ends_after_the_current_transaction(tmp_path: Path) -> None:
    is_tried, may_end, written = threading.Event(), threading.Event(), []

    def write(_: object, __: object, frame: pl.DataFrame) -> int:
        written.append(frame.height)
        is_tried.set()
        assert may_end.wait(120)
        return frame.height

    writer = RowWriter(LiveDatabase("sqlite://"))
    with patch.object(LiveDatabase, "upsert", side_effect=write):
        for first in range(0, 2_000, 200):
            writer.put(LIVE_QUARANTINE, DAY, rows(first, 200))
        writer.start()
        assert is_tried.wait(120)
        assert writer.close(0) == 1_800
        may_end.set()
        writer._thread.join(120)
    assert not writer._thread.is_alive()
    assert written == [200]


def test_a_database_that_is_being_opened_does_not_delay_the_end() -> None:
    is_opening, may_open = threading.Event(), threading.Event()

    def opened(*_: object, **__: object) -> Database:
        is_opening.set()
        assert may_open.wait(120)
        raise DatabaseError("away", is_transient=True)

    database = LiveDatabase("sqlite://")
    writer = RowWriter(database)
    with patch.object(live_database, "Database", opened):
        writer.put(LIVE_QUARANTINE, DAY, rows(0, 10))
        writer.start()
        assert is_opening.wait(120)
        closing = threading.Thread(target=database.close)
        closing.start()
        closing.join(180)
        is_delayed = closing.is_alive()
        may_open.set()
        closing.join(120)
        assert writer.close(120) == 10
    assert not is_delayed


def test_while_the_database_is_unreachable_the_oldest_rows_are_dropped(tmp_path: Path) -> None:
    is_tried, may_fail = threading.Event(), threading.Event()

    def fail(*_: object) -> int:
        is_tried.set()
        assert may_fail.wait(120)
        raise DatabaseError("away", is_transient=True)

    writer = RowWriter(LiveDatabase("sqlite://"), buffer_rows=1_000)
    with patch.object(LiveDatabase, "upsert", side_effect=fail):
        for first in range(0, 500, 100):
            writer.put(LIVE_QUARANTINE, DAY, rows(first, 100))
        writer.start()
        assert is_tried.wait(120)
        # The rows of the current attempt are the oldest.
        for first in range(500, 5_000, 100):
            writer.put(LIVE_QUARANTINE, DAY, rows(first, 100))
        may_fail.set()
        assert writer.close(120) == 1_000
    assert writer.rows_dropped == 4_000


def test_an_unreachable_database_is_reported(tmp_path: Path) -> None:
    database = LiveDatabase(f"postgresql://nobody@/nothing?host={tmp_path}")
    writer = RowWriter(database)
    writer.put(LIVE_QUARANTINE, DAY, rows(0, 100))
    writer.start()
    assert writer.close(120) == 100
    assert database.is_away


def test_rows_that_the_database_refuses_are_counted_and_delay_nothing(tmp_path: Path) -> None:
    writer = RowWriter(LiveDatabase(f"sqlite:///{tmp_path / 'live.db'}"))
    writer.put(LIVE_QUARANTINE, DAY, rows(0, 10).drop("raw"))
    writer.put(LIVE_QUARANTINE, NEXT, rows(0, 10))
    writer.start()
    assert writer.close(60) == 0
    assert (writer.rows_refused, writer.rows_written) == (10, 10)


def test_an_unexpected_error_delays_nothing_either(tmp_path: Path) -> None:
    writer = RowWriter(LiveDatabase(f"sqlite:///{tmp_path / 'live.db'}"))
    writer.put(LIVE_QUARANTINE, DAY, rows(0, 10))
    writer.put(LIVE_BARS, DAY, rows_of(LIVE_BARS, 10))
    with patch.object(LiveDatabase, "upsert", side_effect=pl.exceptions.InvalidOperationError("conversion failed")):
        writer.start()
        assert writer.close(60) == 0
    assert (writer.rows_refused, writer.rows_written) == (10, 10)


def written(url: str, *frames: tuple[str, pl.DataFrame]) -> pl.DataFrame:
    """The database's rows after a collector has put or removed these."""
    writer = RowWriter(LiveDatabase(url))
    for how, frame in frames:
        getattr(writer, how)(LIVE_BARS, DAY, frame)
    writer.start()
    assert writer.close(60) == 0
    assert (writer.rows_refused, writer.rows_dropped) == (0, 0)
    with Database(url) as database:
        return database.read(LIVE_BARS)


def test_revisions_continue_after_a_restart(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'live.db'}"
    bar = rows_of(LIVE_BARS, 1).with_columns(volume=pl.lit(5.0), revision=pl.lit(0, pl.Int32))
    late = bar.with_columns(volume=pl.lit(6.0), revision=pl.lit(1, pl.Int32))
    corrected = bar.with_columns(volume=pl.lit(7.0))
    gone = bar.select(LIVE_BARS.key)
    assert written(url, ("put", bar), ("put", late))["revision"].to_list() == [1]
    assert written(url, ("put", late.with_columns(revision=pl.lit(0, pl.Int32))))["revision"].to_list() == [1]
    found = written(url, ("put", corrected))
    assert found.select("volume", "revision").rows() == [(7.0, 2)]
    found = written(url, ("remove", gone), ("put", late), ("remove", gone), ("put", corrected))
    assert found["volume"].to_list() == [7.0]
    assert written(url, ("put", late), ("remove", gone)).is_empty()
