"""One event, one alert: what rules and the scan raise about a symbol at a time is one row of `ALERTS`."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from tapewatch.market.instruments import NS_PER_MINUTE, Market, day_of
from tapewatch.streaming.detection.live_scan import ScanFinding
from tapewatch.streaming.detection.open_alerts import AlertChange
from tapewatch.streaming.detection.rules.settings import SEVERITIES
from tapewatch.streaming.detection.rules.wording import AlertRow, ns_from_time, stamp, time_from_ns

#: The rule of the scan's own alerts.
SCAN: Final = "scan"
#: What begins so long after an alert's end still belongs to it.
TOGETHER_NS: Final = 10 * NS_PER_MINUTE
#: Rules about the data or the whole feed, which are never the event that a scan finds.
_APART: Final = frozenset({"data_quality", "feed_outage"})
#: Mean hours of a symbol's ordinary tape between alerts of this level, from which an alert is no longer `info`.
_WARNING_HOURS, _CRITICAL_HOURS = 65.0, 1000.0
#: An open alert is written again when its level has grown by this factor, at most once a minute.
_GROWTH = 1.1


@dataclass(eq=False)
class _Event:
    """An alert and what else belongs to it. `row` is that of the detector that came first."""

    row: AlertRow
    #: Ids of the rules' alerts that go on, and `SCAN` while the incident does.
    going_on: set[str]
    end_ns: int
    has_scan: bool = False
    #: What other detectors said, by rule, and the severity of each.
    notes: dict[str, tuple[str, str]] = field(default_factory=dict)
    peak_hours: float = 0.0
    kind: str = ""
    shown_hours: float = 0.0
    shown_ns: int = 0
    #: Left open by an earlier process, and not seen again so far.
    is_resumed: bool = False

    @property
    def alert_id(self) -> str:
        return str(self.row["alert_id"])

    def whole_row(self, end_ns: int | None = None) -> AlertRow:
        """The alert's row with what other detectors said."""
        severities = [self.row["severity"], *(severity for _, severity in self.notes.values())]
        return {
            **self.row,
            "severity": max(severities, key=SEVERITIES.index),
            "message": "; ".join([self.row["message"], *(text for text, _ in self.notes.values())]),
            "end_time": None if end_ns is None else time_from_ns(end_ns),
        }


