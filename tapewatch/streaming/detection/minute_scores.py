"""Scores of closed minutes as they become known, equal to those of the whole day."""

import logging
from typing import Final, cast

import numpy as np
import polars as pl

from models.base import Detector, DetectorError
from models.ensemble.detector import EnsembleDetector
from tapewatch.market.instruments import NS_PER_MINUTE
from tapewatch.market.tables.tape import TIME

_log = logging.getLogger(__name__)
#: What a detector says of a minute. `said` is the kind that it names, if it names any.
SCORED: Final = ("score", "is_out", "said", "is_flagged")
_KEY: Final = ["symbol", "event_time"]


class MinuteScores:
    """Scores minutes with one detector. Not thread-safe.

    A member of an ensemble that cannot score is left out, as in a batch without it; the log and `label` say so.

    Args:
        detector: a detector of minutes.
        model: its registered name and version.
    """

    def __init__(self, detector: Detector, model: str) -> None:
        self.detector, self.model = detector, model
        self._context: list[pl.DataFrame] = []

    @property
    def absent(self) -> tuple[str, ...]:
        """Members that do not judge."""
        return tuple(sorted(self.detector.absent)) if isinstance(self.detector, EnsembleDetector) else ()

    @property
    def label(self) -> str:
        """Name and version, and which members are absent."""
        return f"{self.model} (without {', '.join(self.absent)})" if self.absent else self.model

    @property
    def limit(self) -> float:
        """From where it raises alerts: once in so many hours if it is calibrated, else a score."""
        return self.detector.hours if isinstance(self.detector, EnsembleDetector) else self.detector.threshold

    def hours(self, score: float) -> float | None:
        """Once in how many hours ordinary tape scores as high; None if its threshold is a score, not such a number of hours."""
        if not isinstance(self.detector, EnsembleDetector):
            return None
        return float(self.detector.hours_between(np.array([score]), pl.Series([""]))[0])

    def remember(self, rows: pl.DataFrame) -> None:
        """Take in minutes that were scored by another detector."""
        if self.detector.context_minutes:
            self._context = [*self._context, rows]

    def score(self, rows: pl.DataFrame) -> pl.DataFrame:
        """`rows` with `SCORED`: MICROSTRUCTURE columns with symbols as text, each symbol's minute once.

        Where the detector reads minutes before, a row of the past that changed brings those after it again.
        """
        context = self.detector.context_minutes
        if context:
            return self._scored_in_context(rows, context)
        return self._scored(rows)

    def forget(self) -> None:
        """Forget the minutes so far: another day begins."""
        self._context = []

    def _scored_in_context(self, rows: pl.DataFrame, minutes: int) -> pl.DataFrame:
        whole = latest([*self._context, rows])
        newest = cast(int, whole["event_time"].dt.epoch("ns").max())
        kept_from = pl.lit(newest - 2 * (minutes + 1) * NS_PER_MINUTE).cast(TIME)
        self._context = [whole.filter(pl.col("event_time") >= kept_from)]
        changed = rows.group_by("symbol").agg(since=pl.col("event_time").min())
        affected = whole.join(changed, on="symbol").sort(_KEY)
        before = pl.col("since").dt.offset_by(f"-{minutes}m")
        scored = self._scored(affected.filter(pl.col("event_time") >= before).drop("since"))
        since = scored.join(changed, on="symbol", how="left", maintain_order="left")["since"]
        return scored.filter(scored["event_time"] >= since)

    def _scored(self, rows: pl.DataFrame) -> pl.DataFrame:
        try:
            found = self.detector.scored(rows)
        except Exception as error:  # noqa: BLE001 - a member that fails may be left out, whatever its fault
            self._leave_out(rows, error)
            found = self.detector.scored(rows)
        said = found["kind"] if "kind" in found.columns else pl.Series([None] * found.height, dtype=pl.String)
        return rows.with_columns(found["score"], found["is_out"], said.alias("said")).with_columns(
            is_flagged=pl.col("score") >= self.detector.threshold
        )

    def _leave_out(self, rows: pl.DataFrame, error: Exception) -> None:
        """Go on without the members of an ensemble that cannot score `rows`; raises `error` where that is no remedy."""
        if not isinstance(self.detector, EnsembleDetector):
            raise error
        failing = self.detector.failing(rows)
        if not failing:
            raise error
        try:
            self.detector = self.detector.without({*self.detector.absent, *failing})
        except DetectorError:
            raise error from None
        said = "; ".join(f"{name} cannot score: {reason}" for name, reason in failing.items())
        _log.error("%s goes on without %s: %s", self.model, ", ".join(failing), said)


def latest(parts: list[pl.DataFrame]) -> pl.DataFrame:
    """One row a symbol and minute, the last that came, sorted by both."""
    return pl.concat(parts).unique(_KEY, keep="last", maintain_order=True).sort(_KEY)
