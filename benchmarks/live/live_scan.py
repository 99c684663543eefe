"""CPU time of the live scan of 500 stocks, each bin of five seconds judged as soon as it ends, as a share of one core.

Run: python -m benchmarks.live.live_scan [SYMBOLS [MINUTES]]. A scan fitted on two days of the built-in market is repeated under other
names, peers included, and so is the tape of a third day. The other row, for comparison, is the online rules on the same tape.
"""

import datetime as dt
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import polars as pl

from benchmarks.measuring import joined, synthetic_days
from models.scan.detector import Day, ScanDetector
from models.scan.layout import Usual
from models.scan.market_scan import MarketScan
from tapewatch.emulator.synthetic.market import Synthetic
from tapewatch.features.bins.batch import bins_5s
from tapewatch.features.bins.records import BIN_NS
from tapewatch.feeds.stream.decode.decoder import StreamBatch
from tapewatch.market.instruments import NS_PER_MINUTE, Market, Partition, Session
from tapewatch.market.tables.stream import STREAM_QUOTES, STREAM_TRADES
from tapewatch.market.tables.tape import TIME
from tapewatch.streaming.detection.live_scan import LiveScan
from tapewatch.streaming.detection.rules.settings import DetectionConfig
from tapewatch.streaming.detection.watch import Watch

_DATES = (dt.date(2024, 3, 4), dt.date(2024, 3, 5), dt.date(2024, 3, 6))
_SYMBOLS, _MINUTES, _WARM_MINUTES = 500, 10, 2


def main(symbols: int, minutes: int) -> None:
    """Measure and print both rows."""
    source = Synthetic(seed=7)
    tapes = [joined(synthetic_days(source, Partition(date, Market.STOCKS))) for date in _DATES]
    sessions = [Partition(date, Market.STOCKS).session for date in _DATES]
    fitted = ScanDetector.fit(
        [Day(s, bins_5s(t[0], t[1], s), None) for s, t in zip(sessions[:2], tapes[:2], strict=True)]
    )
    copies = symbols // len(fitted.markets[Market.STOCKS].symbols)
    detector = replace(fitted, markets={Market.STOCKS: _repeated(fitted.markets[Market.STOCKS], copies)})
    trades, quotes = (_copied(_within(frame, sessions[2], minutes), copies) for frame in tapes[2][:2])
    steps = _steps(sessions[2], trades, quotes, minutes)
    scan, watch = LiveScan(detector, Market.STOCKS), Watch(Market.STOCKS, DetectionConfig.load())
    events = (trades.height + quotes.height) / (minutes * 60)
    count = len(detector.markets[Market.STOCKS].symbols)
    print(f"{count} stocks, {events:,.0f} events a second of the tape, {minutes} minutes")

    def judge(start: int, batch: StreamBatch) -> None:
        scan.add(batch.trades, batch.quotes)
        scan.advance(start + BIN_NS)

    for name, step in (("live scan", judge), ("online rules", lambda _, batch: watch.observe(batch))):
        took = _cpu_seconds(step, steps)
        share = took.sum() / (5 * took.size)
        print(
            f"{name:<14} {share:6.1%} of a core   {1e3 * np.median(took):6.1f} ms a bin, at most {1e3 * took.max():.0f} ms"
        )


def _cpu_seconds(step: Callable[[int, StreamBatch], object], steps: list[tuple[int, StreamBatch]]) -> np.ndarray:
    """CPU time of each step after the first minutes."""
    taken = []
    for at, (start, batch) in enumerate(steps):
        began = time.process_time()
        step(start, batch)
        if at >= _WARM_MINUTES * NS_PER_MINUTE // BIN_NS:
            taken.append(time.process_time() - began)
    return np.array(taken)


def _repeated(scan: MarketScan, copies: int) -> MarketScan:
    """The scan for `copies` groups of its symbols, each with peers in its own group."""
    size = len(scan.symbols)
    usual = Usual(*(np.tile(each, (copies,) + (1,) * (each.ndim - 1)) for each in scan.usual))
    group = np.repeat(np.arange(copies), size)[:, None] * size
    usual = usual._replace(peer=np.where(usual.peer >= 0, usual.peer + group, -1))
    scales = tuple(replace(s, median=np.tile(s.median, copies), width=np.tile(s.width, copies)) for s in scan.scales)
    names = tuple(f"{symbol}{copy}" for copy in range(copies) for symbol in scan.symbols)
    return replace(scan, symbols=names, usual=usual, scales=scales)


def _within(frame: pl.DataFrame, session: Session, minutes: int) -> pl.DataFrame:
    """The rows from an hour after the open on."""
    start = session.regular_start + 60 * NS_PER_MINUTE
    bounds = [pl.lit(ns).cast(TIME) for ns in (start, start + minutes * NS_PER_MINUTE)]
    return frame.filter(pl.col("time").is_between(*bounds, closed="left"))


def _copied(frame: pl.DataFrame, copies: int) -> pl.DataFrame:
    name = pl.col("symbol").cast(pl.String)
    parts = [frame.with_columns(symbol=name + str(copy)) for copy in range(copies)]
    return pl.concat(parts).sort("time", maintain_order=True)


def _steps(session: Session, trades: pl.DataFrame, quotes: pl.DataFrame, minutes: int) -> list[tuple[int, StreamBatch]]:
    """The start of each bin, and its ticks as streamed."""
    streamed = [
        table.conform(frame.with_columns(received_time="time"))
        for table, frame in ((STREAM_TRADES, trades), (STREAM_QUOTES, quotes))
    ]
    first = session.regular_start + 60 * NS_PER_MINUTE
    steps = []
    for start in range(first, first + minutes * NS_PER_MINUTE, BIN_NS):
        bounds = [pl.lit(ns).cast(TIME) for ns in (start, start + BIN_NS)]
        rows = [frame.filter(pl.col("time").is_between(*bounds, closed="left")) for frame in streamed]
        steps.append((start, StreamBatch(trades=rows[0], quotes=rows[1])))
    return steps


if __name__ == "__main__":
    given = [int(each) for each in sys.argv[1:]]
    main(*given, *(_SYMBOLS, _MINUTES)[len(given) :])
