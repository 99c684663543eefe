"""SIGKILL of litestream during 200 writes a second, as when the machine is lost: what a restored copy lacks."""

import random
import time
from dataclasses import dataclass
from pathlib import Path

from tests.reliability.scenario import Outcome
from tests.support.litestream import Replicated
from tests.support.s3 import S3Server, s3_server

_EVERY_S = 0.005
#: Seconds of writes before a kill, once the replica has begun.
_LIFETIME_S = (1.0, 3.0)
_PATIENCE_S = 180.0


@dataclass(frozen=True)
class Restored:
    """Restored copies against their databases. `broken` lack a row before the newest, or have one that never was."""

    rows: int
    broken: int
    lacks_s: tuple[float, ...]

    @property
    def is_none(self) -> bool:
        """Whether each copy is a state that was."""
        return not self.broken

    def __str__(self) -> str:
        return f"{self.rows:,} rows restored: {self.broken} copies that never were, {max(self.lacks_s):.2f} s of writes lacking at most"


def kills(home: Path, wanted: int) -> Outcome:
    """Lose so many machines, each with a database and a bucket of its own."""
    chance = random.Random(wanted)  # noqa: S311 - moments, not secrets
    rows, broken, lacks = 0, 0, []
    (home / "s3").mkdir(parents=True)
    with s3_server(home / "s3") as s3:
        for number in range(wanted):
            committed, restored = _lost(home / str(number), s3, chance.uniform(*_LIFETIME_S))
            broken += restored != committed[: len(restored)]
            rows += len(restored)
            # From the newest row that came back to the newest that was committed when the machine was lost.
            lacks.append(committed[-1][1] - restored[-1][1])
    mean = sum(lacks) / len(lacks)
    found = Restored(rows, broken, tuple(lacks))
    return Outcome("machine lost, SQLite restored from its replica", wanted, wanted, found, f"{mean:.2f} s on average")


def _lost(folder: Path, s3: S3Server, lifetime_s: float) -> tuple[list[tuple[int, float]], list[tuple[int, float]]]:
    """The rows that were committed when litestream was killed, and those of the restored copy."""
    replicated = Replicated(folder, s3, s3.bucket())
    process = replicated.replicate()
    try:
        deadline = time.monotonic() + _PATIENCE_S
        while not replicated.has_begun:
            assert time.monotonic() < deadline, "litestream does not begin"
            replicated.write()
        until = time.monotonic() + lifetime_s
        while time.monotonic() < until:
            replicated.write()
            time.sleep(_EVERY_S)
    finally:
        process.kill()
        process.wait()
    committed, restored = replicated.committed(), replicated.restored()
    replicated.close()
    return committed, restored
