"""The detectors of one market: market events in; alerts that open, change and end out."""

import time
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from tapewatch.feeds.stream.decode.decoder import StreamBatch
from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND, Market, Session, session_at
from tapewatch.streaming.detection.baselines import Baselines
from tapewatch.streaming.detection.open_alerts import AlertChange, OpenAlerts
from tapewatch.streaming.detection.rules import state
from tapewatch.streaming.detection.rules.arrays import EventArrays
from tapewatch.streaming.detection.rules.bursts import BurstRule
from tapewatch.streaming.detection.rules.correlation import CorrelationRule, bar_prices, tick_prices
from tapewatch.streaming.detection.rules.hours import (
    day_per_minute,
    is_round_the_clock,
    judged_hours,
    next_start,
    usual_minutes,
)
from tapewatch.streaming.detection.rules.kernel import consume
from tapewatch.streaming.detection.rules.settings import DetectionConfig
from tapewatch.streaming.detection.rules.silence import SilenceRules
from tapewatch.streaming.detection.rules.wording import RULE_NAMES, AlertRow

__all__ = ["AlertChange", "Watch"]

#: Step of the tape's clock at which the rules on time are judged.
_STEP = 10 * NS_PER_SECOND
#: A longer jump of the clock without an event and without `tick` does not count as silence.
_JUMP = 180 * NS_PER_SECOND
_FIRST_CAPACITY = 64
#: The weight of past days in the usual sizes, in minutes.
_AS_IF_MINUTES = 60
_CHANNEL_NAMES = ("trades", "quotes", "bars")


