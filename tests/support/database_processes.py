"""Work of several processes on one database; each reports its result."""

import datetime as dt
import multiprocessing
import queue
from collections.abc import Callable

import polars as pl

from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.live import LIVE_BARS
from tapewatch.store.database.database import Database
from tapewatch.store.database.schema import revision_of
from tests.support.live_rows import rows_of

DAY = Partition(dt.date(2024, 6, 3), Market.STOCKS)
ROWS = 120
_ROUNDS = 12

Results = "multiprocessing.Queue[str]"


def run_together(work: Callable[..., None], url: str, processes: int) -> list[str]:
    """Run `work(url, number, results)` in several new processes at once; returns their results in order of completion."""
    spawn = multiprocessing.get_context("spawn")
    results = spawn.Queue()
    workers = [spawn.Process(target=work, args=(url, number, results)) for number in range(processes)]
    for worker in workers:
        worker.start()
    reported: list[str] = []
    while len(reported) < processes:
        try:
            reported.append(results.get(timeout=1))
        except queue.Empty:
            ended = [worker.exitcode for worker in workers]
            assert not any(ended), f"a process ended before it reported: exit codes {ended}"
    for worker in workers:
        worker.join()
    return reported


def write_the_same_rows(url: str, writer: int, results: Results) -> None:
    """Upsert the same keys repeatedly with the writer's number in two columns; reports `done` or the error."""
    rows = rows_of(LIVE_BARS, ROWS)
    try:
        with Database(url) as database:
            for round_ in range(_ROUNDS):
                # Small and large frames in random order, so that both ways of writing are used at the same time.
                mine = rows.sample(ROWS if round_ % 2 else 20, seed=writer * 100 + round_, shuffle=True)
                database.upsert(
                    LIVE_BARS, DAY, mine.with_columns(revision=pl.lit(writer), volume=pl.lit(float(writer)))
                )
    except Exception as error:  # noqa: BLE001 - reported to the test
        results.put(f"writer {writer}: {error!r}")
    else:
        results.put("done")


def open_it(url: str, _: int, results: Results) -> None:
    """Open the database; reports its revision or the error."""
    try:
        with Database(url) as database, database.engine.connect() as connection:
            results.put(str(revision_of(connection)))
    except Exception as error:  # noqa: BLE001 - reported to the test
        results.put(repr(error))
