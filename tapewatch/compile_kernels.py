"""Compiles all kernels for the types in use, so that no process has to. Run: python -m tapewatch.compile_kernels"""

import datetime as dt
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
import polars as pl

from models.anomaly_classifier.walking import leaves_of
from models.scan.detector import Day, ScanDetector
from tapewatch.emulator.tape.market_tape import SyntheticTape
from tapewatch.features.aggressor import aggressor_agreement
from tapewatch.features.bins.batch import bins_5s
from tapewatch.features.cross_asset.correlations import correlations
from tapewatch.features.cross_asset.rows import cross_asset
from tapewatch.features.families.indicators import indicators
from tapewatch.features.families.rows import microstructure_more
from tapewatch.features.microstructure import microstructure
from tapewatch.features.seasonality.measures import with_more
from tapewatch.features.seasonality.model import SeasonalModel
from tapewatch.feeds.files.layouts import LAYOUTS, bind
from tapewatch.feeds.files.parsing import parse_block
from tapewatch.feeds.rest.decode import BarsDecoder
from tapewatch.labels.barriers.barriers import triple_barrier
from tapewatch.market.arrays import flat
from tapewatch.market.compiled import kernels
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.trading import ORDERS
from tapewatch.store.lake.joins.as_of import hold_at, is_sorted
from tapewatch.streaming.collector.warm_up import warm_up, warm_up_scan
from tapewatch.streaming.detection.rules.settings import DetectionConfig
from tapewatch.trading.bets.path import Paths
from tapewatch.trading.engine import EngineSettings, Simulation, run
from tapewatch.trading.sizing import averaged_at_start

_DATE = dt.date(2024, 3, 5)
_BAR_PAGE = b'{"results": [{"v": 10, "vw": 1.5, "o": 1, "c": 2, "h": 2, "l": 1, "t": 1709649000000, "n": 3}]}'


def main() -> None:
    """Run every step, in two processes, and report what was compiled and what was kept from before."""
    start = time.monotonic()
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as other:
        beside = other.submit(_run, _of_batches)
        compiled, kept = map(sum, zip(_run(_of_streams), beside.result(), strict=True))
    took = time.monotonic() - start
    wipe = "\r\x1b[K" if sys.stderr.isatty() else ""
    print(f"{wipe}Kernels: {compiled} compiled, {kept} kept from before, {took:.0f} s", file=sys.stderr)  # noqa: T201


Step = tuple[str, Callable[[], object]]


def _run(steps: Callable[[SyntheticTape], Iterable[Step]]) -> tuple[int, int]:
    """Run the steps; how many functions were compiled in this process, and how many were kept from before."""
    for name, step in steps(SyntheticTape(seed=1)):
        if sys.stderr.isatty():
            print(f"\rCompiling kernels: {name:<24}", end="", file=sys.stderr, flush=True)  # noqa: T201
        step()
    compiled = sum(sum(kernel.stats.cache_misses.values()) for kernel in kernels)
    return compiled, sum(sum(kernel.stats.cache_hits.values()) for kernel in kernels)


def _of_streams(tape: SyntheticTape) -> Iterator[Step]:
    for market in Market:
        yield f"stream, {market}", partial(warm_up, market, DetectionConfig.load())
    yield "scan", partial(_scan, tape)


def _of_batches(tape: SyntheticTape) -> Iterator[Step]:
    for market in Market:
        if tape.symbols(market):
            yield f"synthetic day, {market}", partial(_day, tape, market)
    yield "symbols of a market", partial(_market, tape)
    yield "trading", partial(_trades, tape)
    yield "bet sizes", _bet_sizes
    yield "trees", _trees
    yield "joins", _join
    yield "flat files", _flat_file
    yield "REST bars", partial(BarsDecoder(), _BAR_PAGE)


def _day(tape: SyntheticTape, market: Market) -> None:
    """A day of the synthetic market, made, summed and labelled."""
    symbol, session = tape.symbols(market)[0], Partition(_DATE, market).session
    bars = tape.bars(symbol, _DATE)
    trades, quotes = tape.trades(symbol, _DATE), tape.quotes(symbol, _DATE)
    rows, more = microstructure(trades, quotes, session), microstructure_more(trades, quotes, session)
    SeasonalModel.fit([with_more(rows.lazy(), more.lazy())])
    indicators(bars.with_columns(known_time="time"), session)
    aggressor_agreement(trades, quotes, session)
    triple_barrier(bars, session=session)


def _market(tape: SyntheticTape) -> None:
    """A day of some stocks among each other."""
    session, symbols = Partition(_DATE, Market.STOCKS).session, tape.symbols(Market.STOCKS)[:3]
    bars = pl.concat(tape.bars(symbol, _DATE) for symbol in symbols)
    bars = bars.with_columns(known_time="time")
    cross_asset(bars, session)
    correlations(bars, session)


def _scan(tape: SyntheticTape) -> None:
    """A scan of two days of a stock, fitted, and used on a day at once and live."""
    symbol, days = tape.symbols(Market.STOCKS)[0], []
    for date in (_DATE, _DATE + dt.timedelta(days=1)):
        session = Partition(date, Market.STOCKS).session
        days.append(Day(session, bins_5s(tape.trades(symbol, date), tape.quotes(symbol, date), session)))
    detector = ScanDetector.fit(days)
    detector.incidents(days[0].bins, days[0].session)
    warm_up_scan(Market.STOCKS, detector)


def _trades(tape: SyntheticTape) -> None:
    """An order over quotes, over bars, and cancelled; and the path of a bet."""
    symbol = tape.symbols(Market.STOCKS)[0]
    quotes, trades, bars = (each(symbol, _DATE) for each in (tape.quotes, tape.trades, tape.bars))
    for day in ((quotes, trades), bars):
        run(ORDERS.empty(), day)
    Simulation(EngineSettings()).cancel([], 0)
    session = Partition(_DATE, Market.STOCKS).session
    paths = Paths(bars.with_columns(known_time=pl.col("time").dt.offset_by("1m")), session)
    paths.end_ns(symbol, 1, 1.0, session.regular_start, 20.0, 30, through_ns=session.regular_end)


def _trees() -> None:
    """A tree of one leaf."""
    node, number = np.zeros(1, dtype=np.int64), np.zeros(1)
    leaves_of(np.zeros((1, 1)), node, number, node, node, node)


def _bet_sizes() -> None:
    times = np.arange(2, dtype=np.int64)
    averaged_at_start(times, times + 1, np.ones(2))


def _join() -> None:
    run, bounds, one = np.array([0]), np.array([0, 1]), flat(pl.Series([0]))
    is_sorted(bounds, one, one)
    hold_at(run, one, (bounds, one, one, one, one), np.zeros((1, 4), dtype=np.int64), 0, -1)


def _flat_file() -> None:
    layout = LAYOUTS[Market.STOCKS, "trades"]
    header = list(layout.columns)
    # A reader's blocks are writable, which is part of the type.
    block = bytearray(",".join("1" for _ in header).encode() + b"\n")
    parse_block(bind(layout, header, "trades"), memoryview(block), 1)


if __name__ == "__main__":
    main()
