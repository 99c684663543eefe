"""The worker of a collector: decodes frames, runs the detectors, and passes rows on. It never waits for a disk."""

import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl

from tapewatch.features.bins.records import BIN_NS
from tapewatch.feeds.stream.channels import StreamReply
from tapewatch.feeds.stream.decode.decoder import Frame, FrameDecoder, StreamBatch
from tapewatch.feeds.stream.queue import Marker
from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND, Market
from tapewatch.market.tables.live import LIVE_BARS
from tapewatch.streaming.alerts.book import AlertBook
from tapewatch.streaming.collector.builder import Builder
from tapewatch.streaming.collector.gathering import joined
from tapewatch.streaming.collector.judges.detectors import Detectors, opened_by
from tapewatch.streaming.collector.keeper import Keeper
from tapewatch.streaming.collector.live_database import RowWriter
from tapewatch.streaming.collector.metrics import Latencies
from tapewatch.streaming.collector.traces import AlertTraces
from tapewatch.streaming.detection.disorder import Disorder
from tapewatch.streaming.detection.findings import CHAMPION, SCAN
from tapewatch.streaming.detection.watch import AlertChange
from tapewatch.streaming.gaps.book import partition_of
from tapewatch.streaming.gaps.interruptions import Interruptions
from tapewatch.streaming.live.clock import TapeClock, Times
from tapewatch.streaming.live.tape import HORIZON_MINUTES
from tapewatch.streaming.live.vendor_bars import VendorBars, end_times

_log = logging.getLogger(__name__)
#: The client's detail for a requested disconnect.
_STOPPED = "stopped"
#: Channels of trades; without one, the vendor's bars are the live bars.
_TRADE_CHANNELS = frozenset({"T", "XT"})
#: Batches held until the tape's clock has a time; later ones are left to ingest.
_MOST_EARLY = 10_000
#: Ticks are joined for this long before live rows are built: a handful costs as much as hundreds.
_GATHER_S = 0.05
_GATHERED_TICKS = 5_000
#: Unknown names that are logged, each once.
_LOGGED_KINDS = 100


@dataclass
class Counts:
    """Totals since the start."""

    events: int = 0
    malformed_frames: int = 0
    unknown_events: Counter[str] = field(default_factory=Counter)
    unknown_fields: Counter[str] = field(default_factory=Counter)
    alerts: int = 0


