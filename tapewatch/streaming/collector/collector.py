"""A market's collector: one process that receives, detects, builds live rows and keeps the tape.

Threads: the receiver only fills the queue, the worker (`pipeline.py`) empties it, the builder makes live rows, and
others wait for disks and the database (`keeper.py`, `live_database.py`, `alerts/book.py`).
"""

import logging
import os
import sys
import threading
import time
from contextlib import ExitStack
from typing import Any

from prometheus_client import CollectorRegistry

from tapewatch.feeds.stream.client import StreamClient
from tapewatch.feeds.stream.queue import FrameQueue
from tapewatch.market.instruments import NS_PER_SECOND, Partition, Session, session_at
from tapewatch.market.tables.features import REGIMES, SEASONALITY
from tapewatch.store.database.database import DatabaseError
from tapewatch.store.lake.lake import Lake
from tapewatch.store.spool.spool import SpoolWriter
from tapewatch.streaming.alerts.book import AlertBook
from tapewatch.streaming.collector.builder import Builder
from tapewatch.streaming.collector.config import CollectorConfig
from tapewatch.streaming.collector.judges.detectors import Detectors
from tapewatch.streaming.collector.judges.minutes import MinuteJudge
from tapewatch.streaming.collector.judges.opening import open_minutes, open_scanner
from tapewatch.streaming.collector.keeper import Keeper
from tapewatch.streaming.collector.live_database import LiveDatabase, RowWriter
from tapewatch.streaming.collector.lock import CollectorLock
from tapewatch.streaming.collector.metrics import CollectorStatus, Latencies, Rate, serve_metrics
from tapewatch.streaming.collector.pipeline import Pipeline
from tapewatch.streaming.collector.publisher import Publisher
from tapewatch.streaming.collector.receiver import Receiver
from tapewatch.streaming.collector.traces import AlertTraces
from tapewatch.streaming.collector.warm_up import settle_memory, warm_up
from tapewatch.streaming.detection.watch import Watch
from tapewatch.streaming.gaps.book import GapBook
from tapewatch.streaming.gaps.interruptions import Interruptions
from tapewatch.streaming.live.clock import TapeClock
from tapewatch.streaming.live.day_tapes import DayTapes
from tapewatch.streaming.live.families import LiveFamilies, fitted_apart
from tapewatch.streaming.live.open_bars import OpenBars
from tapewatch.streaming.live.playback import resumed_tape
from tapewatch.streaming.stop import Stop

_log = logging.getLogger(__name__)
_QUEUE_BYTES = 256 * 1024 * 1024
_FLUSH_S = 2.0
#: Shortest time between two batches: quiet streams give small batches, busy ones large.
_LEAST_PERIOD_S = 0.004
_MOST_FRAMES = 4096
_POLL_S = 0.1
#: Longest time that a thread keeps the interpreter while the receiver waits for it.
_SWITCH_S = 0.001
_STOP_S = 5.0
_COMMIT_WAIT_S = 0.1


