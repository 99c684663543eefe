"""What judges a market's tape in a collector: the rules and the scan, whose alerts on one event are one."""

from collections.abc import Iterable

from tapewatch.feeds.stream.decode.decoder import StreamBatch
from tapewatch.streaming.collector.scanning import Scanner
from tapewatch.streaming.detection.events import SCAN, Events
from tapewatch.streaming.detection.live_scan import ScanFinding
from tapewatch.streaming.detection.rules.wording import AlertRow, ns_from_time
from tapewatch.streaming.detection.watch import AlertChange, Watch


class Detectors:
    """The rules and the scan of one market. Not thread-safe.

    Args:
        watch: the rules.
        scanner: the scan; by default there is none.
    """

    def __init__(self, watch: Watch, scanner: Scanner | None = None, events: Events | None = None) -> None:
        self.scanner = scanner or Scanner(watch.market, None)
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

    def lost(self) -> list[AlertChange]:
        """Note that events are missing from here on: the scan begins anew, since a gap looks like an outage."""
        return self._of_scan(self.scanner.restart())

    def _of_scan(self, findings: list[ScanFinding]) -> list[AlertChange]:
        return self._events.of_scan(findings, self.scanner.hours) if findings else []


def opened_by_scan(changes: Iterable[AlertChange]) -> list[int]:
    """When the alerts that the scan opened began, int64 ns UTC."""
    return [ns_from_time(c.row["start_time"]) for c in changes if c.is_opening and c.row["rule"] == SCAN]
