"""Merges sorted streams of frames into one, with one frame of each in memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl

_Key = tuple[str, int]


@dataclass
class _Head:
    """A stream's next rows, at least one; `is_last` once the stream has no more."""

    frame: pl.DataFrame
    stream: Iterator[pl.DataFrame]
    is_last: bool = False

    @property
    def last_key(self) -> _Key:
        symbol, time = self.frame.tail(1).select(_compared()).row(0)
        return symbol, time

    def take_below(self, key: _Key | None) -> pl.DataFrame:
        """Remove the rows below a key, or all."""
        count = self.frame.height
        if key is not None:
            symbol, time = _compared()
            count = self.frame.select(((symbol < key[0]) | ((symbol == key[0]) & (time < key[1]))).sum()).item()
        taken, self.frame = self.frame.head(count), self.frame.slice(count)
        return taken

    def advance(self) -> None:
        following = next((frame for frame in self.stream if frame.height), None)
        if following is None:
            self.is_last = True
        else:
            self.frame = pl.concat([self.frame, following]) if self.frame.height else following


def merged(streams: Sequence[Iterator[pl.DataFrame]], sort: Sequence[str]) -> Iterator[pl.DataFrame]:
    """The frames of several streams as one, sorted by `sort`, which begins with symbol and time, as every stream is.

    Rows of one symbol and time keep the order of the streams where `sort` says nothing else.
    """
    heads = []
    for stream in streams:
        first = next((frame for frame in stream if frame.height), None)
        if first is not None:
            heads.append(_Head(first, stream))
    while heads:
        # What is below the last row of every unfinished stream is complete.
        open_heads = [head for head in heads if not head.is_last]
        lowest = min(open_heads, key=lambda head: head.last_key) if open_heads else None
        bound = lowest.last_key if lowest else None
        ready = [part for head in heads if (part := head.take_below(bound)).height]
        if ready:
            yield ready[0] if len(ready) == 1 else pl.concat(ready).sort(*sort, maintain_order=True)
        if lowest is None:
            return
        lowest.advance()
        heads = [head for head in heads if head.frame.height or not head.is_last]


def _compared() -> tuple[pl.Expr, pl.Expr]:
    return pl.col("symbol").cast(pl.String), pl.col("time").to_physical()
