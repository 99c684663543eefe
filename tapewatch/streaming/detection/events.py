"""One event, one alert: what rules and models raise about a symbol at a time is one row of `ALERTS`."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from tapewatch.market.instruments import NS_PER_MINUTE, Market, day_of
from tapewatch.market.rarity import level_in_words
from tapewatch.streaming.detection.findings import MODEL_RULES, SCAN, Finding, Source
from tapewatch.streaming.detection.open_alerts import AlertChange
from tapewatch.streaming.detection.rules.settings import SEVERITIES
from tapewatch.streaming.detection.rules.wording import AlertRow, ns_from_time, stamp, time_from_ns

#: What begins so long after an alert's end still belongs to it.
TOGETHER_NS: Final = 10 * NS_PER_MINUTE
#: Rules about the data or the whole feed, which are never the event that a model finds.
_APART: Final = frozenset({"data_quality", "feed_outage"})
#: Mean hours of a symbol's ordinary tape between alerts of this level, from which an alert is no longer `info`.
_WARNING_HOURS, _CRITICAL_HOURS = 65.0, 1000.0
#: An open alert is written again when its level has grown by this factor, at most once a minute.
_GROWTH = 1.1


@dataclass
class _Voice:
    """What one model said of an event: the kind at its highest value, and the value that was last shown and when."""

    model: str
    kind: str
    peak: float
    shown: float
    shown_ns: int


@dataclass(eq=False)
class _Event:
    """An alert and what else belongs to it. `row` is that of the detector that came first."""

    row: AlertRow
    #: Ids of the rules' alerts that go on, and the rules of the models whose incidents do.
    going_on: set[str]
    end_ns: int
    #: By the rules of the models.
    voices: dict[str, _Voice] = field(default_factory=dict)
    #: What other detectors said, by rule, and the severity of each.
    notes: dict[str, tuple[str, str]] = field(default_factory=dict)
    #: Left open by an earlier process, and not seen again so far.
    is_resumed: bool = False

    @property
    def alert_id(self) -> str:
        return str(self.row["alert_id"])

    def whole_row(self, end_ns: int | None = None) -> AlertRow:
        """The alert's row with what other detectors said."""
        severities = [self.row["severity"], *(severity for _, severity in self.notes.values())]
        said = (self.row.get("model") or "").split(", ")
        models = dict.fromkeys(name for name in (*said, *(voice.model for voice in self.voices.values())) if name)
        return {
            **self.row,
            "severity": max(severities, key=SEVERITIES.index),
            "message": "; ".join([self.row["message"], *(text for text, _ in self.notes.values())]),
            "end_time": None if end_ns is None else time_from_ns(end_ns),
            "kind": next((voice.kind for voice in self.voices.values() if voice.kind), self.row.get("kind")),
            "model": ", ".join(models) or None,
        }


