"""Compiles or loads every kernel before the first frame, by processing a few made-up minutes."""

import datetime as dt
import gc
from typing import Any

import msgspec

from models.scan.detector import ScanDetector
from tapewatch.bars.information.live import LiveInformationBars
from tapewatch.feeds.stream.decode.decoder import Frame, FrameDecoder
from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND, Market, Partition
from tapewatch.streaming.detection.live_scan import LiveScan
from tapewatch.streaming.detection.rules.settings import DetectionConfig
from tapewatch.streaming.detection.watch import Watch
from tapewatch.streaming.live.families import LiveFamilies
from tapewatch.streaming.live.tape import LiveTape

_DAY = dt.date(2024, 3, 5)
_SECONDS = 150
#: Garbage collection checks young objects less often, and old ones hardly ever: those live for months.
_GARBAGE_THRESHOLDS = (50_000, 20, 100)


def warm_up(market: Market, detection: DetectionConfig) -> None:
    """Decode, detect and build made-up events; nothing of them is kept."""
    session = Partition(_DAY, market).session
    decoder, watch, tape = (
        FrameDecoder(market),
        Watch(market, detection),
        LiveTape(session, information=LiveInformationBars(session), families=LiveFamilies(session)),
    )
    start = (session.regular_start + session.regular_end) // 2 // NS_PER_MINUTE * NS_PER_MINUTE
    for second in range(_SECONDS):
        now = start + second * NS_PER_SECOND
        batch = decoder.decode([Frame(msgspec.json.encode(_events(market, second, now // 1_000_000)), now)])
        watch.observe(batch)
        tape.push(batch.trades, batch.quotes)
        if second in (70, _SECONDS - 1):
            tape.advance(now)
            watch.tick(now)


def warm_up_scan(market: Market, detector: ScanDetector) -> None:
    """Judge a few made-up bins, where the detector knows the market."""
    if market not in detector.markets:
        return
    start = Partition(_DAY, market).session.regular_start
    scan, decoder = LiveScan(detector, market), FrameDecoder(market)
    for second in range(0, 15, 5):
        now = start + second * NS_PER_SECOND
        batch = decoder.decode([Frame(msgspec.json.encode(_events(market, second, now // 1_000_000)), now)])
        scan.add(batch.trades, batch.quotes)
        scan.advance(now)
    scan.restart()


def settle_memory() -> None:
    """Exclude everything made so far from garbage collection: it lives as long as the process."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GARBAGE_THRESHOLDS)


def _events(market: Market, n: int, ms: int) -> list[dict[str, Any]]:
    bid_and_ask = {"bp": 99.9, "bs": 1, "ap": 100.1, "as": 1, "t": ms}
    trade = {"p": 100 + n % 7 / 100, "t": ms, "i": str(n)}
    match market:
        case Market.CRYPTO:
            pair = {"pair": "BTC-USD", "x": 1, "r": ms}
            return [{"ev": "XT", "s": 0.5, "c": [2]} | pair | trade, {"ev": "XQ"} | pair | bid_and_ask]
        case Market.FOREX:
            return [{"ev": "C", "p": "EUR/USD", "x": 48, "a": 1.1 + n / 1e5, "b": 1.09, "t": ms}]
        case Market.INDICES:
            return [{"ev": "V", "val": 5000 + n, "T": "I:SPX", "t": ms}]
        case _:
            symbol = {"sym": "O:SPY251219C00650000" if market is Market.OPTIONS else "ZZZZ", "q": n, "z": 3}
            quote = {"ev": "Q", "bx": 4, "ax": 7, "c": 0} | symbol | bid_and_ask
            return [{"ev": "T", "x": 4, "s": 100, "c": []} | symbol | trade, quote]
