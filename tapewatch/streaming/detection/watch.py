"""Watches one market's stream: events in, openings, changes and ends of alerts out."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import polars as pl

from tapewatch.feeds.stream.decode.decoder import StreamBatch
from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND, Market, Session, session_at
from tapewatch.streaming.detection.baselines import Baselines
from tapewatch.streaming.detection.rules import state
from tapewatch.streaming.detection.rules.arrays import EventArrays
from tapewatch.streaming.detection.rules.bursts import BurstRule
from tapewatch.streaming.detection.rules.correlation import CorrelationRule, bar_prices, tick_prices
from tapewatch.streaming.detection.rules.hours import (
    is_round_the_clock,
    judged_hours,
    next_start,
    usual_minutes,
)
from tapewatch.streaming.detection.rules.kernel import consume
from tapewatch.streaming.detection.rules.settings import DetectionConfig
from tapewatch.streaming.detection.rules.silence import FeedRules
from tapewatch.streaming.detection.rules.wording import RULE_NAMES, AlertRow, moment, ns_of, sentence, stamp

#: How often what follows from time alone is judged, on the tape's clock.
_STEP = 10 * NS_PER_SECOND
#: A longer step of the clock without a single event and without `tick` was nobody's silence.
_JUMP = 180 * NS_PER_SECOND
_FIRST_CAPACITY = 64
#: An open event is written again when its peak has grown by this share, once a minute at most.
_PEAK_GROWTH = 1.1
#: Past days weigh as much as so many minutes that were watched.
_AS_IF_MINUTES = 60
_CHANNEL_NAMES = ("trades", "quotes", "bars")


class LiveRowsLike(Protocol):
    """What `observe_rows` needs of the live tape's rows."""

    @property
    def minute_bars(self) -> pl.DataFrame:
        """`LIVE_BARS` of clock `1m`."""


@dataclass(frozen=True, slots=True)
class AlertChange:
    """An alert that opened, grew or ended. `row` is the whole row of `ALERTS`, times as aware datetimes in UTC."""

    row: dict[str, Any]
    is_opening: bool = False
    is_closing: bool = False


