"""What several benchmarks share: the recorded data's folder, and timing of several sides in turn."""

import os
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import polars as pl

from tapewatch.emulator.synthetic.market import Synthetic, TapeDay
from tapewatch.market.instruments import Partition

#: The folder of recorded flat files; it need not exist.
MARKET_DATA = Path(
    os.environ.get("TAPEWATCH_MARKET_DATA", Path(__file__).resolve().parents[2] / "shared" / "market-data")
)


def median_seconds(
    sides: Mapping[str, Callable[[], object]], rounds: int, *, warms_up: bool = False
) -> dict[str, float]:
    """Median wall time of each side. The sides run in turn, so that a busy machine slows all of them alike."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for run in sides.values() if warms_up else ():
        run()
    for _ in range(rounds):
        for name, run in sides.items():
            start = time.perf_counter()
            run()
            taken[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in taken.items()}


def best_times(sides: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, tuple[float, float]]:
    """Least wall time and least CPU time of each side, in seconds. The sides run in turn, so that a busy machine slows all of them alike."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, run in sides.items():
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            taken[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {name: (min(wall for wall, _ in times), min(cpu for _, cpu in times)) for name, times in taken.items()}


def synthetic_days(source: Synthetic, partition: Partition, *, trades: int | None = None) -> list[TapeDay]:
    """A day of every listed symbol of a market."""
    return [source.day(symbol, partition.date, trades=trades) for symbol in source.symbols(partition.market)]


def joined(days: Iterable[TapeDay]) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Trades, quotes and labelled anomalies of several symbols."""
    days = list(days)
    return tuple(pl.concat(getattr(day, name) for day in days) for name in ("trades", "quotes", "truth"))
