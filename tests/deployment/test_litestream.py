"""litestream with the shipped configuration: after a kill the restored database is one that was, and is current.

How much it lacks is measured by `python -m tests.reliability --only litestream`.
"""

import time
from pathlib import Path

import pytest

from tests.support.litestream import Replicated
from tests.support.s3 import S3Server

pytestmark = pytest.mark.slow

PATIENCE_S = 180


def test_after_a_kill_the_restored_database_lacks_nothing_that_is_older_than_a_moment(
    bucket: str, s3: S3Server, tmp_path: Path
) -> None:
    replicated = Replicated(tmp_path, s3, bucket)
    process = replicated.replicate()
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not replicated.has_begun or replicated.rows < 200:
            assert process.poll() is None
            assert time.monotonic() < deadline
            replicated.write()
            time.sleep(0.01)
        # What was committed before this moment reaches the bucket, whatever is written after it.
        before = replicated.rows
        while len(replicated.restored()) < before:
            assert time.monotonic() < deadline
            replicated.write()
        for _ in range(100):
            replicated.write()
    finally:
        process.kill()
        process.wait()
    committed, restored = replicated.committed(), replicated.restored()
    replicated.close()
    # A state that was: no row is missing before the newest.
    assert restored == committed[: len(restored)]
    assert before <= len(restored) <= len(committed)
