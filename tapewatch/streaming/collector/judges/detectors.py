"""What judges a market's tape in a collector: the rules, the scan and the champion of minutes. On one event they raise one alert."""

from collections.abc import Iterable

from tapewatch.feeds.stream.decode.decoder import StreamBatch
from tapewatch.streaming.collector.judges.minutes import MinuteJudge
from tapewatch.streaming.collector.judges.scanning import Scanner
from tapewatch.streaming.detection.events import Events
from tapewatch.streaming.detection.findings import SCAN, Finding, Source
from tapewatch.streaming.detection.rules.wording import AlertRow, ns_from_time
from tapewatch.streaming.detection.watch import AlertChange, Watch


class Detectors:
    """The rules, the scan and the champion of minutes of one market. Not thread-safe.

    Args:
        watch: the rules.
        scanner: the scan; by default there is none.
        minutes: the champion of minutes, which judges in a thread of its own; by default there is none.
    """

    def __init__(
        self,
        watch: Watch,
        scanner: Scanner | None = None,
        events: Events | None = None,
        minutes: MinuteJudge | None = None,
    ) -> None:
        self.scanner = scanner or Scanner(watch.market, None)
        self.minutes = minutes
        self._watch = watch
        self._events = events or Events(watch.market)

    def resume(self, rows: Iterable[AlertRow]) -> None:
        """Continue the alerts that an earlier process left open. Call it before the first event."""
        rows = list(rows)
        self._events.resume(rows)
        self._watch.resume(rows)

    def observe(self, batch: StreamBatch, silent_ns: int = 0) -> list[AlertChange]:
        """Process a batch; `silent_ns` is how long the tape had no event before it."""
        over = self.scanner.add(batch, silent_ns)
        return [*self._events.of_rules(self._watch.observe(batch)), *self._of_scan(over)]

    def scan(self, now_ns: int, *, is_live: bool) -> list[AlertChange]:
        """Let the scan judge the bins that are complete at the tape's present."""
        return self._of_scan(self.scanner.advance(now_ns, is_live=is_live))

    def tick(self, now_ns: int) -> list[AlertChange]:
        """Let time pass without an event; call it only while connected."""
        return [*self._events.of_rules(self._watch.tick(now_ns)), *self._events.tick(now_ns)]

    def judged_minutes(self) -> list[AlertChange]:
        """What the champion of minutes found since the last call."""
        if self.minutes is None:
            return []
        return [change for found, source in self.minutes.take() for change in self._events.of_model([found], source)]

    @property
    def judges_minutes(self) -> bool:
        """Whether there is a champion of minutes."""
        return self.minutes is not None and self.minutes.is_judging

    def heard(self, at_ns: int) -> None:
        """Note that events arrive, the first of them of this time."""
        if self.minutes is not None:
            self.minutes.heard(at_ns)

    def lost(self, at_ns: int | None = None) -> list[AlertChange]:
        """Note that events are missing from here on, by default since the session is over.

        The scan begins anew, since a gap looks like an outage, and minutes within the gap are not judged.
        """
        if self.minutes is not None and at_ns is not None:
            self.minutes.lost(at_ns)
        return self._of_scan(self.scanner.restart())

    def _of_scan(self, findings: list[Finding]) -> list[AlertChange]:
        scanner = self.scanner
        return self._events.of_model(findings, Source(SCAN, scanner.model, scanner.hours)) if findings else []


def opened_by(rule: str, changes: Iterable[AlertChange]) -> list[int]:
    """When the alerts that a model opened under its rule began, int64 ns UTC."""
    return [ns_from_time(c.row["start_time"]) for c in changes if c.is_opening and c.row["rule"] == rule]
