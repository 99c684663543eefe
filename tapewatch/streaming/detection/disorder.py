"""Counts events whose times are out of order: sent by a wrong clock, or hours late."""

import numpy as np
import polars as pl

from tapewatch.feeds.stream.decode.decoder import StreamBatch
from tapewatch.market.instruments import NS_PER_SECOND

#: Tolerated step back in time between events in order of arrival; network delays are shorter.
TOLERATED_NS = 30 * NS_PER_SECOND


class Disorder:
    """Counts, by table, the steps back in time of more than `TOLERATED_NS` from one event to the next."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def count(self, batch: StreamBatch) -> int:
        """The steps back within this batch's trades and quotes, and from the previous batch to it."""
        return self._steps_back("trades", batch.trades) + self._steps_back("quotes", batch.quotes)

    def _steps_back(self, name: str, rows: pl.DataFrame) -> int:
        if not rows.height:
            return 0
        times = rows["time"].to_physical().to_numpy()
        before = self._last.get(name, int(times[0]))
        self._last[name] = int(times[-1])
        return int(np.count_nonzero(np.diff(times, prepend=before) < -TOLERATED_NS))
