"""Files of unreadable stream events, beside the spool.

Layout: `{folder}/{date}/{written_ns}.parquet`, `LIVE_QUARANTINE` rows, by the UTC date of the write.
"""

import datetime as dt
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import polars as pl

from tapewatch.market.instruments import Market
from tapewatch.market.tables.live import LIVE_QUARANTINE
from tapewatch.store.durable import write_whole

#: The most bytes of one market's files: some ten million events, since similar lines compress well.
MOST_BYTES = 2 * 1024**3
#: The most rows that wait in memory while the disk is full.
_HELD_ROWS = 200_000
#: As long as the database keeps its quarantine.
_KEPT = dt.timedelta(days=90)
_SUFFIX = ".parquet"
#: Errors of a write: the system's, and Polars' own for a full disk.
_REFUSALS = (OSError, pl.exceptions.PolarsError)


class QuarantineFiles:
    """One market's files of unreadable events. Not thread-safe.

    Args:
        folder: made when it is first needed; days older than 90 are deleted at the start.
        most_bytes: above this size of all files, rows are dropped and counted.
        held_rows: the most rows that wait in memory while the disk refuses writes.

    Attributes:
        rows_written, rows_dropped: since the start; the newest rows are dropped first.
        error: why the last write failed; None if it did not.
    """

    def __init__(self, folder: Path, *, most_bytes: int = MOST_BYTES, held_rows: int = _HELD_ROWS) -> None:
        self.folder = folder
        self.rows_written = self.rows_dropped = 0
        self.error: str | None = None
        self._most_bytes, self._most_held = most_bytes, held_rows
        self._held: list[pl.DataFrame] = []
        self._forget(dt.datetime.now(dt.UTC).date() - _KEPT)
        self._bytes = sum(path.stat().st_size for path in self._files())

    @property
    def rows_held(self) -> int:
        """Number of rows that wait in memory."""
        return sum(frame.height for frame in self._held)

    def add(self, rows: pl.DataFrame) -> None:
        """Hold `LIVE_QUARANTINE` rows until `flush`; the newest are dropped if too many wait."""
        kept = rows.head(max(0, self._most_held - self.rows_held))
        self.rows_dropped += rows.height - kept.height
        if kept.height:
            self._held.append(kept)

    def flush(self) -> None:
        """Write the held rows as one file. If the disk refuses, `error` is set and the rows stay held."""
        if not self._held:
            return
        rows = pl.concat(self._held)
        if self._bytes >= self._most_bytes:
            self.error = f"{self.folder} holds {self._most_bytes:,} bytes: examine the files and delete them"
            self.rows_dropped += rows.height
            self._held = []
            return
        try:
            self._bytes += _write(rows, self.folder)
        except _REFUSALS as error:
            self.error = f"{self.folder}: {getattr(error, 'strerror', None) or error}"
            return
        self.rows_written += rows.height
        self._held, self.error = [], None

    def close(self) -> None:
        """Flush; rows that the disk still refuses are dropped."""
        self.flush()
        self.rows_dropped += self.rows_held
        self._held = []

    def _files(self) -> Iterator[Path]:
        return self.folder.glob(f"*/*{_SUFFIX}")

    def _forget(self, before: dt.date) -> None:
        for day in self.folder.glob("*"):
            with suppress(ValueError):
                if dt.date.fromisoformat(day.name) < before:
                    shutil.rmtree(day, ignore_errors=True)


def quarantine_folder(spool_root: Path, market: Market) -> Path:
    """The folder of a market's files."""
    return Path(spool_root) / market.value / "quarantine"


def quarantined(folder: Path, day: dt.date | None = None) -> pl.DataFrame:
    """`LIVE_QUARANTINE` rows of a market's files of one day (UTC) or of all, in order of arrival."""
    paths = sorted(folder.glob(f"{day.isoformat() if day else '*'}/*{_SUFFIX}"))
    return pl.concat([LIVE_QUARANTINE.empty(), *(pl.read_parquet(path, glob=False) for path in paths)])


def _write(rows: pl.DataFrame, folder: Path) -> int:
    now_ns = time.time_ns()
    path = folder / dt.datetime.fromtimestamp(now_ns // 10**9, dt.UTC).date().isoformat() / f"{now_ns}{_SUFFIX}"
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_whole(path, partial(rows.write_parquet, compression="zstd"))
