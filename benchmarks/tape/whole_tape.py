"""A made-up US tape of 10,000 symbols from lake to minute features: peak memory, and time against the number of ticks.

Run: python -m benchmarks.tape.whole_tape [--millions 1 3 10 30 100] [--symbols N] [--folder DIR]. Each size is millions of trades, with
twice as many quotes; activity falls with a symbol's rank. Each day is written into a lake, measured in a process of its own, so that
its peak memory is separate, and removed. 100 million take some ten minutes and 6 GB of disk. The plot goes to docs/images.
"""

import argparse
import datetime as dt
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tapewatch.features.microstructure import microstructure
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.schema import Table
from tapewatch.market.tables.tape import MICROSTRUCTURE, QUOTES, TRADES
from tapewatch.store.lake.lake import Lake
from tapewatch.store.lake.tape import symbol_batches
from tests.support.peak_memory import peak_mb

_DAY = Partition(dt.date(2024, 3, 5), Market.STOCKS)
_IMAGE = Path(__file__).resolve().parents[2] / "docs" / "images" / "whole_tape.png"
_ROWS_AT_ONCE = 2_000_000
#: Ranks by which the activity of the busiest symbols is flattened.
_FLATTENING = 20


def made(table: Table, symbols: int, rows: int) -> Iterator[pl.DataFrame]:
    """Rows of a table in groups of whole symbols. Trades lie on, quotes around, one price path of each symbol."""
    weights = 1.0 / (np.arange(symbols) + _FLATTENING)
    counts = np.maximum(1, np.round(rows * weights / weights.sum())).astype(np.int64)
    group = np.cumsum(counts) // _ROWS_AT_ONCE
    for which in np.unique(group):
        numbers = np.flatnonzero(group == which)
        yield table.conform(_rows(table, numbers, counts[numbers]))


def _rows(table: Table, numbers: np.ndarray, counts: np.ndarray) -> pl.DataFrame:
    random = np.random.default_rng(int(numbers[0]))
    session, names = _DAY.session, pl.Series([f"S{number:05}" for number in numbers])
    which = np.repeat(np.arange(numbers.size), counts)
    share = random.random(which.size)
    order = np.lexsort((share, which))
    share = share[order]
    phase, level = random.random(numbers.size)[which], np.exp(random.normal(3.5, 0.8, numbers.size))[which]
    cents = np.round(
        100 * level * (1 + 0.01 * np.sin(2 * np.pi * (20 * share + phase))) + random.normal(0, 1, which.size)
    )
    cents = np.maximum(cents, 2.0)
    columns: dict[str, object] = {
        "symbol": names[which],
        "time": session.regular_start + (share * (session.regular_end - session.regular_start)).astype(np.int64),
        "sequence_number": np.arange(1, which.size + 1),
        "conditions": pl.Series([""]).new_from_index(0, which.size),
    }
    if table is TRADES:
        columns |= {"price": cents / 100, "size": 100.0 * random.integers(1, 9, which.size), "exchange": np.int16(4)}
    else:
        columns |= {"bid_price": (cents - 1) / 100, "ask_price": (cents + 1) / 100}
        columns |= {name: 100.0 * random.integers(1, 9, which.size) for name in ("bid_size", "ask_size")}
    return pl.DataFrame(columns)


def measure(root: Path) -> dict[str, float]:
    """From lake to features in this process: ticks, rows, seconds, processor seconds, peak memory in MB."""
    lake, session = Lake(root), _DAY.session
    microstructure(TRADES.empty(), None, session, symbols=["WARM"])
    start, busy = time.perf_counter(), time.process_time()
    written = lake.write(MICROSTRUCTURE, _DAY, (microstructure(*tape, session) for tape in symbol_batches(lake, _DAY)))
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    ticks = lake.rows(TRADES, _DAY) + lake.rows(QUOTES, _DAY)
    return {"ticks": ticks, "rows": written.rows, "seconds": seconds, "cpu": busy, "peak_mb": peak_mb()}


def _measured(folder: Path, symbols: int, millions: float) -> dict[str, float]:
    root = folder / f"{millions:g}"
    lake = Lake(root)
    for table, many in ((TRADES, 1), (QUOTES, 2)):
        lake.write(table, _DAY, made(table, symbols, round(many * millions * 1e6)))
    command = [sys.executable, "-m", "benchmarks.tape.whole_tape", "--measure", str(root)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    shutil.rmtree(root)
    return dict(json.loads(done.stdout))


def _plot(found: list[dict[str, float]], fixed: float, slope: float) -> None:
    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    ticks = np.array([each["ticks"] for each in found])
    line = np.geomspace(ticks.min(), ticks.max(), 100)
    axes.plot(ticks / 1e6, [each["cpu"] for each in found], "o", color="#2f7f86", label="measured")
    axes.plot(line / 1e6, fixed + slope * line, color="#b5423c", label=f"{fixed:.1f} s + {slope * 1e9:.0f} ns a tick")
    axes.set(xscale="log", yscale="log", xlabel="million trades and quotes", ylabel="processor seconds")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(_IMAGE, dpi=90)


def main() -> None:
    """Print the table and draw the plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--millions", type=float, nargs="+", default=[1, 3, 10, 30, 100])
    parser.add_argument("--symbols", type=int, default=10_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure)))
        return
    found = []
    print(
        f"{options.symbols:,} symbols\n{'M ticks':>8}{'rows':>11}{'seconds':>9}{'CPU s':>8}{'peak MB':>9}{'on the line':>13}"
    )
    with tempfile.TemporaryDirectory(prefix="tapewatch-tape-", dir=options.folder) as scratch:
        found = [_measured(Path(scratch), options.symbols, millions) for millions in options.millions]
    ticks, cpu = (np.array([each[name] for each in found]) for name in ("ticks", "cpu"))
    # Weighted by the inverse of the time, so that small days count as much as large ones.
    slope, fixed = np.polyfit(ticks, cpu, 1, w=1 / cpu) if len(found) > 1 else (cpu[0] / ticks[0], 0.0)
    for each in found:
        ratio = each["cpu"] / (fixed + slope * each["ticks"])
        print(
            f"{each['ticks'] / 1e6:8.1f}{each['rows']:11,}{each['seconds']:9.1f}{each['cpu']:8.1f}{each['peak_mb']:9,.0f}{ratio:13.2f}"
        )
    print(f"\nline: {fixed:.1f} s for the minutes of all symbols, and {slope * 1e9:.0f} ns a tick (processor time)")
    _plot(found, fixed, slope)


if __name__ == "__main__":
    main()
