"""Ten thousand small batches of the spool merged into the lake, compared with the same rows in one batch.

Run: python -m benchmarks.tape.stream_ingest [--batches N] [--rows N] [--rounds N]. Both sides list their files, merge them into an
empty partition, write the ledger and delete the files. Writing the spool is not timed. Each round runs both in turn.
"""

import argparse
import datetime as dt
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.stream import STREAM_TRADES
from tapewatch.store.lake.lake import Lake
from tapewatch.store.spool.files import SpoolFile, waiting
from tapewatch.store.spool.rows import write_rows
from tapewatch.streaming.ingest.ingest import ingest

_DAY = Partition(dt.date(2024, 3, 5), Market.STOCKS)
_SYMBOLS = 50


def made_up(rows: int) -> pl.DataFrame:
    """Trades of several symbols in order of time."""
    dice = np.random.default_rng(1)
    session = _DAY.session
    times = np.sort(dice.integers(session.regular_start, session.regular_end, rows)) // 1_000_000 * 1_000_000
    return STREAM_TRADES.conform(
        pl.DataFrame(
            {
                "symbol": np.array([f"S{number:03}" for number in range(_SYMBOLS)])[dice.integers(0, _SYMBOLS, rows)],
                "time": times,
                "sequence_number": np.arange(1, rows + 1),
                "price": np.round(50 + dice.normal(0, 1, rows), 2),
                "size": dice.integers(1, 500, rows).astype(float),
                "exchange": dice.integers(1, 20, rows),
                "conditions": np.array(["", "12", "37", "12,37"])[dice.integers(0, 4, rows)],
                "id": np.arange(rows).astype(str),
                "tape": dice.integers(1, 4, rows),
                "received_time": times + 20_000_000,
            }
        )
    )


def fill(spool: Path, rows: pl.DataFrame, batches: int) -> None:
    """Write the rows to the spool in files of equal size."""
    folder = spool / _DAY.market / str(_DAY.date)
    folder.mkdir(parents=True)
    size = -(-rows.height // batches)
    for number in range(batches):
        file = SpoolFile.at(folder, "collector", number + 1, STREAM_TRADES.name)
        with Path(file.path).open("wb") as stream:
            write_rows(rows[number * size : (number + 1) * size], stream)
    # A collector syncs each file. Deleting a file that is not on disk yet would wait for it.
    os.sync()


def seconds(rows: pl.DataFrame, batches: int) -> tuple[float, float]:
    """Seconds to list the spool as the sensor does, and to merge all of it."""
    with tempfile.TemporaryDirectory(prefix="tapewatch-bench-") as folder:
        root = Path(folder)
        fill(root / "spool", rows, batches)
        began = time.perf_counter()
        found = waiting(root / "spool")
        listed = time.perf_counter()
        ledger = ingest(Lake(root / "lake"), root / "spool", _DAY, None, dt.datetime.now(dt.UTC))
        ended = time.perf_counter()
        if len(found[_DAY]) != batches or ledger["added"].sum() != rows.height:
            raise SystemExit("rows were lost")
        return listed - began, ended - listed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    rows = made_up(given.rows)
    seconds(rows[:1000], 2)
    taken: dict[int, list[tuple[float, float]]] = {1: [], given.batches: []}
    for _ in range(given.rounds):
        for batches, times in taken.items():
            times.append(seconds(rows, batches))
    print(f"{given.rows:,} trades of {_SYMBOLS} symbols, median of {given.rounds}")
    print(f"{'batches':>10}{'list, s':>10}{'merge, s':>10}{'rows/s':>12}{'ratio':>8}")
    whole = statistics.median(merge for _, merge in taken[1])
    for batches, times in taken.items():
        listing, merging = (statistics.median(column) for column in zip(*times, strict=True))
        print(f"{batches:10,}{listing:10.2f}{merging:10.2f}{given.rows / merging:12,.0f}{whole / merging:8.2f}")


if __name__ == "__main__":
    main()