class Watch:
    """The detectors of one market. Not for use by several threads at once.

    The same events in the same order give the same alerts however they are cut into batches, as long as batches are cut by
    time: within one, trades, quotes and bars are taken in order of time.

    Args:
        market: whose hours and conditions hold.
        config: thresholds.
        baselines: what past days say is usual; None where there are none: everything is learnt while watching then.
        clock: the present for `detected_time`, int64 ns UTC.
    """

    def __init__(
        self,
        market: Market,
        config: DetectionConfig,
        baselines: Baselines | None = None,
        *,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.market = Market(market)
        self.rules = config.for_market(market)
        self._limits = self.rules.limits(usual_minutes(self.market))
        self._baselines = baselines or Baselines()
        self._wall = clock
        self.symbols: list[str] = []
        self._arrays = EventArrays(self.market, self._register)
        self._feed = FeedRules(self.rules.stale_symbol, self.rules.feed_outage, self.rules.common.warmup_minutes)
        self._bursts = BurstRule(self.rules, usual_minutes(self.market))
        company = self.rules.correlation_break
        self._company = CorrelationRule(company, company.window_minutes, int(NS_PER_MINUTE // _STEP))
        #: Of symbols that are known by their minute bars alone.
        self._bar_company = CorrelationRule(company, company.bar_window_minutes, 1)
        self._book = np.zeros(0, state.SYMBOL)
        self._incidents = np.zeros((state.RULES, 0), state.INCIDENT)
        self._profile = np.zeros((0, 0))
        self._opened = np.zeros((0, 2), np.int64)
        self._cursor = np.zeros(6, np.int64)
        self._session: Session | None = None
        self._session_until = 0
        self._hours = state.Hours(0, 0, 0, 0, 0)
        self._next_step = 0
        self._outage_channels: tuple[str, ...] = ()
        self._quiet = np.array([self.rules.rule(name).quiet_s for name in RULE_NAMES]) * NS_PER_SECOND
        self._grow(_FIRST_CAPACITY)

    @property
    def tape_ns(self) -> int:
        """The latest time that was seen on the tape, int64 ns UTC; 0 before the first event."""
        return int(self._cursor[state.CLOCK])

    def observe(self, batch: StreamBatch) -> list[AlertChange]:
        """Take a batch's trades, quotes, bars and index values; answer what opened, grew or ended."""
        return self._take(batch.trades, batch.quotes, batch.bars, batch.others.get("index_values"))

    def observe_rows(self, rows: LiveRowsLike) -> list[AlertChange]:
        """Take minute bars built elsewhere. Symbols whose trades are seen here are known better: their bars are left out."""
        bars = rows.minute_bars
        has_trades = np.flatnonzero(self._book["source"] == state.FROM_TRADES)
        known = [self.symbols[symbol] for symbol in has_trades]
        return self._take(None, None, bars.filter(~pl.col("symbol").cast(pl.String).is_in(known)), None)

    def tick(self, tape_ns: int) -> list[AlertChange]:
        """The tape's clock has come to `tape_ns` though nothing was received: silence counts. Time never runs backwards.

        Call it only while the connection stands: a silence of our own making is a gap, no outage of the feed.
        """
        changes: list[AlertChange] = []
        if self.tape_ns == 0 or tape_ns <= self.tape_ns:
            return changes
        while self.tape_ns < tape_ns:
            until = min(tape_ns, self._next_step, self._session_until)
            self._cursor[state.CLOCK] = until
            changes += self._pass_time(until)
        return changes

    def resume(self, rows: Iterable[dict[str, Any]]) -> None:
        """Take up alerts that were open when a watch before this one stopped (`AlertBook.open_alerts`).

        They go on as the same events, and end by the same rules; a rule of a symbol that is open is not opened again. Call it
        before the first event.
        """
        for row in rows:
            if row["rule"] not in RULE_NAMES:
                continue
            rule = RULE_NAMES.index(row["rule"])
            symbol = 0 if rule == state.OUTAGE else self._arrays.number_of(row["symbol"])
            event = self._incidents[rule, symbol]
            start = ns_of(row["start_time"])
            for name in ("value", "baseline", "peak", "observations"):
                event[name] = row[name]
            event["is_open"], event["start"], event["last"], event["detected"] = (
                1,
                start,
                start,
                ns_of(row["detected_time"]),
            )
            event["limit"] = self.rules.common.close_share * abs(row["value"])
            event["shown_peak"] = row["peak"]

    def _take(
        self,
        trades: pl.DataFrame | None,
        quotes: pl.DataFrame | None,
        bars: pl.DataFrame | None,
        values: pl.DataFrame | None,
    ) -> list[AlertChange]:
        events, first = self._arrays.events(trades, quotes, bars, values)
        changes: list[AlertChange] = []
        if first is None:
            return changes
        if self.tape_ns == 0:
            self._enter(first)
            self._cursor[state.CLOCK] = first
        self._cursor[state.NEXT_TRADE : state.NEXT_BAR + 1] = 0
        while True:
            room = state.Room(self._incidents, self._profile, self._hours, self._limits, self._cursor, self._opened)
            self._cursor[state.UNTIL] = min(self._next_step, self._session_until)
            waiting = int(consume(events, self._book, self._feed.heard, room))
            changes += self._openings()
            if waiting < 0:
                return changes
            changes += self._advance_to(waiting)

    def _advance_to(self, waiting: int) -> list[AlertChange]:
        """Let time pass up to the step before the next event; a long leap is nobody's silence."""
        gap = waiting - self.tape_ns
        if gap > _JUMP:
            self._feed.skip(gap)
            self._company.forget_prices()
            self._bursts.forget_prices()
            self._next_step = max(self._next_step, waiting // _STEP * _STEP)
        until = min(self._next_step, self._session_until)
        return self._pass_time(until)

    def _pass_time(self, now: int) -> list[AlertChange]:
        changes: list[AlertChange] = self._enter(now) if now >= self._session_until else []
        if now >= self._next_step:
            self._next_step = now // _STEP * _STEP + _STEP
            if self._hours.start <= now < self._hours.end:
                changes += self._judge_time(now)
            elif self._incidents["is_open"].any():
                changes += list(self._end_all(min(now, max(self._hours.end, 0)) or now))
        return changes

    def _judge_time(self, now: int) -> list[AlertChange]:
        self._feed.observe(now)
        self._company.observe(*tick_prices(self._book, now))
        self._bursts.observe(self._book, now)
        second = now % NS_PER_MINUTE
        if second < _STEP:
            self._feed.end_minute(now)
            self._judge_company(self._company, now)
            self._judge_bursts(now)
        if NS_PER_MINUTE // 2 <= second < NS_PER_MINUTE // 2 + _STEP:
            # By now the minute's bars are there.
            self._bar_company.observe(*bar_prices(self._book, now))
            self._judge_company(self._bar_company, now)
        self._judge_silence(now, is_minute=second < _STEP)
        return [*self._openings(), *self._ends(now)]

    def _judge_silence(self, now: int, *, is_minute: bool) -> None:
        event = self._incidents[state.OUTAGE, 0]
        if is_minute or not event["is_open"]:
            outage = self._feed.judge_outage(now)
            if outage is not None and not event["is_open"]:
                self._outage_channels = tuple(_CHANNEL_NAMES[channel] for channel in outage.channels)
            if outage is not None:
                self._note(state.OUTAGE, 0, outage.since, outage.heard, outage.usual, now, min)
        for symbol, channel, silence, usual in self._feed.silent_symbols():
            since = int(self._feed.heard[channel, symbol])
            self._note(state.STALE, symbol, since, silence, usual, now, max)

    def _judge_company(self, company: CorrelationRule, now: int) -> None:
        company.end_minute()
        if not company.settings.is_on:
            return
        recent, usual, score = company.judge()
        since = now - company.window_minutes * NS_PER_MINUTE
        for symbol in np.flatnonzero(company.broken(recent, usual, score)).tolist():
            self._note(state.CORRELATION, symbol, since, recent[symbol], usual[symbol], now, min)

    def _judge_bursts(self, now: int) -> None:
        self._bursts.end_minute()
        if not self._bursts.is_on:
            return
        value, usual, threshold = self._bursts.judge(self._book)
        # The others are judged by their ranges.
        self._book["is_sampled"] = np.isfinite(value)
        lasting = self.rules.common.close_share * threshold
        for symbol in np.flatnonzero(value >= lasting).tolist():
            event = self._incidents[state.VOLATILITY, symbol]
            if value[symbol] >= (event["limit"] if event["is_open"] else threshold[symbol]):
                self._note(state.VOLATILITY, symbol, now, value[symbol], usual[symbol], now, max, lasting[symbol])

    def _note(
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
        """Open an event, or let the open one last; `worse` tells its peak."""
        event = self._incidents[rule, symbol]
        if event["is_open"]:
            event["last"], event["peak"] = now, worse(value, event["peak"])
            event["observations"] += 1
            return
        for name, content in (("is_open", 1), ("start", start), ("last", now), ("observations", 1), ("value", value)):
            event[name] = content
        event["baseline"], event["peak"], event["limit"] = baseline, value, limit
        self._opened[self._cursor[state.OPENED]] = rule, symbol
        self._cursor[state.OPENED] += 1

    def _openings(self) -> list[AlertChange]:
        count = int(self._cursor[state.OPENED])
        self._cursor[state.OPENED] = 0
        changes = []
        for rule, symbol in self._opened[:count].tolist():
            event = self._incidents[rule, symbol]
            event["shown"], event["shown_peak"], event["detected"] = self.tape_ns, event["peak"], self._wall()
            changes.append(AlertChange(self._row(rule, symbol), is_opening=True))
        return changes

    def _ends(self, now: int) -> Iterator[AlertChange]:
        incidents = self._incidents
        for rule, symbol in np.argwhere(incidents["is_open"] == 1).tolist():
            event = incidents[rule, symbol]
            is_over = now - event["last"] > self._quiet[rule]
            if rule == state.STALE:
                is_over = is_over and self._feed.is_heard(symbol)
            elif rule == state.OUTAGE:
                is_over = is_over and not self._feed.is_out
            if is_over:
                yield self._end(rule, symbol, int(event["last"]))
            elif (
                abs(event["peak"]) >= _PEAK_GROWTH * abs(event["shown_peak"])
                and event["peak"] != event["shown_peak"]
                and now - event["shown"] >= NS_PER_MINUTE
            ):
                event["shown"], event["shown_peak"] = now, event["peak"]
                yield AlertChange(self._row(rule, symbol))

    def _end(self, rule: int, symbol: int, end: int) -> AlertChange:
        row = self._row(rule, symbol, max(end, int(self._incidents[rule, symbol]["start"])))
        self._incidents[rule, symbol]["is_open"] = 0
        return AlertChange(row, is_closing=True)

    def _end_all(self, end: int) -> Iterator[AlertChange]:
        for rule, symbol in np.argwhere(self._incidents["is_open"] == 1).tolist():
            yield self._end(rule, symbol, max(end, int(self._incidents[rule, symbol]["last"])))

    def _row(self, rule: int, symbol: int, end: int | None = None) -> AlertRow:
        name = RULE_NAMES[rule]
        event = self._incidents[rule, symbol]
        subject = "" if rule == state.OUTAGE else self.symbols[symbol]
        baseline, value = float(event["baseline"]), float(event["value"])
        row: AlertRow = {
            "alert_id": f"{self.market}:{name}:{subject}:{stamp(int(event['start']))}",
            "symbol": subject,
            "rule": name,
            "severity": self.rules.rule(name).severity,
            "start_time": moment(int(event["start"])),
            "end_time": None if end is None else moment(end),
            "detected_time": moment(int(event["detected"])),
            "value": value,
            "baseline": baseline,
            "multiple": value / baseline if baseline else None,
            "peak": float(event["peak"]),
            "observations": max(1, int(event["observations"])),
        }
        row["message"] = sentence(row, ", ".join(self._outage_channels))
        return row

    def _enter(self, now: int) -> list[AlertChange]:
        """Begin the session that `now` belongs to, or the pause up to the next. Nothing but usual sizes crosses a pause."""
        changes: list[AlertChange] = []
        before, session = self._session, session_at(self.market, now)
        if before is None and session is not None:
            changes += self._outlive(session, now)
        elif session is None or before is None or before.regular_end < session.regular_start:
            changes += self._end_all(min(now, self._hours.end))
            self._feed.start_session()
            self._bursts.start_session()
            self._company.forget_prices()
            self._bar_company.forget_prices()
            kept = {name: self._book[name].copy() for name in state.LASTING}
            self._book[:] = 0
            for name, values in kept.items():
                self._book[name] = values
        self._session = session
        self._hours = judged_hours(self.market, session, self.rules.common)
        self._session_until = next_start(self.market, now) if session is None else session.day_end
        self._next_step = (now + _STEP - 1) // _STEP * _STEP
        return changes

    def _outlive(self, session: Session, now: int) -> Iterator[AlertChange]:
        """Resumed events of this session go on from now; those of an earlier one ended with it."""
        for rule, symbol in np.argwhere(self._incidents["is_open"] == 1).tolist():
            event = self._incidents[rule, symbol]
            if event["start"] < session.day_start and not is_round_the_clock(self.market):
                yield self._end(rule, symbol, int(event["last"]))
            # Whether a silence goes on can only be told once enough was heard again.
            pause = self.rules.common.warmup_minutes * NS_PER_MINUTE if rule in (state.STALE, state.OUTAGE) else 0
            event["last"] = max(int(event["last"]), now + pause)

    def _register(self, name: str) -> int:
        symbol = len(self.symbols)
        if symbol == self._book.size:
            self._grow(2 * symbol)
        self.symbols.append(name)
        self._company.join(symbol, name)
        self._bar_company.join(symbol, name)
        past = self._baselines
        if name in past.volume:
            minutes = past.volume[name].size
            if minutes > self._profile.shape[1]:
                self._profile = np.pad(self._profile, ((0, 0), (0, minutes - self._profile.shape[1])))
            self._profile[symbol, :minutes] = past.volume[name]
        record = self._book[symbol]
        sizes = (("usual_move", "moves", past.move_bps), ("usual_range", "ranges_seen", past.range_bps))
        for usual, count, known in sizes:
            if name in known:
                record[usual], record[count] = known[name], _AS_IF_MINUTES
        a_day = 1.25 * np.sqrt(usual_minutes(self.market))
        record["day_move"] = past.move_bps.get(name, self.rules.common.usual_day_bps / a_day)
        return symbol

    def _grow(self, capacity: int) -> None:
        more = capacity - self._book.size
        self._book = np.concatenate([self._book, np.zeros(more, state.SYMBOL)])
        self._incidents = np.concatenate([self._incidents, np.zeros((state.RULES, more), state.INCIDENT)], axis=1)
        self._profile = np.pad(self._profile, ((0, more), (0, 0)))
        self._opened = np.zeros((state.RULES * capacity, 2), np.int64)
        self._feed.grow(capacity)
        self._bursts.grow(capacity)
        self._company.grow(capacity)
        self._bar_company.grow(capacity)
