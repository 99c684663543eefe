"""The way of a frame through a collector: decode, detect, hand on. One thread, and nothing in it waits for a disk."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl

from tapewatch.feeds.stream.channels import Reply
from tapewatch.feeds.stream.decode.decoder import Frame, FrameDecoder, StreamBatch
from tapewatch.feeds.stream.queue import Marker
from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND, Market
from tapewatch.market.live_tables import LIVE_BARS
from tapewatch.streaming.alerts.book import AlertBook
from tapewatch.streaming.collector.builder import Builder
from tapewatch.streaming.collector.gathering import joined
from tapewatch.streaming.collector.keeper import Keeper
from tapewatch.streaming.collector.live_database import RowWriter
from tapewatch.streaming.collector.metrics import Latencies
from tapewatch.streaming.detection.disorder import Disorder
from tapewatch.streaming.detection.watch import AlertChange, Watch
from tapewatch.streaming.gaps.book import partition_of
from tapewatch.streaming.gaps.interruptions import Interruptions
from tapewatch.streaming.live.clock import TapeClock, Times
from tapewatch.streaming.live.tape import HORIZON_MINUTES
from tapewatch.streaming.live.vendor_bars import VendorBars, end_times

_log = logging.getLogger(__name__)
#: What the stream's client gives as the cause where it was told to stop.
_STOPPED = "stopped"
#: Channels whose events make bars; where none of them is streamed the vendor's bars are the live bars.
_TRADE_CHANNELS = frozenset({"T", "XT"})
#: Rows that come before the tape's clock knows the day; more are left to the lake.
_MOST_EARLY = 10_000
#: Ticks wait so long for others before live rows are built of them: a handful costs as much as hundreds do.
_GATHER_S = 0.05
_GATHERED_TICKS = 5_000
#: What was said about unknown events is not said again for each of them.
_LOGGED_KINDS = 100


@dataclass
class Counts:
    """What went through since the start."""

    events: int = 0
    malformed_frames: int = 0
    unknown_events: Counter[str] = field(default_factory=Counter)
    unknown_fields: Counter[str] = field(default_factory=Counter)
    last_received_ns: int = 0
    alerts: int = 0


class Pipeline:
    """One market's worker. Not for use by several threads at once.

    Args:
        market: the market.
        subscriptions: what the stream was asked for.
        clock, interruptions: of this market, used by the pipeline alone.
        watch: the detectors.
        alerts, builder, rows, keeper: take alerts, ticks to build from, live rows, and what is to be kept.
        latencies: of alerts, from the arrival of their frames.
        steady: seconds of a clock that never jumps.
    """

    def __init__(
        self,
        market: Market,
        subscriptions: Sequence[str],
        *,
        clock: TapeClock,
        builder: Builder,
        interruptions: Interruptions,
        watch: Watch,
        alerts: AlertBook,
        latencies: Latencies,
        rows: RowWriter,
        keeper: Keeper,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self.market = market
        self.counts = Counts()
        self.is_connected = False
        self.clock, self.interruptions = clock, interruptions
        self._subscriptions = tuple(subscriptions)
        self._watch, self._alerts = watch, alerts
        self._builder, self._rows, self._keeper = builder, rows, keeper
        self._latencies = latencies
        self.open_alerts: set[str] = set()
        self._steady = steady
        self._decoder = FrameDecoder(market)
        self._disorder = Disorder()
        channels = {name.partition(".")[0] for name in subscriptions}
        self._vendor_bars = None if channels & _TRADE_CHANNELS else VendorBars(HORIZON_MINUTES * NS_PER_MINUTE)
        self._early: list[StreamBatch] = []
        self._gathered: list[StreamBatch] = []
        self._gathered_ticks, self._gathered_since = 0, 0.0
        self._has_begun = False
        self._advanced_second = 0

    def handle(self, items: Sequence[Frame | Marker]) -> None:
        """Take frames and markers in order."""
        frames: list[Frame] = []
        for item in items:
            if isinstance(item, Frame):
                frames.append(item)
                continue
            self._handle_frames(frames)
            frames = []
            self._handle_marker(item)
        self._handle_frames(frames)
        self.pass_time()

    def pass_time(self) -> None:
        """Let the tape's clock do what it does without events: bars that are complete, feeds that are silent, gaps that end."""
        self.interruptions.tick()
        self._hand_on(
            is_due=self._gathered_ticks > _GATHERED_TICKS or self._steady() - self._gathered_since >= _GATHER_S
        )
        now = self.clock.now()
        mark = self.clock.watermark()
        if now is None or mark is None or mark // NS_PER_SECOND <= self._advanced_second:
            return
        self._advanced_second = mark // NS_PER_SECOND
        self._give_early(now)
        self._hand_on()
        self._builder.advance(mark)
        if self.is_connected:
            self._record(self._watch.tick(now))

    def finish(self, *, is_session_over: bool) -> None:
        """Give out what there is of the days under way; a session that is over is not resumed."""
        now = self.clock.now()
        if now is None:
            return
        self._give_early(now)
        self._hand_on()
        # Nothing more comes: the newest event is as far as the tape went.
        self._builder.finish(max(now, self.clock.newest_ns or now))
        if is_session_over:
            self.interruptions.session_ended()

    def _handle_frames(self, frames: Sequence[Frame]) -> None:
        if not frames:
            return
        batch = self._decoder.decode(frames)
        times = event_times(batch)
        before_ns = self.clock.newest_ns
        if before_ns is None and times.size:
            # Of the first batch of all nothing came before: what it lacks may lie before its first event.
            before_ns = int(times.min()) - NS_PER_MINUTE
        self.clock.observe(times)
        falls = self._disorder.count(batch)
        present = without_future(batch, self.clock.newest_ns) if falls else batch
        self._record(self._watch.observe(present), batch.first_received_ns)
        self._note(batch)
        self.interruptions.saw(times)
        self._keep(batch, before_ns if batch.malformed_frames or falls else self.clock.newest_ns)
        if batch.malformed_frames:
            # Where among the batch's frames they were is not known: the gap spans all of them and ends with the next.
            reason = f"{len(batch.malformed_frames)} frame(s) are no JSON of events"
            self.interruptions.interrupted("malformed", reason, newest_ns=before_ns)
        if falls:
            reason = f"the time falls back by over half a minute {falls} time(s): some clock is wrong"
            self.interruptions.interrupted("clock_skew", reason, newest_ns=before_ns)
        self._build(present)

    def _keep(self, batch: StreamBatch, tape_ns: int | None) -> None:
        """Keep a batch, and how far the tape is on disk with it: never beyond what the book of gaps does not tell of yet.

        A process that is killed before its beginning is judged so leaves the judgement to the next.
        """
        self._keeper.keep(batch, tape_ns if self.interruptions.has_begun else None)

    def _record(self, changes: Sequence[AlertChange], received_ns: int | None = None) -> None:
        """Commit what opened, grew or ended; a database that is away is waited for elsewhere."""
        if not changes:
            return
        is_committed = self._alerts.record(self.market, changes)
        if is_committed and received_ns is not None:
            self._latencies.add((time.time_ns() - received_ns) / NS_PER_SECOND)
        for change in changes:
            if change.is_closing:
                self.open_alerts.discard(change.row["alert_id"])
            else:
                self.open_alerts.add(change.row["alert_id"])
            self.counts.alerts += change.is_opening

    def _handle_marker(self, marker: Marker) -> None:
        match marker.kind:
            case "connected":
                self.is_connected = True
                _log.info("connected to %s, asking for %d channel(s)", marker.detail, len(self._subscriptions))
                self.interruptions.connected(self._subscriptions)
            case "disconnected":
                was_connected, self.is_connected = self.is_connected, False
                if marker.detail == _STOPPED:
                    if was_connected:
                        self.interruptions.stopped()
                else:
                    _log.warning("disconnected: %s", marker.detail)
                    self.interruptions.interrupted("disconnect", marker.detail)
            case "dropped":
                _log.error("%d frame(s) dropped: %s", marker.count, marker.detail)
                self.interruptions.interrupted("dropped", f"{marker.count:,} frames: {marker.detail}")
            case "refused":
                _log.warning("the server refuses: %s", marker.detail)

    def _note(self, batch: StreamBatch) -> None:
        counts = self.counts
        counts.events += batch.events
        counts.last_received_ns = batch.last_received_ns
        for status in batch.statuses:
            self.interruptions.granted(Reply("status", status.status, status.message).subscribed)
        if batch.malformed_frames:
            counts.malformed_frames += len(batch.malformed_frames)
            _log.warning("%d malformed frame(s)", len(batch.malformed_frames))
        _say_new("event type", batch.unknown_events, counts.unknown_events)
        _say_new("field", batch.unknown_fields, counts.unknown_fields)

    def _build(self, batch: StreamBatch) -> None:
        if self._vendor_bars is not None and batch.bars.height:
            rows = self._vendor_bars.rows(batch.bars)
            for clock in ("1s", "1m"):
                self._put_bars(rows.filter(pl.col("clock") == clock))
        if not batch.trades.height and not batch.quotes.height:
            return
        now = self.clock.now()
        if now is None:
            if len(self._early) < _MOST_EARLY:
                self._early.append(batch)
            return
        self._give_early(now)
        if not self._gathered:
            self._gathered_since = self._steady()
        self._gathered.append(batch)
        self._gathered_ticks += batch.trades.height + batch.quotes.height

    def _hand_on(self, *, is_due: bool = True) -> None:
        """Give the builder the ticks that were gathered."""
        if not self._gathered or not is_due:
            return
        batch, now = joined(self._gathered), self.clock.now()
        self._gathered, self._gathered_ticks = [], 0
        if now is not None:
            self._builder.push(batch.trades, batch.quotes, now)

    def _give_early(self, now: int) -> None:
        if not self._has_begun:
            self._has_begun = True
            if self.clock.is_live:
                self._builder.watch_from(now)
        early, self._early = self._early, []
        for batch in early:
            self._builder.push(batch.trades, batch.quotes, now)

    def _put_bars(self, bars: pl.DataFrame) -> None:
        """Live bars whose day is judged by their first row: what spans midnight is filed under the day before."""
        if bars.height:
            first = int(bars["time"].to_physical()[0])
            self._rows.put(LIVE_BARS, partition_of(self.market, first), bars)


