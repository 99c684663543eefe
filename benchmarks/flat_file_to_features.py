"""One flat-file day → features on disk, against reading the same files with Polars alone.

Run: python -m benchmarks.flat_file_to_features [--rounds N]. Three ways: to features alone; the platform's own, one step after
the other as its executor runs them: trades from their flat file into the lake, quotes likewise, then microstructure rows
from the lake into the lake; and the same with reconciled minute bars before them. The orchestrator's bookkeeping, the asset
checks and the write of the quarantine are left out. The peer is `pl.read_csv` of the same two files, with its own inference.
Reads the recorded tick days where their folder is there, else a synthetic day written as flat files. Each round runs all
once, in a new order, since what an allocator gives back late is charged to whoever runs next; the table shows medians.
"""

import argparse
import datetime as dt
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl

from tapewatch.bars.time_bars import minute_bars, reconcile
from tapewatch.emulator.synthetic.market import Synthetic
from tapewatch.features.microstructure import microstructure
from tapewatch.feeds.files.layouts import LAYOUTS
from tapewatch.feeds.files.source import FlatFileSource
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables import BARS, MICROSTRUCTURE, QUOTES, TRADES
from tapewatch.store.lake.lake import Lake
from tapewatch.store.lake.tape import symbol_batches

_ROOT = Path(os.environ.get("TAPEWATCH_MARKET_DATA", Path(__file__).resolve().parents[2] / "shared" / "market-data"))
_RECORDED = [Partition(dt.date(2013, 10, day), Market.STOCKS) for day in (7, 8, 9)]
_SYNTHETIC = [Partition(dt.date(2024, 3, 5), Market.STOCKS)]
_TABLES = {"trades": TRADES, "quotes": QUOTES}


class Pipeline:
    """The platform's way from two files to features, stage by stage."""

    def __init__(self, source: FlatFileSource, lake: Lake, day: Partition) -> None:
        self._source, self._lake, self._day = source, lake, day

    def tape(self) -> None:
        """Trades into the lake, then quotes."""
        for name, table in _TABLES.items():
            self._lake.write(table, self._day, getattr(self._source, name)(self._day))

    def bars(self) -> None:
        """Bars from the lake's trades, reconciled with the delivered ones, into the lake."""
        delivered = pl.concat(self._source.bars(self._day))
        columns = ["symbol", "time", "sequence_number", "price", "size", "conditions", "correction"]
        trades = self._lake.read(TRADES, self._day, columns=columns)
        self._lake.write(BARS, self._day, reconcile(minute_bars(trades, self._day.session), delivered))

    def features(self) -> None:
        """Microstructure rows from the lake into the lake."""
        batches = symbol_batches(self._lake, self._day)
        self._lake.write(MICROSTRUCTURE, self._day, (microstructure(*tape, self._day.session) for tape in batches))

    def to_features(self) -> None:
        """Files to features on disk."""
        self.tape()
        self.features()

    def to_features_alone(self) -> None:
        """Files to features on disk, the tape itself not kept: both tables in memory, as a script would have them."""
        trades, quotes = (pl.concat(getattr(self._source, name)(self._day)) for name in _TABLES)
        self._lake.write(MICROSTRUCTURE, self._day, microstructure(trades, quotes, self._day.session))

    def to_features_and_bars(self) -> None:
        """Files to features and reconciled bars on disk."""
        self.tape()
        self.bars()
        self.features()


def files(root: Path, day: Partition) -> list[Path]:
    """The day's trades and quotes."""
    prefixes = (LAYOUTS[day.market, name].prefix for name in _TABLES)
    return [root / prefix / f"{day.date:%Y/%m}" / f"{day.date}.csv.gz" for prefix in prefixes]


def polars_alone(paths: list[Path]) -> int:
    """Read the files as any script would."""
    return sum(pl.read_csv(path).height for path in paths)


@contextmanager
def tape_on_disk() -> Iterator[tuple[Path, list[Partition]]]:
    """The recorded flat files, or a synthetic day written as such."""
    if _ROOT.is_dir():
        yield _ROOT, _RECORDED
        return
    with tempfile.TemporaryDirectory() as folder:
        (day,) = _SYNTHETIC
        market = Synthetic(7)
        tapes = [market.day(symbol, day.date, trades=150_000) for symbol in sorted(market.symbols(Market.STOCKS))]
        for path, name in zip(files(Path(folder), day), _TABLES, strict=True):
            _write_flat(path, name, day.market, pl.concat(getattr(tape, name) for tape in tapes))
        bars = minute_bars(pl.concat(tape.trades for tape in tapes), day.session)
        layout = LAYOUTS[day.market, "bars"]
        _write_flat(Path(folder) / layout.prefix / f"{day.date:%Y/%m}" / f"{day.date}.csv.gz", "bars", day.market, bars)
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
