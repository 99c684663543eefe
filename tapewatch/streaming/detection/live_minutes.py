"""The champion of minutes on a live tape: closed minutes in, incidents that open and grow out."""

import json
import logging
from collections.abc import Iterator
from typing import Any, Final

import polars as pl

from models.base import Detector
from models.events import merge_anomalies
from models.reasons import worded
from tapewatch.market.instruments import NS_PER_MINUTE
from tapewatch.market.tables.tape import ATTRIBUTIONS, TIME
from tapewatch.streaming.detection.findings import CHAMPION, Finding, Source
from tapewatch.streaming.detection.minute_scores import SCORED, MinuteScores, latest

_log = logging.getLogger(__name__)
#: Minutes that are held: an event is named by its own minutes and the usual ones before.
HISTORY_MINUTES: Final = 120
#: An event ends with the second ordinary minute after it, as `merge_anomalies` says.
_GAP_MINUTES = 1
#: Reasons take milliseconds a minute, in which nothing else runs; a crash of all symbols is explained in parts.
_AT_ONCE = 4
_REASONS = 3
_KEY = ["symbol", "event_time"]


class LiveMinutes:
    """Finds anomalies minute by minute, those of `merge_anomalies` for the same minutes. Not thread-safe.

    The minutes are of one market's session. A minute that changed, since late ticks arrived, is scored again.
    """

    def __init__(self, detector: Detector, model: str) -> None:
        self.scores = MinuteScores(detector, model)
        #: Scored minutes in order of arrival, each part with its newest time.
        self._parts: list[tuple[int, pl.DataFrame]] = []
        self._reasons = ATTRIBUTIONS.empty().with_columns(pl.col("symbol").cast(pl.String))
        self._open: dict[str, int] = {}

    @property
    def source(self) -> Source:
        """Who speaks in the alerts."""
        return Source(CHAMPION, self.scores.label, self.scores.limit)

    def replace(self, detector: Detector, model: str) -> None:
        """Go on with another detector, with the minutes and the incidents so far; what was scored is not scored again."""
        self.scores = MinuteScores(detector, model)
        for _, part in self._parts:
            self.scores.remember(part.drop(SCORED))

    def score(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Score regular minutes that are new or have changed; returns them, and those that they change, with `SCORED`.

        Args:
            rows: MICROSTRUCTURE columns, symbols as text.
        """
        scored = self.scores.score(rows)
        if scored.height:
            newest = int(scored["event_time"].dt.epoch("ns").max())  # type: ignore[arg-type]
            self._parts.append((newest, scored))
            self._forget(max(newest for newest, _ in self._parts) - HISTORY_MINUTES * NS_PER_MINUTE)
        return scored

    def findings(self, scored: pl.DataFrame, through_ns: int) -> Iterator[Finding]:
        """What the flagged ones of `scored` make, and the incidents that are over once minutes up to `through_ns` are scored."""
        flagged = scored.filter("is_flagged")
        if flagged.height:
            self._explain(flagged)
            yield from self._of(flagged)
        for symbol, last in list(self._open.items()):
            # The minute after the gap is scored and did not go on.
            if through_ns >= last + (_GAP_MINUTES + 2) * NS_PER_MINUTE:
                yield self._over(symbol, through_ns)

    def end(self, through_ns: int) -> list[Finding]:
        """End all incidents, as after a session."""
        return [self._over(symbol, through_ns) for symbol in list(self._open)]

    def _of(self, flagged: pl.DataFrame) -> Iterator[Finding]:
        names = flagged["symbol"].unique().to_list()
        held = latest([pl.concat([part for _, part in self._parts]).filter(pl.col("symbol").is_in(names))])
        known = held.filter(pl.col("score").is_not_null())
        scored = known.select(*_KEY, "known_time", "score", "is_out", kind="said")
        events = merge_anomalies(
            scored, self._reasons, known, threshold=self.scores.detector.threshold, model=self.scores.label
        ).with_columns(pl.col("symbol", "kind").cast(pl.String))
        times = {symbol: part["event_time"].dt.epoch("ns").to_list() for (symbol,), part in flagged.group_by("symbol")}
        spans = events.with_columns(pl.col("start_time", "end_time", "known_time").dt.epoch("ns"))
        for event in spans.iter_rows(named=True):
            if any(event["start_time"] <= at < event["end_time"] for at in times[event["symbol"]]):
                yield self._finding(event)

    def _finding(self, event: dict[str, Any]) -> Finding:
        symbol, last = event["symbol"], event["end_time"] - NS_PER_MINUTE
        is_opening = symbol not in self._open
        self._open[symbol] = max(last, self._open.get(symbol, last))
        return Finding(
            symbol=symbol,
            kind=event["kind"],
            start_ns=event["start_time"],
            last_ns=event["end_time"],
            known_ns=event["end_time"],
            score=event["score"],
            hours=self.scores.hours(event["score"]),
            words="; ".join(words for _, words in worded(json.loads(event["reasons"])[:_REASONS])),
            is_opening=is_opening,
        )

    def _over(self, symbol: str, through_ns: int) -> Finding:
        last = self._open.pop(symbol) + NS_PER_MINUTE
        return Finding(symbol, "", last, last, through_ns, 0.0, None, "", is_opening=False, is_over=True)

    def _explain(self, flagged: pl.DataFrame) -> None:
        """Hold the reasons of flagged minutes; without them where the detector cannot give any."""
        rows, found = flagged.drop(SCORED), []
        try:
            found = [self.scores.detector.explain(part) for part in rows.iter_slices(_AT_ONCE)]
        except Exception:  # noqa: BLE001 - the alert is worth more than its reasons
            _log.exception("%s cannot explain", self.scores.label)
        new = [each.with_columns(pl.col("symbol").cast(pl.String)) for each in found]
        kept = self._reasons.join(flagged.select(_KEY), on=_KEY, how="anti")
        self._reasons = pl.concat([kept, *new])

    def _forget(self, oldest_ns: int) -> None:
        self._parts = [(newest, part) for newest, part in self._parts if newest >= oldest_ns]
        self._reasons = self._reasons.filter(pl.col("event_time") >= pl.lit(oldest_ns).cast(TIME))
