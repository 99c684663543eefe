"""Joins small batches, so that work which costs the same for a row as for a thousand is done once."""

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from tapewatch.feeds.stream.decode.decoder import StreamBatch


def joined(batches: Sequence[StreamBatch]) -> StreamBatch:
    """One batch with the rows of all, table by table in order of arrival; at least one batch.

    Its counts, statuses and times of receipt are the last batch's.
    """
    if len(batches) == 1:
        return batches[0]
    names = dict.fromkeys(name for batch in batches for name in batch.others)
    return replace(
        batches[-1],
        trades=_concat([batch.trades for batch in batches]),
        quotes=_concat([batch.quotes for batch in batches]),
        bars=_concat([batch.bars for batch in batches]),
        others={name: _concat([batch.others[name] for batch in batches if name in batch.others]) for name in names},
        refused=_concat([batch.refused for batch in batches]),
    )


def _concat(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    full = [frame for frame in frames if frame.height]
    if len(full) < 2:
        return full[0] if full else frames[0]
    return pl.concat(full, rechunk=True)
