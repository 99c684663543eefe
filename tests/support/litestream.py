"""litestream with the shipped configuration, for a SQLite database of one table of numbered rows."""

import os
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.support.s3 import S3Server

CONFIG = Path(__file__).resolve().parents[2] / "deployment" / "compose" / "litestream.yml"
_LITESTREAM = str(Path(sys.executable).parent / "litestream")


@dataclass
class Replicated:
    """A database whose rows are their number and when they were committed, and its replica in a bucket."""

    folder: Path
    s3: S3Server
    bucket: str
    rows: int = 0

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._config = self.folder / "litestream.yml"
        self._config.write_text(CONFIG.read_text("utf-8").replace("/data/tapewatch.db", str(self.database)))
        self._connection = sqlite3.connect(self.database, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("CREATE TABLE rows (value INTEGER PRIMARY KEY, at REAL)")

    @property
    def database(self) -> Path:
        return self.folder / "tapewatch.db"

    @property
    def has_begun(self) -> bool:
        """Whether anything is in the bucket."""
        return "Contents" in self.s3.client().list_objects_v2(Bucket=self.bucket)

    def replicate(self) -> subprocess.Popen[bytes]:
        """Start litestream."""
        command = [_LITESTREAM, "replicate", "-config", str(self._config)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=self._environment)

    def write(self) -> None:
        """Commit a row."""
        self._connection.execute("INSERT INTO rows VALUES (?, ?)", (self.rows, time.time()))
        self.rows += 1

    def committed(self) -> list[tuple[int, float]]:
        """The rows of the database itself."""
        return self._connection.execute("SELECT value, at FROM rows ORDER BY value").fetchall()

    def restored(self) -> list[tuple[int, float]]:
        """The rows of a copy restored from the bucket, whose integrity SQLite confirms."""
        target = self.folder / f"restored-{time.monotonic_ns()}.db"
        command = [_LITESTREAM, "restore", "-config", str(self._config), "-o", str(target), str(self.database)]
        subprocess.run(command, check=True, capture_output=True, env=self._environment)
        with sqlite3.connect(target) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            return connection.execute("SELECT value, at FROM rows ORDER BY value").fetchall()

    def close(self) -> None:
        self._connection.close()

    @property
    def _environment(self) -> dict[str, str]:
        # It cannot add authorities of its own to its client.
        inherited = {name: value for name, value in os.environ.items() if name != "AWS_CA_BUNDLE"}
        return {**inherited, **self.s3.environment, "BUCKET": self.bucket}
