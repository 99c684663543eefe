"""A sample of the requests in the lake, `serving/requests/date=…/`: for each row its vector, when it came, and the answer."""

import datetime as dt
import random
import threading
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from models.base import Scores
from serving.schemas import Model, Verdict
from tapewatch.store.durable import write_whole

_US: Final = pl.Datetime("us", "UTC")
SCHEMA: Final = {
    "request_id": pl.String(),
    "arrival_time": _US,
    "operation": pl.String(),
    "model": pl.String(),
    "version": pl.String(),
    "feature_version": pl.Int32(),
    "symbol": pl.String(),
    "event_time": _US,
    "features": pl.List(pl.String()),
    "values": pl.List(pl.Float64()),
    "score": pl.Float64(),
    "threshold": pl.Float64(),
    "is_anomaly": pl.Boolean(),
    "not_scored": pl.String(),
}
_MOST_WAITING: Final = 100_000


class TrafficLog:
    """Keeps a `share` of the requests (0 to 1) and writes them to the lake; safe to share between threads.

    What cannot be written, or comes faster than it is written, is dropped and counted in `dropped`: answers come first.
    """

    SECONDS: Final = 5.0

    def __init__(self, lake_root: Path, share: float) -> None:
        self._root, self._share = lake_root / "serving" / "requests", share
        self._rows: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self.dropped = 0

    def wants(self) -> bool:
        """Whether the next request is in the sample."""
        return self._share > 0 and random.random() < self._share  # noqa: S311 - a sample, no secret

    def add(
        self,
        operation: str,
        request_id: str,
        model: Model,
        feature_version: int,
        features: Sequence[str],
        values: Scores,
        verdicts: Sequence[Verdict],
    ) -> None:
        """Keep the rows of one request: `values` are rows x features."""
        now = dt.datetime.now(dt.UTC)
        same = {"request_id": request_id, "arrival_time": now, "operation": operation}
        same |= {"model": model.name, "version": model.version, "feature_version": feature_version}
        rows = [
            {
                **same,
                "symbol": verdict.symbol,
                "event_time": verdict.event_time,
                "features": list(features),
                "values": [None if np.isnan(value) else value for value in vector],
                "score": verdict.score,
                "threshold": verdict.threshold,
                "is_anomaly": verdict.is_anomaly,
                "not_scored": verdict.not_scored,
            }
            for vector, verdict in zip(values.tolist(), verdicts, strict=True)
        ]
        with self._lock:
            room = max(0, _MOST_WAITING - len(self._rows))
            self._rows += rows[:room]
            self.dropped += len(rows) - min(room, len(rows))

    def flush(self) -> int:
        """Write what waits as one file a day; returns how many rows."""
        with self._lock:
            rows, self._rows = self._rows, []
        if not rows:
            return 0
        frame = pl.DataFrame(rows, schema=SCHEMA)
        for (day,), part in frame.group_by(pl.col("arrival_time").dt.date(), maintain_order=True):
            folder = self._root / f"date={day}"
            try:
                folder.mkdir(parents=True, exist_ok=True)
                write_whole(folder / f"{uuid.uuid4().hex}.parquet", part.write_parquet, is_synced=False)
            except OSError:
                self.dropped += part.height
                raise
        return len(rows)


def read_traffic(lake_root: Path, first: dt.date, last: dt.date) -> pl.DataFrame:
    """The sampled requests of days `first` to `last`, in order of arrival."""
    root, day, parts = lake_root / "serving" / "requests", first, [pl.DataFrame(schema=SCHEMA)]
    while day <= last:
        parts += [pl.read_parquet(file, glob=False) for file in sorted((root / f"date={day}").glob("*.parquet"))]
        day += dt.timedelta(days=1)
    return pl.concat(parts).sort("arrival_time", "request_id", maintain_order=True)
