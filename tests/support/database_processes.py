"""What processes of their own do to a database; each says how it went."""

import datetime as dt
import multiprocessing
from collections.abc import Callable

import polars as pl

from tapewatch.market.instruments import Market, Partition
from tapewatch.market.live_tables import LIVE_BARS
from tapewatch.store.database.database import Database
from tapewatch.store.database.schema import revision_of
from tests.support.live_rows import rows_of

DAY = Partition(dt.date(2024, 6, 3), Market.STOCKS)
ROWS = 120
_ROUNDS = 12
_DEADLINE_S = 240

Results = "multiprocessing.Queue[str]"


def run_together(work: Callable[..., None], url: str, processes: int) -> list[str]:
    """Run `work(url, number, results)` in new processes at once; what each of them said, in the order of their ends."""
    spawn = multiprocessing.get_context("spawn")
    results = spawn.Queue()
    workers = [spawn.Process(target=work, args=(url, number, results)) for number in range(processes)]
    for worker in workers:
        worker.start()
    said = [results.get(timeout=_DEADLINE_S) for _ in workers]
    for worker in workers:
        worker.join(_DEADLINE_S)
    return said


def write_the_same_rows(url: str, writer: int, results: Results) -> None:
    """Upsert the same keys again and again, with the writer's number in two columns; says `done` or its error."""
    rows = rows_of(LIVE_BARS, ROWS)
    try:
        with Database(url) as database:
            for round_ in range(_ROUNDS):
                # Small and large frames, in an order of their own, so that both ways of writing meet.
                mine = rows.sample(ROWS if round_ % 2 else 20, seed=writer * 100 + round_, shuffle=True)
                database.upsert(
                    LIVE_BARS, DAY, mine.with_columns(revision=pl.lit(writer), volume=pl.lit(float(writer)))
                )
    except Exception as error:  # noqa: BLE001 - whatever it is, the test shows it
        results.put(f"writer {writer}: {error!r}")
    else:
        results.put("done")


def open_it(url: str, _: int, results: Results) -> None:
    """Open the database; says its revision or the error."""
    try:
        with Database(url) as database, database.engine.connect() as connection:
            results.put(str(revision_of(connection)))
    except Exception as error:  # noqa: BLE001 - whatever it is, the test shows it
        results.put(repr(error))