class Pipeline:
    """One market's worker; not thread-safe. `clock`, `interruptions` and `detectors` are used by it alone."""

    def __init__(
        self,
        market: Market,
        subscriptions: Sequence[str],
        *,
        clock: TapeClock,
        builder: Builder,
        interruptions: Interruptions,
        detectors: Detectors,
        alerts: AlertBook,
        latencies: Latencies,
        scan_latencies: Latencies | None = None,
        minute_latencies: Latencies | None = None,
        rows: RowWriter,
        keeper: Keeper,
        traces: AlertTraces | None = None,
    ) -> None:
        self.market = market
        self.counts = Counts()
        self.is_connected = False
        self.clock, self.interruptions = clock, interruptions
        self._subscriptions = tuple(subscriptions)
        self.detectors, self._alerts = detectors, alerts
        self._builder, self._rows, self._keeper = builder, rows, keeper
        self._latencies = latencies
        self._scan_latencies, self._minute_latencies = scan_latencies, minute_latencies
        self._traces = traces or AlertTraces()
        self.open_alerts: set[str] = set()
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
        """Process frames and markers in order."""
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
        """Do what is due without events: complete bars, silent feeds, gaps that end."""
        self._advance()
        self.take_minutes()

    def _advance(self) -> None:
        self.interruptions.tick()
        if self._gathered_ticks > _GATHERED_TICKS or time.monotonic() - self._gathered_since >= _GATHER_S:
            self._push_gathered()
        now = self.clock.now()
        mark = self.clock.watermark()
        self._scan(now)
        if now is None or mark is None or mark // NS_PER_SECOND <= self._advanced_second:
            return
        is_next_minute = mark // NS_PER_MINUTE > self._advanced_second * NS_PER_SECOND // NS_PER_MINUTE
        self._advanced_second = mark // NS_PER_SECOND
        self._push_early(now)
        self._push_gathered()
        self._builder.advance(mark)
        if is_next_minute and not self.clock.is_live and self.detectors.judges_minutes:
            # A replay may be so fast that the rules would be hours ahead of the champion.
            self._builder.settle()
        if self.is_connected:
            self._record(self.detectors.tick(now))

    def finish(self, *, is_session_over: bool) -> None:
        """Build the rows of the current days so far; a session that is over is not resumed."""
        now = self.clock.now()
        if now is None:
            return
        self._push_early(now)
        self._push_gathered()
        # No events follow: the newest one is the end of the tape.
        self._builder.finish(max(now, self.clock.newest_ns or now), is_session_over=is_session_over)
        if is_session_over:
            self._record(self.detectors.lost())
            self.interruptions.session_ended()

    def _handle_frames(self, frames: Sequence[Frame]) -> None:
        if not frames:
            return
        batch = self._decoder.decode(frames)
        decoded_ns = time.time_ns()
        times = event_times(batch)
        before_ns = self.clock.newest_ns
        if before_ns is None and times.size:
            # The very first batch: what it lacks may lie before its first event.
            before_ns = int(times.min()) - NS_PER_MINUTE
        self.clock.observe(times)
        falls = self._disorder.count(batch)
        present = without_future(batch, self.clock.newest_ns) if falls else batch
        silent_ns = int(times.min()) - before_ns if before_ns is not None and times.size else 0
        if times.size:
            self.detectors.heard(int(times.min()))
        self._record(self.detectors.observe(present, silent_ns), batch.first_received_ns, decoded_ns)
        self._note(batch)
        self.interruptions.saw(times)
        tape_ns = before_ns if batch.malformed_frames or falls else self.clock.newest_ns
        # None until the stretch before this process's first event is judged: a process killed before leaves that to the next.
        self._keeper.keep(batch, tape_ns if self.interruptions.has_begun else None)
        if batch.malformed_frames:
            # Their place among the batch's frames is unknown: the gap spans the batch and ends with the next.
            reason = f"{len(batch.malformed_frames)} frame(s) are not a JSON array of events"
            self.interruptions.interrupted("malformed", reason, newest_ns=before_ns)
        if falls:
            reason = f"the time falls back by over half a minute {falls} time(s): some clock is wrong"
            self.interruptions.interrupted("clock_skew", reason, newest_ns=before_ns)
        self._build(present)

    def _scan(self, now: int | None) -> None:
        """Let the scan judge complete bins; without a connection silence says nothing."""
        if now is None or not self.is_connected:
            return
        changes = self.detectors.scan(now, is_live=self.clock.is_live)
        self._record(changes)
        if self._scan_latencies is not None and self.clock.is_live:
            for start in opened_by(SCAN, changes):
                self._scan_latencies.add((self.clock.outside_ns - start - BIN_NS) / NS_PER_SECOND)

    def take_minutes(self) -> None:
        """Commit what the champion of minutes found meanwhile."""
        changes = self.detectors.judged_minutes()
        self._record(changes)
        if self._minute_latencies is not None and self.clock.is_live:
            for start in opened_by(CHAMPION, changes):
                self._minute_latencies.add((self.clock.outside_ns - start - NS_PER_MINUTE) / NS_PER_SECOND)

    def _record(
        self, changes: Sequence[AlertChange], received_ns: int | None = None, decoded_ns: int | None = None
    ) -> None:
        """Commit alerts that opened, grew or ended; the alert book waits for an unreachable database."""
        if not changes:
            return
        found_ns = time.time_ns()
        is_committed = self._alerts.record(self.market, changes)
        committed_ns = time.time_ns()
        if is_committed and received_ns is not None:
            self._latencies.add((committed_ns - received_ns) / NS_PER_SECOND)
        steps = [("detect", found_ns), ("commit" if is_committed else "wait for the database", committed_ns)]
        if received_ns is not None and decoded_ns is not None:
            self._traces.add(self.market, changes, received_ns, [("receive and decode", decoded_ns), *steps])
        else:
            self._traces.add(self.market, changes, self._judged_until(changes, found_ns), steps)
        for change in changes:
            if change.is_closing:
                self.open_alerts.discard(change.row["alert_id"])
            else:
                self.open_alerts.add(change.row["alert_id"])
            self.counts.alerts += change.is_opening

    def _judged_until(self, changes: Sequence[AlertChange], found_ns: int) -> int:
        """The end of the bin or minute that a model judged, by the wall clock; of a replay, when it was found."""
        if not self.clock.is_live:
            return found_ns
        ends = [start + BIN_NS for start in opened_by(SCAN, changes)]
        ends += [start + NS_PER_MINUTE for start in opened_by(CHAMPION, changes)]
        return min([*ends, found_ns])

    def _handle_marker(self, marker: Marker) -> None:
        match marker.kind:
            case "connected":
                self.is_connected = True
                _log.info("connected to %s, subscribing to %d channel(s)", marker.detail, len(self._subscriptions))
                self.interruptions.connected(self._subscriptions)
            case "disconnected":
                was_connected, self.is_connected = self.is_connected, False
                if marker.detail == _STOPPED:
                    if was_connected:
                        self.interruptions.stopped()
                else:
                    self._record(self.detectors.lost(self._present_ns()))
                    _log.warning("disconnected: %s", marker.detail)
                    self.interruptions.interrupted("disconnect", marker.detail)
            case "dropped":
                self._record(self.detectors.lost(self._present_ns()))
                _log.error("%d frame(s) dropped: %s", marker.count, marker.detail)
                self.interruptions.interrupted("dropped", f"{marker.count:,} frames: {marker.detail}")
            case "refused":
                _log.warning("the server refuses: %s", marker.detail)

    def _present_ns(self) -> int | None:
        """The tape's present, or its newest event; None before the first."""
        known = [ns for ns in (self.clock.now(), self.clock.newest_ns) if ns is not None]
        return max(known, default=None)

    def _note(self, batch: StreamBatch) -> None:
        counts = self.counts
        counts.events += batch.events
        for status in batch.statuses:
            self.interruptions.granted(StreamReply("status", status.status, status.message).subscribed)
        if batch.malformed_frames:
            counts.malformed_frames += len(batch.malformed_frames)
            _log.warning("%d malformed frame(s)", len(batch.malformed_frames))
        _log_new("event type", batch.unknown_events, counts.unknown_events)
        _log_new("field", batch.unknown_fields, counts.unknown_fields)

    def _build(self, batch: StreamBatch) -> None:
        if self._vendor_bars is not None and batch.bars.height:
            rows = self._vendor_bars.rows(batch.bars)
            for clock in ("1s", "1m"):
                bars = rows.filter(pl.col("clock") == clock)
                if bars.height:
                    # Under the day of the first row, also where the bars span midnight.
                    first = int(bars["time"].to_physical()[0])
                    self._rows.put(LIVE_BARS, partition_of(self.market, first), bars)
        if not batch.trades.height and not batch.quotes.height:
            return
        now = self.clock.now()
        if now is None:
            if len(self._early) < _MOST_EARLY:
                self._early.append(batch)
            return
        self._push_early(now)
        if not self._gathered:
            self._gathered_since = time.monotonic()
        self._gathered.append(batch)
        self._gathered_ticks += batch.trades.height + batch.quotes.height

    def _push_gathered(self) -> None:
        if not self._gathered:
            return
        batch, now = joined(self._gathered), self.clock.now()
        self._gathered, self._gathered_ticks = [], 0
        if now is not None:
            self._builder.push(batch.trades, batch.quotes, now)

    def _push_early(self, now: int) -> None:
        if not self._has_begun:
            self._has_begun = True
            if self.clock.is_live:
                self._builder.tapes.watched_from_ns = now
        early, self._early = self._early, []
        for batch in early:
            self._builder.push(batch.trades, batch.quotes, now)


