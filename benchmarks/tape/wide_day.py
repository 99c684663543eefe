"""A day of 500 symbols from lake to features: peak memory, and time per tick compared with a day of four symbols.

Run: python -m benchmarks.tape.wide_day [--symbols N] [--trades N] [--rounds N] [--lake DIR]. By default it generates 20 M trades and
60 M quotes, which takes some minutes; a lake kept in DIR is used again. Each measurement runs in its own process, so that its
peak memory is separate. Wide and narrow days take turns.
"""

import argparse
import datetime as dt
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from tapewatch.emulator.synthetic.market import Synthetic, TapeDay
from tapewatch.features.microstructure import microstructure
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.tape import MICROSTRUCTURE, QUOTES, SYMBOL, TRADES
from tapewatch.store.lake.lake import Lake
from tapewatch.store.lake.tape import symbol_batches
from tests.support.peak_memory import peak_mb

_PARTITION = Partition(dt.date(2024, 3, 5), Market.STOCKS)
_NARROW = 4


def make_lake(root: Path, symbols: int, trades: int) -> None:
    """Write a day of some symbols, each with about `trades` trades and three times as many quotes."""
    lake = Lake(root)
    if lake.exists(QUOTES, _PARTITION):
        return
    for table, name in ((TRADES, "trades"), (QUOTES, "quotes")):
        lake.write(table, _PARTITION, (getattr(day, name) for day in _made(symbols, trades)))


def _made(symbols: int, trades: int) -> Iterator[TapeDay]:
    """Days of the listed instruments from several seeds, each renamed."""
    listed = Synthetic().symbols(Market.STOCKS)
    for number in range(symbols):
        seed, which = divmod(number, len(listed))
        day = Synthetic(seed).day(listed[which], _PARTITION.date, trades=trades)
        symbol = pl.lit(f"S{number:04}", dtype=SYMBOL).alias("symbol")
        yield TapeDay(day.trades.with_columns(symbol), day.quotes.with_columns(symbol), day.truth)


def measure(root: Path) -> dict[str, float]:
    """From lake to features in this process: ticks, rows, seconds, processor seconds, peak memory in MB."""
    lake, session = Lake(root), _PARTITION.session
    microstructure(TRADES.empty(), None, session, symbols=["WARM"])
    start, busy = time.perf_counter(), time.process_time()
    batches = symbol_batches(lake, _PARTITION)
    written = lake.write(MICROSTRUCTURE, _PARTITION, (microstructure(*tape, session) for tape in batches))
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    ticks = lake.rows(TRADES, _PARTITION) + lake.rows(QUOTES, _PARTITION)
    return {"ticks": ticks, "rows": written.rows, "seconds": seconds, "cpu": busy, "peak_mb": peak_mb()}


def _measured_apart(root: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.tape.wide_day", "--measure", str(root)]
    return dict(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def _compare(root: Path, symbols: int, trades: int, rounds: int) -> None:
    days = {count: root / f"{count}x{trades}" for count in (_NARROW, symbols)}
    for count, folder in days.items():
        make_lake(folder, count, trades)
    found: dict[int, list[dict[str, float]]] = {count: [] for count in days}
    for _ in range(rounds):
        for count, folder in days.items():
            found[count].append(_measured_apart(folder))
    print(
        f"{'symbols':>8}{'M ticks':>10}{'rows':>10}{'seconds':>10}{'ns/tick':>10}{'CPU ns':>8}{'peak MB':>10}{'ratio':>8}{'CPU':>8}"
    )
    narrow: dict[str, float] = {}
    for count, results in found.items():
        ticks, rows = results[0]["ticks"], results[0]["rows"]
        each = {name: statistics.median(r[name] for r in results) / ticks * 1e9 for name in ("seconds", "cpu")}
        narrow = narrow or each
        peak = max(result["peak_mb"] for result in results)
        ratios = {name: each[name] / narrow[name] for name in each}
        print(
            f"{count:8}{ticks / 1e6:10.2f}{rows:10,}{each['seconds'] * ticks / 1e9:10.2f}{each['seconds']:10.1f}"
            f"{each['cpu']:8.1f}{peak:10.0f}{ratios['seconds']:8.2f}{ratios['cpu']:8.2f}"
        )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=500)
    parser.add_argument("--trades", type=int, default=40_000, help="trades per symbol; three times as many quotes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--lake", type=Path, help="keep the lakes here")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure)))
        return
    with tempfile.TemporaryDirectory(prefix="tapewatch-wide-") as scratch:
        _compare(options.lake or Path(scratch), options.symbols, options.trades, options.rounds)


if __name__ == "__main__":
    main()
