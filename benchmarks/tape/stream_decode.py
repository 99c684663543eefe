"""Frames of the stream to columns and bars, compared with the official client's models of the same frames.

The frames hold recorded ticks if their folder exists, else a synthetic day: 20 events each, as the vendor sends in a busy
market. Both sides decode them in memory, without sockets. The client's side is `json` and the client's own `parse`; its
models are not used further. Ours decodes 500 frames at a time and then builds bars of seconds and minutes, or these and the
microstructure rows, when they are due.

    python -m benchmarks.tape.stream_decode
"""

import datetime as dt
import json
import logging
import time
from collections.abc import Sequence
from statistics import quantiles

import msgspec
import polars as pl
from polygon.websocket.models import Market as ClientMarket
from polygon.websocket.models import parse

from benchmarks.measuring import MARKET_DATA, median_seconds
from tapewatch.bars.time_bars import minute_bars
from tapewatch.emulator.stream import messages
from tapewatch.emulator.tape.market_tape import SyntheticTape
from tapewatch.feeds.stream.decode.decoder import Frame, FrameDecoder
from tapewatch.feeds.stream.decode.messages import union_of
from tapewatch.market.instruments import Market, Partition, Session
from tapewatch.market.tables.tape import TRADES
from tapewatch.streaming.live.tape import LiveTape
from tests.support.recorded import TICK_DAYS, recorded_quotes, recorded_trades

EVENTS = 200_000
EVENTS_A_FRAME = 20
FRAMES_A_BATCH = 500
ROUNDS = 5
_SYNTHETIC_DAY = dt.date(2024, 3, 4)
_log = logging.getLogger(__name__)


def ticks_from_open() -> tuple[str, Session, pl.DataFrame, pl.DataFrame]:
    """A day's trades and quotes from the regular open on."""
    if MARKET_DATA.is_dir():
        day, origin = TICK_DAYS[1], "recorded"
        trades, quotes = recorded_trades(MARKET_DATA, day), recorded_quotes(MARKET_DATA, day)
    else:
        day, origin = _SYNTHETIC_DAY, "synthetic"
        source = SyntheticTape(seed=1)
        symbols = source.symbols(Market.STOCKS)
        trades = pl.concat(source.trades(symbol, day) for symbol in symbols)
        quotes = pl.concat(source.quotes(symbol, day) for symbol in symbols)
    session = Partition(day, Market.STOCKS).session
    opening = pl.col("time").to_physical() >= session.regular_start
    return f"{origin} {day}", session, trades.filter(opening), quotes.filter(opening)


def frames_of(trades: pl.DataFrame, quotes: pl.DataFrame) -> list[Frame]:
    """The first events in order of time, twenty a frame."""
    events = pl.concat(
        ticks.select("time", text=messages.text(ticks, channel, Market.STOCKS).str.strip_suffix(","))
        for channel, ticks in (("T", trades), ("Q", quotes))
    )
    texts = events.sort("time", maintain_order=True).head(EVENTS)["text"].to_list()
    return [
        Frame(f"[{','.join(texts[at : at + EVENTS_A_FRAME])}]".encode(), time.time_ns())
        for at in range(0, len(texts), EVENTS_A_FRAME)
    ]


def _batches(frames: Sequence[Frame]) -> list[Sequence[Frame]]:
    return [frames[at : at + FRAMES_A_BATCH] for at in range(0, len(frames), FRAMES_A_BATCH)]


def parsed_by_client(frames: Sequence[Frame]) -> None:
    """What the official client does with frames before it calls its user."""
    for frame in frames:
        parse(json.loads(frame.data), _log, ClientMarket.Stocks)


def _structs(decoder: "msgspec.json.Decoder[object]", frames: Sequence[Frame]) -> None:
    for frame in frames:
        decoder.decode(frame.data)


def _columns(decoder: FrameDecoder, frames: Sequence[Frame]) -> list[pl.DataFrame]:
    return [decoder.decode(batch).trades for batch in _batches(frames)]


def _minute_bars(decoder: FrameDecoder, session: Session, frames: Sequence[Frame]) -> pl.DataFrame:
    trades = TRADES.conform(pl.concat(_columns(decoder, frames)))
    return minute_bars(trades.sort(pl.col("symbol").cast(pl.String), "time", "sequence_number"), session)


def _live_tape(decoder: FrameDecoder, session: Session, frames: Sequence[Frame]) -> int:
    tape, bars = LiveTape(session), 0
    for some in _batches(frames):
        batch = decoder.decode(some)
        tape.push(batch.trades, batch.quotes)
        bars += tape.advance(tape.last_time_ns).second_bars.height
    return bars


def _latencies(decoder: FrameDecoder, frames: Sequence[Frame]) -> list[float]:
    """Milliseconds to decode single frames."""
    taken = []
    for frame in frames[:2000]:
        start = time.perf_counter()
        decoder.decode([frame])
        taken.append(1e3 * (time.perf_counter() - start))
    return taken


def main() -> None:
    """Print the table."""
    origin, session, trades, quotes = ticks_from_open()
    frames = frames_of(trades, quotes)
    structs: msgspec.json.Decoder[object] = msgspec.json.Decoder(list.__class_getitem__(union_of(Market.STOCKS)))
    decoder = FrameDecoder(Market.STOCKS)
    seconds = median_seconds(
        {
            "official client: json, its models": lambda: parsed_by_client(frames),
            "msgspec alone: structs": lambda: _structs(structs, frames),
            "tapewatch: columns": lambda: _columns(decoder, frames),
            "tapewatch: columns, minute bars": lambda: _minute_bars(decoder, session, frames),
            "tapewatch: columns, live bars and features": lambda: _live_tape(decoder, session, frames),
        },
        ROUNDS,
        warms_up=True,
    )
    size = sum(len(frame.data) for frame in frames) / EVENTS
    print(f"{EVENTS:,} events ({origin}), {EVENTS_A_FRAME} a frame, {size:.0f} bytes each\n")
    print(f"{'':46} {'ms':>8} {'M events/s':>11} {'ratio':>7}")
    peer = seconds["official client: json, its models"]
    for side, elapsed in seconds.items():
        print(f"{side:46} {elapsed * 1e3:8.1f} {EVENTS / elapsed / 1e6:11.2f} {peer / elapsed:6.1f}x")
    cuts = quantiles(_latencies(decoder, frames), n=100)
    print(f"\none frame of {EVENTS_A_FRAME} events to columns: median {cuts[49]:.2f} ms, 99 % within {cuts[98]:.2f} ms")


if __name__ == "__main__":
    main()
