"""A day's messages of all channels in order of release, encoded in blocks of up to 32,000."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from tapewatch.emulator.stream import messages
from tapewatch.emulator.stream.channels import TRADE_CHANNELS
from tapewatch.emulator.stream.message_faults import MessageFault
from tapewatch.market.instruments import Market

Ints = npt.NDArray[np.int64]

# The first blocks are small, so that a stream begins at once.
_FIRST_EVENTS, _EVENTS = 2_000, 32_000


@dataclass(frozen=True, slots=True)
class Block:
    """Encoded messages, and for each its time of release (ns UTC) and its `MessageFault`."""

    data: memoryview
    offsets: Ints
    release: Ints
    fault: npt.NDArray[np.int8]

    @property
    def size(self) -> int:
        return self.release.size

    def payload(self, first: int, last: int) -> bytes:
        """Messages `first` to `last` (excluded) as one JSON array."""
        return b"".join((b"[", self.data[self.offsets[first] : self.offsets[last] - 1], b"]"))

    def group_end(self, last: int) -> int:
        """The first position from `last` on that does not split messages released at the same time."""
        if last >= self.size:
            return self.size
        return int(np.searchsorted(self.release, self.release[last - 1], side="right"))


def blocks(frames: Mapping[str, pl.DataFrame], market: Market, after: int | None) -> Iterator[Block]:
    """The messages released after a time.

    Args:
        frames: by channel, as `channels.rows` builds them; with the column `_fault` if they contain faults.
        market: determines the spelling of symbols.
        after: ns UTC; None for the whole day.
    """
    left = {channel: _later(frame, after) for channel, frame in frames.items()}
    left = {channel: frame for channel, frame in left.items() if not frame.is_empty()}
    times = {channel: frame["_release"].to_physical().to_numpy() for channel, frame in left.items()}
    every = np.sort(np.concatenate([np.empty(0, np.int64), *times.values()]))
    done = dict.fromkeys(left, 0)
    for edge in _edges(every):
        parts = []
        for channel, frame in left.items():
            until = int(np.searchsorted(times[channel], edge, side="right"))
            if until > done[channel]:
                parts.append(_encoded(frame.slice(done[channel], until - done[channel]), channel, market))
            done[channel] = until
        yield _block(parts)


def _later(frame: pl.DataFrame, after: int | None) -> pl.DataFrame:
    if after is None or frame.is_empty():
        return frame
    first = int(np.searchsorted(frame["_release"].to_physical().to_numpy(), after, side="right"))
    return frame.slice(first)


def _edges(times: Ints) -> Iterator[int]:
    """The last time of each block."""
    done, size = 0, _FIRST_EVENTS
    while done < times.size:
        edge = int(times[min(done + size, times.size) - 1])
        yield edge
        done, size = int(np.searchsorted(times, edge, side="right")), min(size * 2, _EVENTS)


def _encoded(rows: pl.DataFrame, channel: str, market: Market) -> pl.DataFrame:
    text = messages.text(rows, channel, market)
    if "_fault" in rows.columns:
        fault = pl.col("_fault")
        if rows.select((fault == MessageFault.UNKNOWN_EVENT).any()).item():
            text = pl.when(fault == MessageFault.UNKNOWN_EVENT).then(messages.unknown(market)).otherwise(text)
        if rows.select((fault == MessageFault.UNKNOWN_FIELD).any()).item():
            text = pl.when(fault == MessageFault.UNKNOWN_FIELD).then(messages.with_unknown_field(text)).otherwise(text)
    else:
        fault = pl.lit(0, dtype=pl.Int8)
    # At the same time, a bar that ends comes before the next minute's trades.
    rank = pl.lit(0 if "end" in rows.columns else 1 if channel in TRADE_CHANNELS else 2, dtype=pl.Int8)
    return rows.select("_release", rank.alias("_rank"), fault.alias("_fault"), text.alias("_text"))


def _block(parts: Sequence[pl.DataFrame]) -> Block:
    merged = pl.concat(parts)
    if len(parts) > 1:
        merged = merged.sort("_release", "_rank", maintain_order=True)
    array = merged["_text"].to_arrow(compat_level=pl.CompatLevel.oldest())
    _, offsets, data = array.buffers()
    if offsets is None or data is None:
        raise ValueError("an encoded column has no bytes")
    ends = np.frombuffer(memoryview(offsets), np.int64, len(array) + 1, array.offset * 8)
    release = merged["_release"].to_physical().to_numpy()
    return Block(memoryview(data), ends, release, merged["_fault"].to_numpy())