class Events:
    """The alerts of one market's rules and scan, those of the same event as one. Not thread-safe.

    An incident of a symbol that has a rule's alert, open or ended within ten minutes, joins it: the alert's message says so, and
    it lasts until both are over. A rule's alert joins an incident in the same way. Rules do not join each other.

    Args:
        clock: the present for `detected_time`, int64 ns UTC.
    """

    def __init__(self, market: Market, *, clock: Callable[[], int] = time.time_ns) -> None:
        self._market, self._clock = market, clock
        self._by_symbol: dict[str, list[_Event]] = {}
        self._of_alert: dict[str, _Event] = {}
        self._resumed_ns: int | None = None

    def resume(self, rows: Iterable[AlertRow]) -> None:
        """Continue alerts that an earlier process left open; those of the scan end ten minutes later unless they go on."""
        for row in rows:
            if row["rule"] in _APART:
                continue
            is_scan = row["rule"] == SCAN
            event = _Event(dict(row), {SCAN if is_scan else row["alert_id"]}, ns_from_time(row["start_time"]))
            event.has_scan = event.is_resumed = is_scan
            if is_scan:
                event.peak_hours = event.shown_hours = row["peak"]
            self._add(event)

    def of_rules(self, changes: Iterable[AlertChange]) -> list[AlertChange]:
        """The changes of alerts that follow from those of the rules'."""
        return [out for change in changes for out in self._of_rule(change)]

    def of_scan(self, findings: Iterable[ScanFinding], hours: float) -> list[AlertChange]:
        """The changes of alerts that follow from what the scan found; `hours` is its setting."""
        return [out for finding in findings for out in self._of_finding(finding, hours)]

    def tick(self, now_ns: int) -> list[AlertChange]:
        """End the resumed alerts of the scan that did not go on within ten minutes, or whose day is over."""
        resumed = [event for events in self._by_symbol.values() for event in events if event.is_resumed]
        if not resumed:
            return []
        self._resumed_ns = self._resumed_ns or now_ns
        changes: list[AlertChange] = []
        for event in resumed:
            is_past = day_of(self._market, event.row["start_time"]) != day_of(self._market, time_from_ns(now_ns))
            if not is_past:
                event.end_ns = max(event.end_ns, self._resumed_ns)
            if is_past or now_ns - self._resumed_ns > TOGETHER_NS:
                event.is_resumed = False
                changes += self._left(event, SCAN)
        return changes

    def _of_rule(self, change: AlertChange) -> Iterator[AlertChange]:
        row = change.row
        alert_id, at = row["alert_id"], ns_from_time(row["start_time"])
        event = self._of_alert.get(alert_id)
        if change.is_opening:
            if row["rule"] in _APART:
                yield change
                return
            event = self._joinable(row["symbol"], at, with_scan=True)
            if event is None:
                self._add(_Event(dict(row), {alert_id}, at))
                yield change
                return
            event.going_on.add(alert_id)
            self._of_alert[alert_id] = event
            event.notes[row["rule"]] = (row["message"].removeprefix(f"{row['symbol']}: "), row["severity"])
            yield AlertChange(event.whole_row())
            return
        if event is None:
            yield change
            return
        if alert_id == event.alert_id:
            event.row = dict(row)
        if change.is_closing:
            event.end_ns = max(event.end_ns, ns_from_time(row["end_time"]))
            self._of_alert.pop(alert_id)
            yield from self._left(event, alert_id)
        elif alert_id == event.alert_id:
            yield AlertChange(event.whole_row())

    def _of_finding(self, finding: ScanFinding, hours: float) -> Iterator[AlertChange]:
        event = next((e for e in self._by_symbol.get(finding.symbol, ()) if SCAN in e.going_on), None)
        if finding.is_over:
            if event is not None:
                event.end_ns = max(event.end_ns, finding.last_ns)
                yield from self._left(event, SCAN)
            return
        if event is None:
            event = self._joinable(finding.symbol, finding.start_ns, with_scan=False)
        if event is None:
            event = _Event(self._scan_row(finding, hours), {SCAN}, finding.last_ns, has_scan=True)
            event.peak_hours = event.shown_hours = finding.hours
            event.kind, event.shown_ns = finding.kind, finding.known_ns
            self._add(event)
            yield AlertChange(event.whole_row(), is_opening=True)
            return
        yield from self._grown(event, finding)

    def _grown(self, event: _Event, finding: ScanFinding) -> Iterator[AlertChange]:
        """Let an incident join an event, or grow within it."""
        is_new = SCAN not in event.going_on
        event.going_on.add(SCAN)
        event.has_scan, event.is_resumed = True, False
        event.end_ns = max(event.end_ns, finding.last_ns)
        is_named_anew = finding.hours >= event.peak_hours and finding.kind != event.kind
        is_higher = finding.hours >= _GROWTH * event.shown_hours and finding.known_ns - event.shown_ns >= NS_PER_MINUTE
        if event.row["rule"] == SCAN:
            event.row["observations"] += 1
        event.peak_hours = max(event.peak_hours, finding.hours)
        if not (is_new or is_named_anew or is_higher):
            return
        event.kind, event.shown_hours, event.shown_ns = finding.kind, event.peak_hours, finding.known_ns
        if event.row["rule"] == SCAN:
            event.row |= {
                "peak": event.peak_hours,
                "severity": _severity(event.peak_hours),
                "message": f"{finding.symbol}: {_words(finding, event.peak_hours)}",
            }
        else:
            event.notes[SCAN] = (f"scan: {_words(finding, event.peak_hours)}", _severity(event.peak_hours))
        yield AlertChange(event.whole_row())

    def _left(self, event: _Event, member: str) -> Iterator[AlertChange]:
        """End an event once nothing of it goes on."""
        was_open = bool(event.going_on)
        event.going_on.discard(member)
        if event.row["rule"] == SCAN:
            event.row["peak"] = max(event.row["peak"], event.peak_hours)
        if was_open and not event.going_on:
            yield AlertChange(event.whole_row(event.end_ns), is_closing=True)

    def _joinable(self, symbol: str, at_ns: int, *, with_scan: bool) -> _Event | None:
        """The symbol's event that what begins at `at_ns` belongs to: one that goes on before one that ended."""
        events = [e for e in self._by_symbol.get(symbol, ()) if e.going_on or at_ns - e.end_ns <= TOGETHER_NS]
        self._by_symbol[symbol] = events
        fitting = [e for e in events if e.has_scan or not with_scan]
        return min(fitting, key=lambda e: (not e.has_scan, not e.going_on, -e.end_ns), default=None)

    def _add(self, event: _Event) -> None:
        self._by_symbol.setdefault(event.row["symbol"], []).append(event)
        if event.row["rule"] != SCAN:
            self._of_alert[event.alert_id] = event

    def _scan_row(self, finding: ScanFinding, hours: float) -> AlertRow:
        return {
            "alert_id": f"{self._market}:{SCAN}:{finding.symbol}:{stamp(finding.start_ns)}",
            "symbol": finding.symbol,
            "rule": SCAN,
            "severity": _severity(finding.hours),
            "start_time": time_from_ns(finding.start_ns),
            "known_time": time_from_ns(finding.known_ns),
            "end_time": None,
            "detected_time": time_from_ns(self._clock()),
            "value": finding.hours,
            "baseline": hours,
            "multiple": finding.hours / hours,
            "peak": finding.hours,
            "observations": 1,
            "message": f"{finding.symbol}: {_words(finding, finding.hours)}",
        }


def level(hours: float) -> str:
    """How rare an alert is, for people."""
    return f"1 in {hours:,.0f} h"


def _words(finding: ScanFinding, hours: float) -> str:
    return f"{finding.kind.replace('_', ' ')}, {level(hours)}: {finding.words}"


def _severity(hours: float) -> str:
    return SEVERITIES[(hours >= _WARNING_HOURS) + (hours >= _CRITICAL_HOURS)]


__all__ = ["SCAN", "TOGETHER_NS", "Events", "level"]