def event_times(batch: StreamBatch) -> Times:
    """The times of a batch's events, int64 ns UTC, frame by frame. Bars speak where nothing else does: they are late."""
    tables = [frame for frame in (batch.quotes, batch.trades, *batch.others.values()) if frame.height]
    if not tables:
        return end_times(batch.bars).to_numpy() if batch.bars.height else np.empty(0, np.int64)
    times = [frame["time"].to_physical().to_numpy() for frame in tables]
    if len(times) == 1:
        return times[0]
    received = np.concatenate([frame["received_time"].to_physical().to_numpy() for frame in tables])
    return np.concatenate(times)[np.argsort(received, kind="stable")]


def without_future(batch: StreamBatch, newest_ns: int | None) -> StreamBatch:
    """A batch without the trades and quotes that are newer than the tape: neither alerts nor live bars are made of them.

    They are kept like all others, and a source of record is asked what is true of them.
    """
    if newest_ns is None or all(_newest(rows) <= newest_ns for rows in (batch.trades, batch.quotes)):
        return batch
    is_past = pl.col("time").to_physical() <= newest_ns
    return replace(batch, trades=batch.trades.filter(is_past), quotes=batch.quotes.filter(is_past))


def _newest(rows: pl.DataFrame) -> int:
    return int(rows["time"].to_physical().to_numpy().max()) if rows.height else 0


def _say_new(what: str, found: Counter[str], known: Counter[str]) -> None:
    for name in found:
        if name not in known and len(known) < _LOGGED_KINDS:
            _log.warning("%s %r is unknown: it is counted and kept", what, name)
    known.update(found)
