"""One day of flat files to features on disk, compared with only reading the same files with Polars.

Run: python -m benchmarks.tape.flat_file_to_features [--rounds N]. Three paths are measured: files to features only; the platform's
steps one after the other (trades and quotes from flat files into the lake, then microstructure rows from the lake); and the
same with reconciled minute bars. Dagster's bookkeeping, asset checks and writing the quarantine are left out. The peer is
`pl.read_csv` of the same two files with its own type inference. Reads the recorded tick days if their folder exists, else a
synthetic day written as flat files. Each round runs all paths in a new random order, because memory that the allocator
returns late slows the next path; the table shows medians.
"""

import argparse
import datetime as dt
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.measuring import MARKET_DATA, joined, synthetic_days
from tapewatch.bars.time_bars import minute_bars, reconcile
from tapewatch.emulator.synthetic.market import Synthetic
from tapewatch.features.microstructure import microstructure
from tapewatch.feeds.files.layouts import LAYOUTS
from tapewatch.feeds.files.source import FlatFileSource
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.tape import BARS, MICROSTRUCTURE, QUOTES, TRADES
from tapewatch.store.lake.lake import Lake
from tapewatch.store.lake.tape import symbol_batches

_RECORDED = [Partition(dt.date(2013, 10, day), Market.STOCKS) for day in (7, 8, 9)]
_SYNTHETIC = [Partition(dt.date(2024, 3, 5), Market.STOCKS)]
_TABLES = {"trades": TRADES, "quotes": QUOTES}


class Pipeline:
    """The platform's steps from two files to features."""

    def __init__(self, source: FlatFileSource, lake: Lake, day: Partition) -> None:
        self._source, self._lake, self._day = source, lake, day

    def tape(self) -> None:
        """Write trades and quotes into the lake."""
        for name, table in _TABLES.items():
            self._lake.write(table, self._day, getattr(self._source, name)(self._day))

    def bars(self) -> None:
        """Write bars built from the lake's trades and reconciled with the delivered bars."""
        delivered = pl.concat(self._source.bars(self._day))
        columns = ["symbol", "time", "sequence_number", "price", "size", "conditions", "correction"]
        trades = self._lake.read(TRADES, self._day, columns=columns)
        self._lake.write(BARS, self._day, reconcile(minute_bars(trades, self._day.session), delivered))

    def features(self) -> None:
        """Write microstructure rows built from the lake's ticks."""
        batches = symbol_batches(self._lake, self._day)
        self._lake.write(MICROSTRUCTURE, self._day, (microstructure(*tape, self._day.session) for tape in batches))

    def to_features(self) -> None:
        """Files to tape and features in the lake."""
        self.tape()
        self.features()

    def to_features_alone(self) -> None:
        """Files to features in the lake, with both tables in memory and without writing the tape."""
        trades, quotes = (pl.concat(getattr(self._source, name)(self._day)) for name in _TABLES)
        self._lake.write(MICROSTRUCTURE, self._day, microstructure(trades, quotes, self._day.session))

    def to_features_and_bars(self) -> None:
        """Files to tape, reconciled bars and features in the lake."""
        self.tape()
        self.bars()
        self.features()


def files(root: Path, day: Partition) -> list[Path]:
    """The flat files of the day's trades and quotes."""
    prefixes = (LAYOUTS[day.market, name].folders[0] for name in _TABLES)
    return [root / prefix / f"{day.date:%Y/%m}" / f"{day.date}.csv.gz" for prefix in prefixes]


def polars_alone(paths: list[Path]) -> int:
    """Read the files with Polars."""
    return sum(pl.read_csv(path).height for path in paths)


@contextmanager
def tape_on_disk() -> Iterator[tuple[Path, list[Partition]]]:
    """The recorded flat files and their days, or a synthetic day written as flat files."""
    if MARKET_DATA.is_dir():
        yield MARKET_DATA, _RECORDED
        return
    with tempfile.TemporaryDirectory() as folder:
        (day,) = _SYNTHETIC
        trades, quotes, _ = joined(synthetic_days(Synthetic(7), day, trades=150_000))
        for path, name, frame in zip(files(Path(folder), day), _TABLES, (trades, quotes), strict=True):
            _write_flat(path, name, day.market, frame)
        bars = minute_bars(trades, day.session)
        layout = LAYOUTS[day.market, "bars"]
        _write_flat(
            Path(folder) / layout.folders[0] / f"{day.date:%Y/%m}" / f"{day.date}.csv.gz", "bars", day.market, bars
        )
        yield Path(folder), _SYNTHETIC


def _write_flat(path: Path, name: str, market: Market, frame: pl.DataFrame) -> None:
    columns = LAYOUTS[market, name].columns
    path.parent.mkdir(parents=True)
    frame.select(pl.col(ours).to_physical().alias(file) if frame.schema[ours].is_temporal() else pl.col(ours).alias(file)
                 for file, ours in columns.items()).write_csv(path, compression="gzip")  # fmt: skip


def seconds(action: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor seconds."""
    wall, processor = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - wall, time.process_time() - processor


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    random = np.random.default_rng(1)
    with tape_on_disk() as (root, days), tempfile.TemporaryDirectory() as lake:
        print(f"{'day':10} {'rows':>9}  {'path':30} {'wall s':>7} {'cpu s':>7} {'ratio':>6} {'cpu ratio':>9}")
        for day in days:
            path = Pipeline(FlatFileSource(str(root)), Lake(lake), day)
            peer = files(root, day)
            stages = {"polars read_csv": lambda p=peer: polars_alone(p),
                      "files to features": path.to_features_alone,
                      "files to lake and features": path.to_features,
                      "files to lake, bars, features": path.to_features_and_bars,
                      "  tape": path.tape, "  bars": path.bars, "  features": path.features}  # fmt: skip
            for action in stages.values():
                action()
            times = {name: [] for name in stages}
            for _ in range(rounds):
                for name in random.permutation(list(stages)).tolist():
                    times[name].append(seconds(stages[name]))
            medians = {name: [statistics.median(t[i] for t in taken) for i in (0, 1)] for name, taken in times.items()}
            wall, processor = medians["polars read_csv"]
            for name, (w, c) in medians.items():
                print(
                    f"{day.date} {polars_alone(peer):9,}  {name:30} {w:7.3f} {c:7.3f} {w / wall:6.2f} {c / processor:9.2f}"
                )


if __name__ == "__main__":
    main()
