"""Made-up streamed tapes for the online detectors, and a watch's alerts on them."""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from tapewatch.feeds.stream.decode.decoder import StreamBatch
from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND, Market, Session, session_of
from tapewatch.market.tables.stream import STREAM_BARS, STREAM_QUOTES, STREAM_TRADES
from tapewatch.streaming.detection.baselines import Baselines
from tapewatch.streaming.detection.rules.settings import DetectionConfig
from tapewatch.streaming.detection.watch import AlertChange, Watch

DAY = dt.date(2024, 3, 5)


def session(market: Market = Market.STOCKS, date: dt.date = DAY) -> Session:
    """The session of a trading day."""
    found = session_of(market, date)
    assert found is not None
    return found


def trades(
    symbol: str,
    time: Sequence[int],
    price: Sequence[float],
    size: Sequence[float],
    conditions: Sequence[str] | str = "",
) -> pl.DataFrame:
    """`STREAM_TRADES` rows of one symbol."""
    frame = pl.DataFrame({"time": time, "price": price, "size": size}, schema_overrides={"time": pl.Int64})
    codes = conditions if isinstance(conditions, str) else pl.Series(conditions)
    return STREAM_TRADES.conform(
        frame.with_columns(
            symbol=pl.lit(symbol),
            exchange=pl.lit(4),
            conditions=pl.lit(codes) if isinstance(codes, str) else codes,
            received_time="time",
        )
    )


def quotes(symbol: str, time: Sequence[int], bid: Sequence[float], ask: Sequence[float]) -> pl.DataFrame:
    """`STREAM_QUOTES` rows of one symbol."""
    frame = pl.DataFrame({"time": time, "bid_price": bid, "ask_price": ask}, schema_overrides={"time": pl.Int64})
    return STREAM_QUOTES.conform(frame.with_columns(symbol=pl.lit(symbol), received_time="time"))


def bars(rows: pl.DataFrame, clock: str = "1m") -> pl.DataFrame:
    """`STREAM_BARS` from bars with symbol, time, prices and volume."""
    return STREAM_BARS.conform(rows.with_columns(clock=pl.lit(clock), received_time="time"))


def steady_tape(
    symbol: str = "AAA",
    *,
    minutes: int = 60,
    first_minute: int = 0,
    per_minute: int = 60,
    price: float = 100.0,
    step: float = 0.01,
    seed: int = 1,
    market: Market = Market.STOCKS,
) -> pl.DataFrame:
    """Trades of a calm symbol from the regular open on."""
    generator = np.random.default_rng([seed, *symbol.encode()])
    count = minutes * per_minute
    start = session(market).regular_start + first_minute * NS_PER_MINUTE
    time = start + np.sort(generator.integers(0, minutes * NS_PER_MINUTE, count))
    walk = price + np.cumsum(generator.choice([-step, 0, 0, step], count))
    codes = generator.choice(["1", "2"], count).tolist() if market is Market.CRYPTO else ""
    return trades(symbol, time.tolist(), walk.round(2).tolist(), generator.exponential(100, count).tolist(), codes)


def steady_quotes(
    symbol: str = "AAA", *, minutes: int = 60, per_minute: int = 60, seed: int = 1, market: Market = Market.STOCKS
) -> pl.DataFrame:
    """Quotes of a calm symbol with a spread of two cents around 100."""
    generator = np.random.default_rng([seed, *symbol.encode()])
    count = minutes * per_minute
    time = session(market).regular_start + np.sort(generator.integers(0, minutes * NS_PER_MINUTE, count))
    middle = 100 + np.cumsum(generator.choice([-0.01, 0, 0, 0.01], count))
    return quotes(symbol, time.tolist(), (middle - 0.01).tolist(), (middle + 0.01).tolist())


def batches(
    trades: pl.DataFrame | None = None,
    quotes: pl.DataFrame | None = None,
    bars: pl.DataFrame | None = None,
    *,
    seconds: float = 5.0,
) -> list[StreamBatch]:
    """A tape in batches of `seconds` seconds."""
    empty = StreamBatch()
    frames = [
        (trades if trades is not None else empty.trades).sort("time"),
        (quotes if quotes is not None else empty.quotes).sort("time"),
        (bars if bars is not None else empty.bars).sort("time"),
    ]
    width = int(seconds * NS_PER_SECOND)
    lengths = (0, 0, NS_PER_MINUTE)
    times = [frame["time"].to_physical().to_numpy() + length for frame, length in zip(frames, lengths, strict=True)]
    slots = np.unique(np.concatenate([time // width for time in times]))
    found = []
    for slot in slots:
        cuts = [np.searchsorted(time, [slot * width, (slot + 1) * width]) for time in times]
        parts = [frame[int(a) : int(b)] for frame, (a, b) in zip(frames, cuts, strict=True)]
        found.append(StreamBatch(trades=parts[0], quotes=parts[1], bars=parts[2]))
    return found


def watch(
    market: Market,
    trades: Sequence[pl.DataFrame] = (),
    quotes: Sequence[pl.DataFrame] = (),
    bars: Sequence[pl.DataFrame] = (),
    *,
    seconds: float = 20.0,
    settings: Path | None = None,
    baselines: Baselines | None = None,
    until: int | None = None,
) -> list[AlertChange]:
    """The alert changes of a new watch over a whole tape; `until` advances its clock after the last event."""
    found = Watch(market, DetectionConfig.load(settings), baselines, clock=lambda: 0)
    tapes = [pl.concat(parts) if parts else None for parts in (trades, quotes, bars)]
    changes: list[AlertChange] = []
    for batch in batches(*tapes, seconds=seconds):
        changes += found.observe(batch)
    if until is not None:
        changes += found.tick(until)
    return changes


def openings(changes: Sequence[AlertChange], rule: str | None = None) -> list[AlertChange]:
    """The openings, of one rule or of all."""
    return [c for c in changes if c.is_opening and rule in (None, c.row["rule"])]


def closings(changes: Sequence[AlertChange], rule: str | None = None) -> list[AlertChange]:
    """The ends, of one rule or of all."""
    return [c for c in changes if c.is_closing and rule in (None, c.row["rule"])]