def event_times(batch: StreamBatch) -> Times:
    """The times of a batch's events, int64 ns UTC, frame by frame.

    The ends of bars count only in a batch without other events: bars arrive late.
    """
    tables = [frame for frame in (batch.quotes, batch.trades, *batch.others.values()) if frame.height]
    if not tables:
        return end_times(batch.bars).to_numpy() if batch.bars.height else np.empty(0, np.int64)
    times = [frame["time"].to_physical().to_numpy() for frame in tables]
    if len(times) == 1:
        return times[0]
    received = np.concatenate([frame["received_time"].to_physical().to_numpy() for frame in tables])
    return np.concatenate(times)[np.argsort(received, kind="stable")]


def without_future(batch: StreamBatch, newest_ns: int | None) -> StreamBatch:
    """A batch without the trades and quotes that are newer than the tape, which make neither alerts nor live bars.

    The spool keeps them, and a gap has their time range fetched from a source of record.
    """
    if newest_ns is None or all(_newest(rows) <= newest_ns for rows in (batch.trades, batch.quotes)):
        return batch
    is_past = pl.col("time").to_physical() <= newest_ns
    return replace(batch, trades=batch.trades.filter(is_past), quotes=batch.quotes.filter(is_past))


def _newest(rows: pl.DataFrame) -> int:
    return int(rows["time"].to_physical().to_numpy().max()) if rows.height else 0


def _log_new(what: str, found: Counter[str], known: Counter[str]) -> None:
    for name in found:
        if name not in known and len(known) < _LOGGED_KINDS:
            _log.warning("unknown %s %r: counted and kept", what, name)
    known.update(found)
