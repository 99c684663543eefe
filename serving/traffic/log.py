"""A sample of the requests in the lake, `serving/requests/date=…/`: for each row its vector, when it came, and the answer."""

import datetime as dt
import random
import threading
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from serving.judged import Judged
from serving.schemas import Model
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


@dataclass(frozen=True, slots=True)
class _Request:
    """One request and what was answered; its columns are made when it is written."""

    request_id: str
    arrival_time: dt.datetime
    operation: str
    model: Model
    feature_version: int
    judged: Judged

    def frame(self) -> pl.DataFrame:
        """Its rows, as SCHEMA says."""
        judged, minutes = self.judged, self.judged.minutes
        reasons = [*judged.faults, ""]
        columns: dict[str, Any] = {
            "symbol": minutes.symbols,
            "event_time": minutes.times,
            "values": pl.Series(minutes.values.tolist(), dtype=pl.List(pl.Float64)).list.eval(
                pl.element().fill_nan(None)
            ),
            "score": judged.scores,
            "is_anomaly": judged.is_anomaly,
            "not_scored": [reasons[at] for at in judged.of_fault.tolist()],
        }
        same: dict[str, Any] = {
            "request_id": self.request_id,
            "arrival_time": self.arrival_time,
            "operation": self.operation,
            "model": self.model.name,
            "version": self.model.version,
            "feature_version": self.feature_version,
            "features": pl.lit(pl.Series([list(minutes.features)], dtype=pl.List(pl.String))).first(),
            "threshold": judged.threshold,
        }
        is_scored = pl.Series(judged.is_scored)
        return (
            pl.DataFrame(columns)
            .with_columns(
                **{name: value if isinstance(value, pl.Expr) else pl.lit(value) for name, value in same.items()}
            )
            .with_columns(pl.when(is_scored).then(pl.col("score", "is_anomaly")))
            .select(pl.col(name).cast(dtype) for name, dtype in SCHEMA.items())
        )


class TrafficLog:
    """Keeps a `share` of the requests (0 to 1) and writes them to the lake; safe to share between threads.

    What cannot be written, or comes faster than it is written, is dropped and counted in `dropped`: answers come first.
    """

    SECONDS: Final = 5.0

    def __init__(self, lake_root: Path, share: float) -> None:
        self._root, self._share = lake_root / "serving" / "requests", share
        self._waiting: list[_Request] = []
        self._rows = 0
        self._lock = threading.Lock()
        self.dropped = 0

    def wants(self) -> bool:
        """Whether the next request is in the sample."""
        return self._share > 0 and random.random() < self._share  # noqa: S311 - a sample, no secret

    def add(self, operation: str, request_id: str, model: Model, feature_version: int, judged: Judged) -> None:
        """Keep the rows of one request."""
        kept = _Request(request_id, dt.datetime.now(dt.UTC), operation, model, feature_version, judged)
        with self._lock:
            room = max(0, _MOST_WAITING - self._rows)
            if len(judged) > room:
                self.dropped += len(judged)
                return
            self._waiting.append(kept)
            self._rows += len(judged)

    def flush(self) -> int:
        """Write what waits as one file a day; returns how many rows."""
        with self._lock:
            waiting, self._waiting, self._rows = self._waiting, [], 0
        if not waiting:
            return 0
        frame = pl.concat([each.frame() for each in waiting])
        for (day,), part in frame.group_by(pl.col("arrival_time").dt.date(), maintain_order=True):
            folder = self._root / f"date={day}"
            try:
                folder.mkdir(parents=True, exist_ok=True)
                write_whole(folder / f"{uuid.uuid4().hex}.parquet", part.write_parquet, is_synced=False)
            except OSError:
                self.dropped += part.height
                raise
        return frame.height


def read_traffic(lake_root: Path, first: dt.date, last: dt.date) -> pl.DataFrame:
    """The sampled requests of days `first` to `last`, in order of arrival."""
    root, day, parts = lake_root / "serving" / "requests", first, [pl.DataFrame(schema=SCHEMA)]
    while day <= last:
        parts += [pl.read_parquet(file, glob=False) for file in sorted((root / f"date={day}").glob("*.parquet"))]
        day += dt.timedelta(days=1)
    return pl.concat(parts).sort("arrival_time", "request_id", maintain_order=True)
