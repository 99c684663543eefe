"""Files of unreadable events: all are written, or counted as dropped."""

import datetime as dt
from pathlib import Path
from unittest.mock import patch

import polars as pl

from tapewatch.market.tables.live import LIVE_QUARANTINE
from tapewatch.market.tables.tape import TIME
from tapewatch.store.spool.quarantine import QuarantineFiles, quarantined


def rows(first: int, count: int) -> pl.DataFrame:
    return LIVE_QUARANTINE.conform(
        pl.DataFrame({"entry_id": [f"{n:06d}" for n in range(first, first + count)]}).with_columns(
            source=pl.lit("test"), received_time=pl.lit(0).cast(TIME), reason=pl.lit("made up"), raw=pl.lit("{}")
        )
    )


def test_rows_are_read_back_in_order_and_after_a_restart(tmp_path: Path) -> None:
    assert quarantined(tmp_path).equals(LIVE_QUARANTINE.empty())
    for start in (0, 3_000):
        files = QuarantineFiles(tmp_path)
        for first in (start, start + 1_000):
            files.add(rows(first, 1_000))
        files.flush()
        files.add(rows(start + 2_000, 1_000))
        files.close()
        assert (files.rows_written, files.rows_dropped, files.rows_held, files.error) == (3_000, 0, 0, None)
    assert quarantined(tmp_path).equals(rows(0, 6_000))
    assert quarantined(tmp_path, dt.date(2001, 1, 1)).is_empty()


def test_only_old_days_are_deleted(tmp_path: Path) -> None:
    files = QuarantineFiles(tmp_path)
    files.add(rows(0, 10))
    files.close()
    (today,) = tmp_path.iterdir()
    (tmp_path / "2001-01-01").mkdir()
    (tmp_path / "2001-01-01" / "1.parquet").write_bytes(b"old")
    (tmp_path / "notes").mkdir()
    QuarantineFiles(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([today.name, "notes"])


def test_above_the_size_limit_rows_are_dropped_and_counted(tmp_path: Path) -> None:
    files = QuarantineFiles(tmp_path, most_bytes=1)
    for first in (0, 10):
        files.add(rows(first, 10))
        files.flush()
    assert (files.rows_written, files.rows_dropped, files.rows_held) == (10, 10, 0)
    assert "delete" in str(files.error)
    assert QuarantineFiles(tmp_path, most_bytes=1).folder == tmp_path
    assert quarantined(tmp_path).height == 10


def test_rows_wait_up_to_a_limit_while_the_disk_refuses_writes(tmp_path: Path) -> None:
    folder = tmp_path / "quarantine"
    folder.write_text("in the way")
    files = QuarantineFiles(folder, held_rows=15)
    for first in (0, 10):
        files.add(rows(first, 10))
        files.flush()
    assert (files.rows_written, files.rows_held, files.rows_dropped) == (0, 15, 5)
    assert str(folder) in str(files.error)
    folder.unlink()
    files.flush()
    assert (files.rows_written, files.rows_held, files.error) == (15, 0, None)
    assert quarantined(folder).equals(rows(0, 15))


def test_rows_wait_while_the_disk_is_full(tmp_path: Path) -> None:
    """Polars has an error of its own for a full disk."""
    files = QuarantineFiles(tmp_path)
    files.add(rows(0, 10))
    with patch.object(pl.DataFrame, "write_parquet", side_effect=pl.exceptions.ComputeError("No space left on device")):
        files.flush()
    assert files.error is not None
    assert "No space left" in files.error
    assert files.rows_held == 10
    assert not list(tmp_path.rglob("*.tmp"))
    files.flush()
    assert (files.rows_written, files.error) == (10, None)