class Collector:
    """Collects one market until it is stopped. Use `run` once."""

    def __init__(self, config: CollectorConfig) -> None:
        self.config = config
        self.queue = FrameQueue(_QUEUE_BYTES)
        self.metrics_port = config.metrics_port
        self._began_s = time.monotonic()
        self._stopping = Stop()
        self._receiver = Receiver(
            config.market,
            lambda: StreamClient(config.url, config.key, config.subscriptions, self.queue, config.connection),
            self._stopping,
            in_sessions=config.in_sessions,
            delay_ns=config.delay_ns,
            sample=self._sample_rates,
        )
        self._events_rate, self._frames_rate = Rate(), Rate()
        self._restarts = 0
        self._failure: BaseException | None = None

    @property
    def state(self) -> str:
        return self._receiver.phase

    def stop(self) -> None:
        """Make `run` end once everything received is kept. From any thread or signal handler."""
        self._stopping.set()

    def run(self) -> None:
        """Collect until `stop`.

        Raises:
            StreamAuthenticationError: the server refuses the key.
            CollectorError: another collector has the market, or the port for metrics is taken.
            SpoolError: the spool cannot be written.
            BaseException: the failure of a thread that the collector needs.
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
                self._receiver.run()
            except BaseException as error:  # noqa: BLE001 - raised below, once everything is kept
                self._fail(error)
            self._stopping.set()
            self.queue.close()
            worker.join()
        # The keeper and the builder may fail after the worker's last call to them.
        failure = self._failure or self._keeper.failure or self._builder.failure
        if failure is not None:
            raise failure

    def status(self) -> CollectorStatus:
        """The collector's figures at this moment."""
        counts, spool = self._pipeline.counts, self._keeper.spool
        clock, receiver = self._pipeline.clock, self._receiver
        newest = clock.newest_ns
        return CollectorStatus(
            market=self.config.market,
            state=receiver.state,
            detail=receiver.detail,
            pid=os.getpid(),
            restarts=self._restarts,
            uptime_s=time.monotonic() - self._began_s,
            messages=receiver.total("frames"),
            bytes=receiver.total("bytes"),
            events=counts.events,
            events_per_second=self._events_rate.per_second,
            messages_per_second=self._frames_rate.per_second,
            lag_s=(time.time_ns() - newest) / NS_PER_SECOND if newest is not None and clock.is_live else None,
            tape_ns=newest,
            queue_frames=self.queue.depth,
            queue_bytes=self.queue.depth_bytes,
            queue_high_water_bytes=self.queue.high_water,
            dropped_frames=self.queue.dropped,
            reconnects=max(0, receiver.total("connections") - 1),
            malformed_frames=counts.malformed_frames,
            refused_rows=self._keeper.refused_rows,
            refused_dropped_rows=self._keeper.quarantine.rows_dropped,
            unknown_events=counts.unknown_events.total(),
            unknown_fields=counts.unknown_fields.total(),
            off_day_rows=self._builder.tapes.off_day_rows,
            too_late_rows=self._builder.tapes.too_late_rows,
            open_gaps=self._keeper.gaps.count,
            open_alerts=len(self._pipeline.open_alerts),
            alerts=counts.alerts,
            alert_latency_p50_ms=self._latencies.quantile_ms(0.5),
            alert_latency_p99_ms=self._latencies.quantile_ms(0.99),
            scan_model=self._pipeline.detectors.scanner.model,
            scan_late_ticks=self._pipeline.detectors.scanner.late,
            scan_latency_p50_ms=self._scan_latencies.quantile_ms(0.5),
            scan_latency_p99_ms=self._scan_latencies.quantile_ms(0.99),
            **(self._minutes.figures() if self._minutes is not None else {}),
            minute_latency_p50_ms=self._minute_latencies.quantile_ms(0.5),
            minute_latency_p99_ms=self._minute_latencies.quantile_ms(0.99),
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
        spool = SpoolWriter(config.spool_root, market, "collector")
        self._keeper = Keeper(spool, gaps, self._rows, flush_s=_FLUSH_S)
        self._alerts = AlertBook(self._database, config.notifiers, wait_s=_COMMIT_WAIT_S)
        self._latencies = Latencies(market, registry)
        self._scan_latencies = Latencies(market, registry, name="scan_latency", since="a bin's end")
        self._minute_latencies = Latencies(market, registry, name="minute_latency", since="a minute's end")
        traces = AlertTraces(config.otlp_endpoint, share=config.trace_share)
        stack.callback(traces.close)
        last_ns = self._keeper.last_position
        clock = TapeClock(delay_ns=config.delay_ns)
        is_resumed, since_ns = self._keeper.is_resumed, self._keeper.since
        publisher = Publisher(config.publish) if config.publish else None
        self._minutes = open_minutes(market, config.champions, self._rows.put, stack, last_ns=last_ns)
        self._builder = Builder(self._tapes(last_ns), self._rows, publisher, self._minutes)
        self._pipeline = Pipeline(
            market,
            config.subscriptions,
            clock=clock,
            builder=self._builder,
            interruptions=Interruptions(
                market, clock, self._keeper, last_ns=last_ns, is_resumed=is_resumed, since_ns=since_ns
            ),
            detectors=self._detectors(stack),
            alerts=self._alerts,
            latencies=self._latencies,
            scan_latencies=self._scan_latencies,
            minute_latencies=self._minute_latencies,
            rows=self._rows,
            keeper=self._keeper,
            traces=traces,
        )
        # Closed in turn from the last, even where closing one fails; each has time to write what it holds.
        self._rows.start()
        stack.callback(self._close_rows)
        stack.callback(self._alerts.close, _STOP_S)
        self._keeper.start()
        stack.callback(self._keeper.close)
        if publisher is not None:
            publisher.start()
            stack.callback(publisher.close, _STOP_S)
        if self._minutes is not None:
            self._minutes.start()
            stack.callback(self._close_minutes, self._minutes)
        self._builder.start()
        stack.callback(self._builder.close)
        self.metrics_port = stack.enter_context(
            serve_metrics(config.metrics_port, self.status, registry, config.metrics_host)
        )

    def _tapes(self, last_ns: int | None) -> DayTapes:
        """The live tapes, with the day that an earlier process left unfinished."""
        config, symbols = self.config, tuple(self.config.symbols)
        lake = None if config.lake_root is None else Lake(config.lake_root)
        information = OpenBars(config.spool_root, lake, config.clocks).live
        tapes = DayTapes(config.market, symbols, self._families, information)
        session = None if last_ns is None else session_at(config.market, last_ns)
        if last_ns is not None and session is not None:
            tape = resumed_tape(
                session,
                last_ns,
                config.spool_root,
                lake,
                symbols=symbols,
                families=self._families(session),
                information=information(session),
            )
            tapes.resume(session, tape)
        return tapes

    def _families(self, session: Session) -> LiveFamilies:
        """What computes a day's rows of further tables; models are fitted while the stream is received."""
        config, day = self.config, Partition(session.date, session.market)
        regimes, seasons = config.regime_model, config.seasonal_model
        models: dict[str, Any] = {}
        if regimes is not None and REGIMES in config.families:
            models["regime_model"] = fitted_apart(lambda: regimes(day), "no states")
        if seasons is not None and SEASONALITY in config.families:
            models["seasonal_model"] = fitted_apart(lambda: seasons(day), "no usual minute")
        return LiveFamilies(session, config.families, **models)

    def _detectors(self, stack: ExitStack) -> Detectors:
        """The rules and the models, with the alerts that an earlier process left open."""
        config = self.config
        watch = Watch(config.market, config.detection, config.baselines)
        scanner = open_scanner(config.market, config.champions, stack)
        detectors = Detectors(watch, scanner, minutes=self._minutes)
        try:
            detectors.resume(self._alerts.open_alerts(config.market))
        except DatabaseError as error:
            _log.warning("alerts that are open may be opened again: %s", error)
        return detectors

    def _close_minutes(self, minutes: MinuteJudge) -> None:
        """Judge and commit the minutes that the builder made last."""
        minutes.close()
        self._builder.write_scores()
        self._pipeline.take_minutes()

    def _close_rows(self) -> None:
        left = self._rows.close(_STOP_S)
        if left:
            _log.error("%d live rows could not be written to the database; the spool has their ticks", left)
        _log.info("stopped: %s rows spooled", f"{self._keeper.spool.rows_written:,}")

    def _sample_rates(self) -> None:
        now_s = time.monotonic()
        self._events_rate.mark(now_s, self._pipeline.counts.events)
        self._frames_rate.mark(now_s, self._receiver.total("frames"))

    def _work(self) -> None:
        """Handle what arrives, at most once per least period, until the queue is closed and empty."""
        session_over = self._receiver.session_over
        try:
            while True:
                began = time.monotonic()
                # Read before the queue: items that arrived until then are handled first.
                is_session_over, is_closed = session_over.is_set(), self.queue.is_closed
                items = self.queue.take(_MOST_FRAMES, _POLL_S)
                if items:
                    self._pipeline.handle(items)
                else:
                    self._pipeline.pass_time()
                    if is_session_over:
                        session_over.clear()
                        self._pipeline.finish(is_session_over=True)
                    if is_closed:
                        break
                if len(items) < _MOST_FRAMES:
                    time.sleep(max(0.0, _LEAST_PERIOD_S - (time.monotonic() - began)))
            self._pipeline.finish(is_session_over=False)
        except BaseException as error:  # noqa: BLE001 - `run` raises it
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if self._failure is None:
            self._failure = error
        self._stopping.set()
        self.queue.close()
