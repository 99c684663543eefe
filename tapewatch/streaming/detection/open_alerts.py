"""The open alerts of one market: opens, continues and ends them, and makes their rows."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND, Market
from tapewatch.streaming.detection.rules import state
from tapewatch.streaming.detection.rules.opening import continue_alert, open_alert
from tapewatch.streaming.detection.rules.settings import MarketRules
from tapewatch.streaming.detection.rules.wording import (
    RULE_NAMES,
    AlertRow,
    ns_from_time,
    sentence,
    stamp,
    time_from_ns,
)

#: An open alert is written again when its peak has grown by this factor, at most once a minute.
_PEAK_GROWTH = 1.1


@dataclass(frozen=True, slots=True)
class AlertChange:
    """An alert that opened, grew or ended. `row` is the whole row of `ALERTS`, times as aware datetimes in UTC."""

    row: AlertRow
    is_opening: bool = False
    is_closing: bool = False


class OpenAlerts:
    """Alerts by rule and symbol, at most one open for each.

    `symbols` are names by the symbols' numbers; the caller appends to them.
    """

    def __init__(self, market: Market, rules: MarketRules, symbols: list[str], clock: Callable[[], int]) -> None:
        self._market, self._rules, self._symbols, self._clock = market, rules, symbols, clock
        self._quiet = np.array([rules.rule(name).quiet_s for name in RULE_NAMES]) * NS_PER_SECOND
        empty = np.zeros((state.RULES, 0), state.ALERT)
        self.states = state.AlertStates(empty, np.zeros((1, 2), np.int64))
        #: Names of the channels in the latest feed outage.
        self.outage_channels: tuple[str, ...] = ()
        self._messages: dict[tuple[int, int], str] = {}

    def grow(self, capacity: int) -> None:
        more = np.zeros((state.RULES, capacity - self.states.table.shape[1]), state.ALERT)
        table = np.concatenate([self.states.table, more], axis=1)
        opened = np.zeros((1 + state.RULES * capacity, 2), np.int64)
        opened[: len(self.states.opened)] = self.states.opened
        self.states = state.AlertStates(table, opened)

    def is_open(self, rule: int, symbol: int) -> bool:
        return bool(self.states.table[rule, symbol]["is_open"])

    def open_pairs(self) -> list[tuple[int, int]]:
        """Rule and symbol of every open alert."""
        return [(rule, symbol) for rule, symbol in np.argwhere(self.states.table["is_open"] == 1).tolist()]

    def note(
        self,
        rule: int,
        symbol: int,
        start: int,
        value: float,
        baseline: float,
        now: int,
        worse: Callable[[float, float], float],
        limit: float = 0.0,
    ) -> None:
        """Open an alert, or continue the open one; `worse` picks the peak (`min` or `max`)."""
        alert = self.states.table[rule, symbol]
        if alert["is_open"]:
            continue_alert(alert, now, worse(value, alert["peak"]))
        else:
            open_alert(self.states, rule, symbol, start, now, value, baseline, limit)

    def resume(self, symbol: int, row: AlertRow) -> None:
        """Continue an alert that an earlier process left open; `row` is its row of `ALERTS`."""
        rule, start = RULE_NAMES.index(row["rule"]), ns_from_time(row["start_time"])
        limit = self._rules.common.close_share * abs(row["value"])
        open_alert(self.states, rule, symbol, start, start, row["value"], row["baseline"], limit)
        # It was reported when it opened.
        self.states.opened[0, 0] -= 1
        alert = self.states.table[rule, symbol]
        alert["known"] = ns_from_time(row.get("known_time") or row["detected_time"])
        alert["peak"] = alert["shown_peak"] = row["peak"]
        alert["observations"], alert["detected"] = row["observations"], ns_from_time(row["detected_time"])
        self._messages[rule, symbol] = row["message"]

    def take_opened(self, now: int) -> list[AlertChange]:
        """The alerts that opened since the last call."""
        count = int(self.states.opened[0, 0])
        changes: list[AlertChange] = []
        if not count:
            return changes
        self.states.opened[0, 0] = 0
        for rule, symbol in self.states.opened[1 : count + 1].tolist():
            alert = self.states.table[rule, symbol]
            alert["shown"], alert["shown_peak"], alert["detected"] = now, alert["peak"], self._clock()
            row = self._row(rule, symbol)
            self._messages[rule, symbol] = row["message"] = sentence(row, ", ".join(self.outage_channels))
            changes.append(AlertChange(row, is_opening=True))
        return changes

    def end_quiet(self, now: int, may_end: Callable[[int, int], bool]) -> Iterator[AlertChange]:
        """End the alerts that were quiet for long enough where `may_end(rule, symbol)` agrees; report peaks that grew."""
        for rule, symbol in self.open_pairs():
            alert = self.states.table[rule, symbol]
            peak, shown = abs(alert["peak"]), abs(alert["shown_peak"])
            if now - alert["last"] > self._quiet[rule] and may_end(rule, symbol):
                yield self.end(rule, symbol, int(alert["last"]))
            elif (
                peak >= _PEAK_GROWTH * shown
                and alert["peak"] != alert["shown_peak"]
                and now - alert["shown"] >= NS_PER_MINUTE
            ):
                alert["shown"], alert["shown_peak"] = now, alert["peak"]
                yield AlertChange(self._row(rule, symbol))

    def end(self, rule: int, symbol: int, end: int) -> AlertChange:
        """End an open alert, not before its start."""
        row = self._row(rule, symbol, max(end, int(self.states.table[rule, symbol]["start"])))
        self.states.table[rule, symbol]["is_open"] = 0
        return AlertChange(row, is_closing=True)

    def end_all(self, end: int) -> list[AlertChange]:
        """End every open alert, each at `end` or later if its rule fired later."""
        table = self.states.table
        return [
            self.end(rule, symbol, max(end, int(table[rule, symbol]["last"]))) for rule, symbol in self.open_pairs()
        ]

    def _row(self, rule: int, symbol: int, end: int | None = None) -> AlertRow:
        name = RULE_NAMES[rule]
        alert = self.states.table[rule, symbol]
        subject = "" if rule == state.OUTAGE else self._symbols[symbol]
        start, baseline, value = int(alert["start"]), float(alert["baseline"]), float(alert["value"])
        return {
            "alert_id": f"{self._market}:{name}:{subject}:{stamp(start)}",
            "symbol": subject,
            "rule": name,
            "severity": self._rules.rule(name).severity,
            "start_time": time_from_ns(start),
            "known_time": time_from_ns(int(alert["known"])),
            "end_time": None if end is None else time_from_ns(end),
            "detected_time": time_from_ns(int(alert["detected"])),
            "value": value,
            "baseline": baseline,
            "multiple": value / baseline if baseline else None,
            "peak": float(alert["peak"]),
            "observations": max(1, int(alert["observations"])),
            "message": self._messages.get((rule, symbol), ""),
        }