class Watch:
    """The detectors of one market. Not thread-safe.

    The same events give the same alerts however they are cut into batches by time. Within a batch, trades, quotes and bars are
    processed in order of time.

    Args:
        baselines: usual sizes from past days; without them the usual sizes come from the stream alone.
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
        self.symbols: list[str] = []
        self._arrays = EventArrays(self.market, self._register)
        self._alerts = OpenAlerts(self.market, self.rules, self.symbols, clock)
        self._silence = SilenceRules(self.rules.stale_symbol, self.rules.feed_outage, self.rules.common.warmup_minutes)
        self._bursts = BurstRule(self.rules, usual_minutes(self.market))
        correlation = self.rules.correlation_break
        self._correlation = CorrelationRule(correlation, correlation.window_minutes, int(NS_PER_MINUTE // _STEP))
        #: For symbols that have minute bars only.
        self._bar_correlation = CorrelationRule(correlation, correlation.bar_window_minutes, 1)
        self._book = np.zeros(0, state.SYMBOL)
        self._profile = np.zeros((0, 0))
        self._cursor = np.zeros(5, np.int64)
        self._session: Session | None = None
        self._session_until = 0
        self._hours = judged_hours(self.market, None, self.rules.common)
        self._next_step = 0
        self._grow(_FIRST_CAPACITY)

    @property
    def tape_ns(self) -> int:
        """The latest time on the tape, int64 ns UTC; 0 before the first event."""
        return int(self._cursor[state.CLOCK])

    def observe(self, batch: StreamBatch) -> list[AlertChange]:
        """Process a batch's trades, quotes, bars and index values; returns the alerts that opened, grew or ended."""
        values = batch.others.get("index_values")
        events, first = self._arrays.events(batch.trades, batch.quotes, batch.bars, values)
        changes: list[AlertChange] = []
        if first is None:
            return changes
        if self.tape_ns == 0:
            self._enter_session(first)
            self._cursor[state.CLOCK] = first
        self._cursor[state.NEXT_TRADE : state.NEXT_BAR + 1] = 0
        while True:
            context = state.Context(self._alerts.states, self._profile, self._hours, self._limits, self._cursor)
            self._cursor[state.UNTIL] = min(self._next_step, self._session_until)
            waiting = int(consume(events, self._book, self._silence.last_seen, context))
            changes += self._alerts.take_opened(self.tape_ns)
            if waiting < 0:
                return changes
            changes += self._advance_to(waiting)

    def tick(self, tape_ns: int) -> list[AlertChange]:
        """Advance the tape's clock to `tape_ns` without an event, so that the time counts as silence; never backwards.

        Call it only while connected: a lost connection is a gap, not an outage of the feed.
        """
        changes: list[AlertChange] = []
        if self.tape_ns == 0 or tape_ns <= self.tape_ns:
            return changes
        while self.tape_ns < tape_ns:
            until = min(tape_ns, self._next_step, self._session_until)
            self._cursor[state.CLOCK] = until
            changes += self._pass_time(until)
        return changes

    def resume(self, rows: Iterable[AlertRow]) -> None:
        """Continue alerts that an earlier process left open (`AlertBook.open_alerts`). Call it before the first event.

        They keep their ids and end by the same rules. A rule whose alert is open for a symbol does not open another.
        """
        for row in rows:
            if row["rule"] in RULE_NAMES:
                is_outage = row["rule"] == RULE_NAMES[state.OUTAGE]
                self._alerts.resume(0 if is_outage else self._arrays.number_of(row["symbol"]), row)

    def _advance_to(self, waiting: int) -> list[AlertChange]:
        """Advance the clock by one step towards the next event; a long jump does not count as silence."""
        gap = waiting - self.tape_ns
        if gap > _JUMP:
            self._silence.skip(gap)
            self._correlation.forget_prices()
            self._bursts.forget_prices()
            self._next_step = max(self._next_step, waiting // _STEP * _STEP)
        until = min(self._next_step, self._session_until)
        return self._pass_time(until)

    def _pass_time(self, now: int) -> list[AlertChange]:
        changes: list[AlertChange] = self._enter_session(now) if now >= self._session_until else []
        if now >= self._next_step:
            self._next_step = now // _STEP * _STEP + _STEP
            if self._hours.start <= now < self._hours.end:
                changes += self._judge_time(now)
            else:
                changes += self._alerts.end_all(min(now, max(self._hours.end, 0)) or now)
        return changes

    def _judge_time(self, now: int) -> list[AlertChange]:
        self._silence.observe(now)
        self._correlation.observe(*tick_prices(self._book, now))
        self._bursts.observe(self._book, now)
        second = now % NS_PER_MINUTE
        if second < _STEP:
            self._silence.end_minute(now)
            self._judge_correlation(self._correlation, now)
            self._judge_bursts(now)
        if NS_PER_MINUTE // 2 <= second < NS_PER_MINUTE // 2 + _STEP:
            # The bars of the last minute have arrived by the half minute.
            self._bar_correlation.observe(*bar_prices(self._book, now))
            self._judge_correlation(self._bar_correlation, now)
        self._judge_silence(now, is_minute=second < _STEP)
        opened = self._alerts.take_opened(self.tape_ns)
        return [*opened, *self._alerts.end_quiet(now, self._may_end)]

    def _may_end(self, rule: int, symbol: int) -> bool:
        if rule == state.STALE:
            return self._silence.has_resumed(symbol)
        return rule != state.OUTAGE or not self._silence.is_out

    def _judge_silence(self, now: int, *, is_minute: bool) -> None:
        is_open = self._alerts.is_open(state.OUTAGE, 0)
        if is_minute or not is_open:
            outage = self._silence.judge_outage(now)
            if outage is not None and not is_open:
                self._alerts.outage_channels = tuple(_CHANNEL_NAMES[channel] for channel in outage.channels)
            if outage is not None:
                self._alerts.note(state.OUTAGE, 0, outage.since, outage.received, outage.usual, now, min)
        for symbol, channel, silence, usual in self._silence.silent_symbols():
            since = int(self._silence.last_seen[channel, symbol])
            self._alerts.note(state.STALE, symbol, since, silence, usual, now, max)

    def _judge_correlation(self, rule: CorrelationRule, now: int) -> None:
        rule.end_minute()
        if not rule.settings.is_on:
            return
        recent, usual, score = rule.judge()
        since = now - rule.window_minutes * NS_PER_MINUTE
        for symbol in np.flatnonzero(rule.broken(recent, usual, score)).tolist():
            self._alerts.note(state.CORRELATION, symbol, since, recent[symbol], usual[symbol], now, min)

    def _judge_bursts(self, now: int) -> None:
        self._bursts.end_minute()
        if not self._bursts.is_on:
            return
        value, usual, threshold = self._bursts.judge(self._book)
        # The compiled pass judges the other symbols by their ranges.
        self._book["is_sampled"] = np.isfinite(value)
        lasting = self.rules.common.close_share * threshold
        for symbol in np.flatnonzero(value >= lasting).tolist():
            alert = self._alerts.states.table[state.VOLATILITY, symbol]
            if value[symbol] >= (alert["limit"] if alert["is_open"] else threshold[symbol]):
                self._alerts.note(
                    state.VOLATILITY, symbol, now, value[symbol], usual[symbol], now, max, lasting[symbol]
                )

    def _enter_session(self, now: int) -> list[AlertChange]:
        """Start the session that includes `now`, or the pause before the next. Only usual sizes are kept over a pause."""
        changes: list[AlertChange] = []
        before, session = self._session, session_at(self.market, now)
        if before is None and session is not None:
            changes += self._continue_resumed(session, now)
        elif session is None or before is None or before.regular_end < session.regular_start:
            changes += self._alerts.end_all(min(now, self._hours.end))
            self._silence.start_session()
            self._bursts.start_session()
            self._correlation.forget_prices()
            self._bar_correlation.forget_prices()
            kept = {name: self._book[name].copy() for name in state.LASTING}
            self._book[:] = 0
            for name, values in kept.items():
                self._book[name] = values
        self._session = session
        self._hours = judged_hours(self.market, session, self.rules.common)
        self._session_until = next_start(self.market, now) if session is None else session.day_end
        self._next_step = (now + _STEP - 1) // _STEP * _STEP
        return changes

    def _continue_resumed(self, session: Session, now: int) -> Iterator[AlertChange]:
        """Continue the resumed alerts of this session; end those of an earlier session."""
        for rule, symbol in self._alerts.open_pairs():
            alert = self._alerts.states.table[rule, symbol]
            if alert["start"] < session.day_start and not is_round_the_clock(self.market):
                yield self._alerts.end(rule, symbol, int(alert["last"]))
            # Whether a silence continues is known only after enough data.
            pause = self.rules.common.warmup_minutes * NS_PER_MINUTE if rule in (state.STALE, state.OUTAGE) else 0
            alert["last"] = max(int(alert["last"]), now + pause)

    def _register(self, name: str) -> int:
        symbol = len(self.symbols)
        if symbol == self._book.size:
            self._grow(2 * symbol)
        self.symbols.append(name)
        self._correlation.join(symbol, name)
        self._bar_correlation.join(symbol, name)
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
        usual_move = self.rules.common.usual_day_bps / day_per_minute(usual_minutes(self.market))
        record["day_move"] = past.move_bps.get(name, usual_move)
        return symbol

    def _grow(self, capacity: int) -> None:
        more = capacity - self._book.size
        self._book = np.concatenate([self._book, np.zeros(more, state.SYMBOL)])
        self._profile = np.pad(self._profile, ((0, more), (0, 0)))
        for part in (self._alerts, self._silence, self._bursts, self._correlation, self._bar_correlation):
            part.grow(capacity)