class Events:
    """The alerts of one market's rules and models, those of the same event as one. Not thread-safe.

    A model's incident of a symbol that has an alert, open or ended within ten minutes, joins it: the alert's message says so, and
    it lasts until all are over. A rule's alert joins a model's incident in the same way. Rules do not join each other.

    Args:
        clock: the present for `detected_time`, int64 ns UTC.
    """

    def __init__(self, market: Market, *, clock: Callable[[], int] = time.time_ns) -> None:
        self._market, self._clock = market, clock
        self._by_symbol: dict[str, list[_Event]] = {}
        self._of_alert: dict[str, _Event] = {}
        self._resumed_ns: int | None = None

    def resume(self, rows: Iterable[AlertRow]) -> None:
        """Continue alerts that an earlier process left open; those of models end ten minutes later unless they go on."""
        for row in rows:
            rule = row["rule"]
            if rule in _APART:
                continue
            is_model = rule in MODEL_RULES
            event = _Event(dict(row), {rule if is_model else row["alert_id"]}, ns_from_time(row["start_time"]))
            if is_model:
                event.is_resumed = True
                event.voices[rule] = _Voice(row.get("model") or "", row.get("kind") or "", row["peak"], row["peak"], 0)
            self._add(event)

    def of_rules(self, changes: Iterable[AlertChange]) -> list[AlertChange]:
        """The changes of alerts that follow from those of the rules'."""
        return [out for change in changes for out in self._of_rule(change)]

    def of_model(self, findings: Iterable[Finding], source: Source) -> list[AlertChange]:
        """The changes of alerts that follow from what a model found."""
        return [out for finding in findings for out in self._of_finding(finding, source)]

    def tick(self, now_ns: int) -> list[AlertChange]:
        """End the resumed alerts of models that did not go on within ten minutes, or whose day is over."""
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
                changes += self._left(event, event.row["rule"])
        return changes

    def _of_rule(self, change: AlertChange) -> Iterator[AlertChange]:
        row = change.row
        alert_id, at = row["alert_id"], ns_from_time(row["start_time"])
        event = self._of_alert.get(alert_id)
        if change.is_opening:
            if row["rule"] in _APART:
                yield change
                return
            event = self._joinable(row["symbol"], at, with_model=True)
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
            event.row = {**row, "kind": event.row.get("kind"), "model": event.row.get("model")}
        if change.is_closing:
            event.end_ns = max(event.end_ns, ns_from_time(row["end_time"]))
            self._of_alert.pop(alert_id)
            yield from self._left(event, alert_id)
        elif alert_id == event.alert_id:
            yield AlertChange(event.whole_row())

    def _of_finding(self, finding: Finding, source: Source) -> Iterator[AlertChange]:
        event = next((e for e in self._by_symbol.get(finding.symbol, ()) if source.rule in e.going_on), None)
        if finding.is_over:
            if event is not None:
                event.end_ns = max(event.end_ns, finding.last_ns)
                yield from self._left(event, source.rule)
            return
        if event is None:
            event = self._joinable(finding.symbol, finding.start_ns, with_model=False, until_ns=finding.last_ns)
        if event is None:
            event = _Event(self._model_row(finding, source), {source.rule}, finding.last_ns)
            event.voices[source.rule] = _Voice(
                source.model, finding.kind, finding.value, finding.value, finding.known_ns
            )
            self._add(event)
            yield AlertChange(event.whole_row(), is_opening=True)
            return
        yield from self._grown(event, finding, source)

    def _grown(self, event: _Event, finding: Finding, source: Source) -> Iterator[AlertChange]:
        """Let an incident join an event, or grow within it."""
        is_new = source.rule not in event.going_on
        event.going_on.add(source.rule)
        event.is_resumed = event.is_resumed and event.row["rule"] != source.rule
        event.end_ns = max(event.end_ns, finding.last_ns)
        voice = event.voices.setdefault(source.rule, _Voice(source.model, finding.kind, 0.0, 0.0, 0))
        is_named_anew = finding.value >= voice.peak and finding.kind != voice.kind
        is_higher = finding.value >= _GROWTH * voice.shown and finding.known_ns - voice.shown_ns >= NS_PER_MINUTE
        is_own = event.row["rule"] == source.rule
        if is_own:
            event.row["observations"] += 1
        voice.peak = max(voice.peak, finding.value)
        if not (is_new or is_named_anew or is_higher):
            return
        event.voices[source.rule] = voice = _Voice(source.model, finding.kind, voice.peak, voice.peak, finding.known_ns)
        severity, words = _severity(finding, voice.peak), _words(finding, voice.peak, source)
        if is_own:
            event.row |= {"peak": voice.peak, "severity": severity, "message": f"{finding.symbol}: {words}"}
        else:
            event.notes[source.rule] = (f"{source.rule}: {words}", severity)
        yield AlertChange(event.whole_row())

    def _left(self, event: _Event, member: str) -> Iterator[AlertChange]:
        """End an event once nothing of it goes on."""
        was_open = bool(event.going_on)
        event.going_on.discard(member)
        voice = event.voices.get(event.row["rule"])
        if voice is not None:
            event.row["peak"] = max(event.row["peak"], voice.peak)
        if was_open and not event.going_on:
            yield AlertChange(event.whole_row(event.end_ns), is_closing=True)

    def _joinable(self, symbol: str, at_ns: int, *, with_model: bool, until_ns: int | None = None) -> _Event | None:
        """The symbol's event that what begins at `at_ns` belongs to: one that goes on before one that ended.

        What lasted until `until_ns` and is known late does not belong to an event that began long after it.
        """
        events = [e for e in self._by_symbol.get(symbol, ()) if e.going_on or at_ns - e.end_ns <= TOGETHER_NS]
        self._by_symbol[symbol] = events
        latest = 2**63 if until_ns is None else until_ns + TOGETHER_NS
        fitting = [e for e in events if (e.voices or not with_model) and ns_from_time(e.row["start_time"]) <= latest]
        return min(fitting, key=lambda e: (not e.voices, not e.going_on, -e.end_ns), default=None)

    def _add(self, event: _Event) -> None:
        self._by_symbol.setdefault(event.row["symbol"], []).append(event)
        if event.row["rule"] not in MODEL_RULES:
            self._of_alert[event.alert_id] = event

    def _model_row(self, finding: Finding, source: Source) -> AlertRow:
        return {
            "alert_id": f"{self._market}:{source.rule}:{finding.symbol}:{stamp(finding.start_ns)}",
            "symbol": finding.symbol,
            "rule": source.rule,
            "severity": _severity(finding, finding.value),
            "start_time": time_from_ns(finding.start_ns),
            "known_time": time_from_ns(finding.known_ns),
            "end_time": None,
            "detected_time": time_from_ns(self._clock()),
            "value": finding.value,
            "baseline": source.limit,
            "multiple": finding.value / source.limit,
            "peak": finding.value,
            "observations": 1,
            "message": f"{finding.symbol}: {_words(finding, finding.value, source)}",
        }


def _words(finding: Finding, value: float, source: Source) -> str:
    how_rare = f"score {value:.3g}, alerts from {source.limit:.3g}" if finding.hours is None else level_in_words(value)
    return f"{finding.kind.replace('_', ' ')}, {how_rare}: {finding.words}"


def _severity(finding: Finding, value: float) -> str:
    if finding.hours is None:
        return SEVERITIES[1]
    return SEVERITIES[(value >= _WARNING_HOURS) + (value >= _CRITICAL_HOURS)]


__all__ = ["SCAN", "TOGETHER_NS", "Events"]
