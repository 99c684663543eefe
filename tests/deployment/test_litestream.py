"""litestream with the shipped configuration: after a kill the restored database is one that was, and is current."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.s3 import S3Server

pytestmark = pytest.mark.slow

CONFIG = Path(__file__).resolve().parents[2] / "deployment" / "compose" / "litestream.yml"
LITESTREAM = str(Path(sys.executable).parent / "litestream")
PATIENCE_S = 180


def replicated(bucket: str, s3: S3Server) -> bool:
    return "Contents" in s3.client().list_objects_v2(Bucket=bucket)


def restored(config: Path, database: Path, target: Path) -> list[int]:
    """The values in a restored copy."""
    subprocess.run(
        [LITESTREAM, "restore", "-config", config, "-o", target, database],
        check=True,
        capture_output=True,
        env=os.environ,
    )
    with sqlite3.connect(target) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return [value for (value,) in connection.execute("SELECT value FROM rows ORDER BY value")]


def test_after_a_kill_the_restored_database_lacks_nothing_that_is_older_than_a_moment(
    bucket: str, s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUCKET", bucket)
    # It cannot add authorities of its own to its client.
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    database, config = tmp_path / "tapewatch.db", tmp_path / "litestream.yml"
    config.write_text(CONFIG.read_text("utf-8").replace("/data/tapewatch.db", str(database)))
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE rows (value INTEGER PRIMARY KEY)")
    process = subprocess.Popen([LITESTREAM, "replicate", "-config", config], stdout=subprocess.DEVNULL, env=os.environ)
    try:
        deadline, written = time.monotonic() + PATIENCE_S, 0
        while not replicated(bucket, s3) or written < 200:
            assert process.poll() is None
            assert time.monotonic() < deadline
            connection.execute("INSERT INTO rows VALUES (?)", (written,))
            written += 1
            time.sleep(0.01)
        # What was committed before this moment reaches the bucket, whatever is written after it.
        before = written
        while len(restored(config, database, tmp_path / f"probe-{written}.db")) < before:
            assert time.monotonic() < deadline
            connection.execute("INSERT INTO rows VALUES (?)", (written,))
            written += 1
        for _ in range(100):
            connection.execute("INSERT INTO rows VALUES (?)", (written,))
            written += 1
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        connection.close()
    values = restored(config, database, tmp_path / "restored.db")
    # A state that was: no row is missing before the newest.
    assert values == list(range(len(values)))
    assert before <= len(values) <= written
