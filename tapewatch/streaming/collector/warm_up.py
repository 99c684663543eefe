"""A made-up minute that goes a collector's whole way before the first frame: kernels are compiled or loaded by it."""

import datetime as dt
import gc
from typing import Any

import msgspec

from tapewatch.feeds.stream.decode.decoder import Frame, FrameDecoder
from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND, Market, Partition
from tapewatch.streaming.detection.rules.settings import DetectionConfig
from tapewatch.streaming.detection.watch import Watch
from tapewatch.streaming.live.tape import LiveTape

_DAY = dt.date(2024, 3, 5)
_SECONDS = 150
#: Objects that live for months are not looked at again and again; the young ones are fewer and looked at less often.
_GARBAGE = (50_000, 20, 100)


def warm_up(market: Market, detection: DetectionConfig) -> None:
    """Decode, detect and build a made-up stretch of tape; nothing of it is kept."""
    session = Partition(_DAY, market).session
    decoder, watch, tape = FrameDecoder(market), Watch(market, detection), LiveTape(session)
    start = (session.regular_start + session.regular_end) // 2 // NS_PER_MINUTE * NS_PER_MINUTE
    for second in range(_SECONDS):
        now = start + second * NS_PER_SECOND
        batch = decoder.decode([Frame(msgspec.json.encode(_events(market, second, now // 1_000_000)), now)])
        watch.observe(batch)
        tape.push(batch.trades, batch.quotes)
        if second in (70, _SECONDS - 1):
            tape.advance(now)
            watch.tick(now)


def settle_memory() -> None:
    """What was made so far lives as long as the process: the collector of garbage leaves it alone from now on."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GARBAGE)


def _events(market: Market, n: int, ms: int) -> list[dict[str, Any]]:
    price = 100 + n % 7 / 100
    match market:
        case Market.CRYPTO:
            trade = {
                "ev": "XT",
                "pair": "BTC-USD",
                "p": price,
                "t": ms,
                "s": 0.5,
                "c": [2],
                "i": str(n),
                "x": 1,
                "r": ms,
            }
            quote = {"ev": "XQ", "pair": "BTC-USD", "bp": 99.9, "bs": 1, "ap": 100.1, "as": 1, "t": ms, "x": 1, "r": ms}
            return [trade, quote]
        case Market.FOREX:
            return [{"ev": "C", "p": "EUR/USD", "x": 48, "a": 1.1 + n / 1e5, "b": 1.09, "t": ms}]
        case Market.INDICES:
            return [{"ev": "V", "val": 5000 + n, "T": "I:SPX", "t": ms}]
        case _:
            name = "O:SPY251219C00650000" if market is Market.OPTIONS else "ZZZZ"
            trade = {
                "ev": "T",
                "sym": name,
                "x": 4,
                "i": str(n),
                "z": 3,
                "p": price,
                "s": 100,
                "c": [],
                "t": ms,
                "q": n,
            }
            quote = {"ev": "Q", "sym": name, "bx": 4, "bp": 99.9, "bs": 1, "ax": 7, "ap": 100.1, "as": 1, "t": ms}
            return [trade, quote | {"q": n, "z": 3, "c": 0}]
