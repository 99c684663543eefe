"""A market's collector: one process that receives, detects, builds and keeps, for months.

Threads: an asyncio receiver that only enqueues, the worker (`pipeline.py`), the builder of live rows, and those that wait
for disks (`keeper.py`, `live_database.py`, `alerts.py`).
"""

import asyncio
import datetime as dt
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client import CollectorRegistry

from tapewatch.feeds.stream.client import StreamClient
from tapewatch.feeds.stream.policy import ConnectionPolicy
from tapewatch.feeds.stream.queue import FrameQueue
from tapewatch.market.instruments import NS_PER_SECOND, Market, session_at
from tapewatch.store.database.database import DatabaseError
from tapewatch.store.lake.lake import Lake
from tapewatch.store.spool.spool import SpoolWriter
from tapewatch.streaming.alerts.board import Notifier
from tapewatch.streaming.alerts.book import AlertBook
from tapewatch.streaming.collector.builder import Builder
from tapewatch.streaming.collector.hours import LONGEST_SLEEP_S, next_hours
from tapewatch.streaming.collector.keeper import Keeper
from tapewatch.streaming.collector.live_database import LiveDatabase, RowWriter
from tapewatch.streaming.collector.lock import CollectorLock
from tapewatch.streaming.collector.metrics import Latencies, MetricsServer, Rate, Status
from tapewatch.streaming.collector.pipeline import Pipeline
from tapewatch.streaming.collector.warm_up import settle_memory, warm_up
from tapewatch.streaming.detection.baselines import Baselines
from tapewatch.streaming.detection.rules.settings import DetectionConfig
from tapewatch.streaming.detection.watch import Watch
from tapewatch.streaming.gaps.book import GapBook
from tapewatch.streaming.gaps.interruptions import Interruptions
from tapewatch.streaming.live.clock import LATENESS_NS, TapeClock
from tapewatch.streaming.live.day_tapes import DayTapes
from tapewatch.streaming.live.playback import taken_up
from tapewatch.streaming.live.tape import LiveTape
from tapewatch.streaming.stop import Stop

_log = logging.getLogger(__name__)
_MIB = 1024 * 1024
#: The worker takes what came meanwhile, at most so often: batches are small when little comes and large when much does.
_LEAST_PERIOD_S = 0.004
_MOST_FRAMES = 4096
_POLL_S = 0.1
#: How long a thread may keep the interpreter while the receiver waits for it.
_SWITCH_S = 0.001
_STOP_S = 5.0
#: A little more than a server's farewell may take.
_LEAVE_S = 3.0
_LOOK_S = 0.25
_COMMIT_WAIT_S = 0.1


@dataclass(frozen=True, kw_only=True)
class CollectorConfig:
    """What a collector needs to know. `run_folder` holds what belongs to running processes: the lock, the gaps' journal."""

    market: Market
    url: str
    key: str = field(repr=False)
    subscriptions: Sequence[str]
    #: Symbols that have live rows even where nothing comes; none for whatever comes.
    symbols: Sequence[str] = ()
    spool_root: Path
    run_folder: Path
    #: Where days under way are read back from after a restart, with the spool; None for the spool alone.
    lake_root: str | Path | None = None
    database_url: str = field(repr=False)
    detection: DetectionConfig
    notifiers: Sequence[Notifier] = ()
    baselines: Baselines | None = None
    metrics_port: int = 0
    #: Connected around the market's sessions only, rather than always.
    in_sessions: bool = False
    delay_ns: int = 0
    lateness_ns: int = LATENESS_NS
    queue_bytes: int = 256 * _MIB
    flush_s: float = 2.0
    #: Names the life of the supervisor that started this process.
    watch: str = ""
    connection: ConnectionPolicy | None = None


