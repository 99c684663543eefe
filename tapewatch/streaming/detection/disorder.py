"""Finds events whose times are out of line with their neighbours': stamped by a clock that is wrong, or hours late."""

import numpy as np
import polars as pl

from tapewatch.feeds.stream.decode.decoder import StreamBatch
from tapewatch.market.instruments import NS_PER_SECOND

#: Neighbours in order of arrival may disagree by so much: networks delay, clocks do not.
TOLERATED_NS = 30 * NS_PER_SECOND


class Disorder:
    """Counts, table by table, how often the time falls back by more than is tolerated from one event to the next."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def count(self, batch: StreamBatch) -> int:
        """The falls within this batch's trades and quotes, and from the batch before to it."""
        return self._falls("trades", batch.trades) + self._falls("quotes", batch.quotes)

    def _falls(self, name: str, rows: pl.DataFrame) -> int:
        if not rows.height:
            return 0
        times = rows["time"].to_physical().to_numpy()
        before = self._last.get(name, int(times[0]))
        self._last[name] = int(times[-1])
        return int(np.count_nonzero(np.diff(times, prepend=before) < -TOLERATED_NS))