class Collector:
    """Collects one market until it is told to stop. Use `run` once."""

    def __init__(self, config: CollectorConfig) -> None:
        self.config = config
        self.queue = FrameQueue(config.queue_bytes)
        self.state, self.detail = "starting", ""
        self.metrics_port = config.metrics_port
        self._began_s = time.monotonic()
        self._stopping, self._session_over = Stop(), threading.Event()
        self._received = _Received()
        self._events_rate, self._frames_rate = Rate(), Rate()
        self._restarts = 0
        self._failure: BaseException | None = None

    def stop(self) -> None:
        """Ask `run` to finish: what was received is still kept. From any thread or signal handler."""
        self._stopping.set()

    def run(self) -> None:
        """Collect until `stop`.

        Raises:
            AuthenticationError: the server does not know the key.
            CollectorError: another collector has the market, or the port for metrics is taken.
            SpoolError: the spool cannot be written.
            BaseException: what ended a thread that this cannot work without.
        """
        sys.setswitchinterval(_SWITCH_S)
        config = self.config
        with CollectorLock(config.run_folder, config.market, watch=config.watch) as lock, ExitStack() as stack:
            self._restarts = lock.restarts
            warm_up(config.market, config.detection)
            self._build(stack)
            settle_memory()
            worker = threading.Thread(target=self._work, name="worker", daemon=True)
            worker.start()
            try:
                self._collect()
            except BaseException as error:  # noqa: BLE001 - raised below, once everything is kept
                self._fail(error)
            self._stopping.set()
            self.queue.close()
            worker.join()
        # What the worker gave last may have failed when it was there to hear of it no more.
        failure = self._failure or self._keeper.failure or self._builder.failure
        if failure is not None:
            raise failure

    def status(self) -> Status:
        """How it is at this moment."""
        counts, spool, book = self._pipeline.counts, self._keeper.spool, self._keeper.gaps
        clock = self._pipeline.clock
        newest = clock.newest_ns
        return Status(
            market=self.config.market,
            state=self._client_state(),
            detail=self.detail,
            pid=os.getpid(),
            restarts=self._restarts,
            uptime_s=time.monotonic() - self._began_s,
            messages=self._received.frames,
            bytes=self._received.bytes,
            events=counts.events,
            events_per_second=self._events_rate.per_second,
            messages_per_second=self._frames_rate.per_second,
            lag_s=(time.time_ns() - newest) / NS_PER_SECOND if newest is not None and clock.is_live else None,
            tape_ns=newest,
            queue_frames=self.queue.depth,
            queue_bytes=self.queue.depth_bytes,
            queue_high_water_bytes=self.queue.high_water,
            dropped_frames=self.queue.dropped,
            reconnects=max(0, self._received.connections - 1),
            malformed_frames=counts.malformed_frames,
            refused_rows=self._keeper.refused_rows,
            refused_dropped_rows=self._keeper.quarantine.rows_dropped,
            unknown_events=counts.unknown_events.total(),
            unknown_fields=counts.unknown_fields.total(),
            off_day_rows=self._builder.tapes.off_day_rows,
            too_late_rows=self._builder.tapes.too_late_rows,
            open_gaps=book.count,
            open_alerts=len(self._pipeline.open_alerts),
            alerts=counts.alerts,
            alert_latency_p50_ms=self._latencies.quantile_ms(0.5),
            alert_latency_p99_ms=self._latencies.quantile_ms(0.99),
            spooled_rows=spool.rows_written,
            spool_waiting_rows=spool.rows_held,
            spool_dropped_rows=spool.rows_dropped,
            database_waiting_rows=self._rows.rows_waiting + self._alerts.waiting,
            database_dropped_rows=self._rows.rows_dropped + self._rows.rows_refused + self._alerts.dropped,
            is_database_away=self._database.is_away,
        )

    def _build(self, stack: ExitStack) -> None:
        config, market = self.config, self.config.market
        registry = CollectorRegistry()
        self._database = LiveDatabase(config.database_url)
        stack.callback(self._database.close)
        self._rows = RowWriter(self._database)
        gaps = GapBook(self._database, config.run_folder / f"gaps-{market}.jsonl", market)
        self._keeper = Keeper(
            SpoolWriter(config.spool_root, market, "collector"), gaps, self._rows, flush_s=config.flush_s
        )
        self._alerts = AlertBook(self._database, config.notifiers, wait_s=_COMMIT_WAIT_S)
        self._latencies = Latencies(market, registry)
        last_ns = self._keeper.last_position
        clock = TapeClock(lateness_ns=config.lateness_ns, delay_ns=config.delay_ns)
        self._builder = Builder(self._tapes(last_ns), self._rows)
        self._pipeline = Pipeline(
            market,
            config.subscriptions,
            clock=clock,
            builder=self._builder,
            interruptions=Interruptions(
                market,
                clock,
                self._keeper,
                last_ns=last_ns,
                is_resumed=self._keeper.is_resumed,
                since_ns=self._keeper.since,
            ),
            watch=self._watch(),
            alerts=self._alerts,
            latencies=self._latencies,
            rows=self._rows,
            keeper=self._keeper,
        )
        stack.enter_context(self._threads())
        server = stack.enter_context(MetricsServer(config.metrics_port, self.status, registry))
        self.metrics_port = server.port

    def _tapes(self, last_ns: int | None) -> DayTapes:
        """The live tapes, with the day that an earlier process left under way."""
        config, symbols = self.config, tuple(self.config.symbols)
        tapes = DayTapes(
            config.market, lambda session, start_ns: LiveTape(session, symbols=symbols, emit_from_ns=start_ns)
        )
        session = None if last_ns is None else session_at(config.market, last_ns)
        if last_ns is not None and session is not None:
            lake = None if config.lake_root is None else Lake(config.lake_root)
            tapes.take_up(session, taken_up(session, last_ns, config.spool_root, lake, symbols=symbols))
        return tapes

    def _watch(self) -> Watch:
        """The detectors, with the alerts that an earlier process left open."""
        watch = Watch(self.config.market, self.config.detection, self.config.baselines)
        try:
            watch.resume(self._alerts.open_alerts(self.config.market))
        except DatabaseError as error:
            _log.warning("alerts that are open may be opened again: %s", error)
        return watch

    @contextmanager
    def _threads(self) -> Iterator[None]:
        """The threads that wait for disks; at the end they get the time to write what they hold."""
        self._rows.start()
        self._keeper.start()
        self._builder.start()
        # In turn from the last, each whatever became of the one before.
        with ExitStack() as stack:
            stack.callback(self._close_rows)
            stack.callback(self._alerts.close, _STOP_S)
            stack.callback(self._keeper.close)
            stack.callback(self._builder.close)
            yield

    def _close_rows(self) -> None:
        left = self._rows.close(_STOP_S)
        if left:
            _log.error("%d live rows are left out of the database, which is away; the spool has their ticks", left)
        _log.info("stopped: %s rows spooled", f"{self._keeper.spool.rows_written:,}")

    def _collect(self) -> None:
        """Be connected when it is time to be, until told to stop."""
        config = self.config
        while not self._stopping.is_set():
            end_ns: int | None = None
            if config.in_sessions:
                hours = next_hours(config.market, time.time_ns(), delay_ns=config.delay_ns)
                if not hours.hold(time.time_ns()):
                    self._sleep_until(hours.start_ns)
                    continue
                end_ns = hours.end_ns
            self._stream(end_ns)

    def _sleep_until(self, start_ns: int) -> None:
        if self.state != "asleep":
            until = dt.datetime.fromtimestamp(start_ns // NS_PER_SECOND, dt.UTC)
            self.state, self.detail = "asleep", f"until {until:%Y-%m-%d %H:%M}Z"
            _log.info("the market is closed: asleep %s", self.detail)
        # Not in one go: the wall clock may be corrected meanwhile.
        self._stopping.wait(max(0.1, min(LONGEST_SLEEP_S, (start_ns - time.time_ns()) / NS_PER_SECOND)))

    def _stream(self, end_ns: int | None) -> None:
        """Stream until told to stop, or until the wall clock comes to `end_ns`."""
        config = self.config
        self.state, self.detail = "streaming", ""
        client = StreamClient(config.url, config.key, config.subscriptions, self.queue, config.connection)
        self._received.begin(client)
        receiver = threading.Thread(target=self._receive, args=(client,), name="receiver", daemon=True)
        receiver.start()
        is_over = False
        while receiver.is_alive() and not self._stopping.is_set() and not is_over:
            is_over = end_ns is not None and time.time_ns() >= end_ns
            now_s = time.monotonic()
            self._events_rate.mark(now_s, self._pipeline.counts.events)
            self._frames_rate.mark(now_s, self._received.frames)
            self._stopping.wait(_LOOK_S)
        client.stop()
        # Nothing comes of it any more. What still waits for a name's address, as long as the system likes, holds up no end.
        receiver.join(_LEAVE_S)
        self._received.end()
        if is_over:
            _log.info("the session is over")
            self._session_over.set()

    def _receive(self, client: StreamClient) -> None:
        try:
            asyncio.run(client.run())
        except BaseException as error:  # noqa: BLE001 - `run` raises it
            self._fail(error)

    def _work(self) -> None:
        """Take what came, as often as the least period allows, until the queue is closed and empty."""
        try:
            while True:
                began = time.monotonic()
                # Asked before the queue is: what came until then is taken first.
                is_session_over, is_closed = self._session_over.is_set(), self.queue.is_closed
                items = self.queue.take(_MOST_FRAMES, _POLL_S)
                if items:
                    self._pipeline.handle(items)
                else:
                    self._pipeline.pass_time()
                    if is_session_over:
                        self._session_over.clear()
                        self._pipeline.finish(is_session_over=True)
                    if is_closed:
                        break
                if len(items) < _MOST_FRAMES:
                    time.sleep(max(0.0, _LEAST_PERIOD_S - (time.monotonic() - began)))
            self._pipeline.finish(is_session_over=False)
        except BaseException as error:  # noqa: BLE001 - `run` raises it
            self._fail(error)

    def _client_state(self) -> str:
        if self.state != "streaming":
            return self.state
        return "stopping" if self._stopping.is_set() else self._received.state

    def _fail(self, error: BaseException) -> None:
        if self._failure is None:
            self._failure = error
        self._stopping.set()
        self.queue.close()


class _Received:
    """What came through all of a collector's clients, one after the other."""

    def __init__(self) -> None:
        self._client: StreamClient | None = None
        self._frames = self._bytes = self._connections = 0

    def begin(self, client: StreamClient) -> None:
        self._client = client

    def end(self) -> None:
        self._frames, self._bytes, self._connections = self.frames, self.bytes, self.connections
        self._client = None

    @property
    def state(self) -> str:
        client = self._client
        return "idle" if client is None else client.stats.state

    @property
    def frames(self) -> int:
        client = self._client
        return self._frames + (0 if client is None else client.stats.frames)

    @property
    def bytes(self) -> int:
        client = self._client
        return self._bytes + (0 if client is None else client.stats.bytes)

    @property
    def connections(self) -> int:
        client = self._client
        return self._connections + (0 if client is None else client.stats.connections)
