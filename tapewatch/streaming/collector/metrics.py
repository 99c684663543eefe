"""A collector's figures: one snapshot, as JSON for the command line and as metrics for Prometheus."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Annotated, Final, get_type_hints

import msgspec
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector as MetricSource

from tapewatch.market.instruments import Market
from tapewatch.streaming.collector.lock import CollectorError

LOOPBACK: Final = "127.0.0.1"
_LATENCY_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
_RECENT_LATENCIES: Final = 4096
_RATE_S: Final = 10.0


def _gauge(text: str, name: str = "", family: type[Metric] = GaugeMetricFamily) -> msgspec.Meta:
    """A field that is also a metric, under its own name or another."""
    return msgspec.Meta(description=text, extra={"family": family, "name": name})


_counter = partial(_gauge, family=CounterMetricFamily)


class CollectorStatus(msgspec.Struct, kw_only=True):
    """A collector at one moment. Counts start with the process; times are in seconds unless the name says otherwise."""

    market: str
    state: str
    detail: str = ""
    pid: int
    restarts: Annotated[int, _gauge("starts of this collector by its supervisor, after the first")] = 0
    uptime_s: Annotated[float, _gauge("since the process began", "uptime_seconds")] = 0.0
    messages: Annotated[int, _counter("frames received")] = 0
    bytes: Annotated[int, _counter("bytes of frames received", "received_bytes")] = 0
    events: Annotated[int, _counter("events decoded")] = 0
    events_per_second: Annotated[float, _gauge("events a second over the last ten")] = 0.0
    messages_per_second: Annotated[float, _gauge("frames a second over the last ten")] = 0.0
    #: Null until the tape has a time, and for a replay, whose clock is far from this machine's.
    lag_s: Annotated[float | None, _gauge("wall clock less the time of the newest event", "lag_seconds")] = None
    #: The newest event time that the tape's clock accepts, int64 ns UTC.
    tape_ns: int | None = None
    queue_frames: Annotated[int, _gauge("frames waiting to be decoded")] = 0
    queue_bytes: Annotated[int, _gauge("bytes waiting to be decoded")] = 0
    queue_high_water_bytes: Annotated[int, _gauge("the most bytes that ever waited")] = 0
    dropped_frames: Annotated[int, _counter("frames dropped because the queue was full")] = 0
    reconnects: Annotated[int, _counter("connections after the first")] = 0
    malformed_frames: Annotated[int, _counter("frames that are not a JSON array of events")] = 0
    refused_rows: Annotated[int, _counter("events that are unreadable or lie on no trading day")] = 0
    refused_dropped_rows: Annotated[int, _counter("of them, lost because their files or the disk were full")] = 0
    unknown_events: Annotated[int, _counter("events of a type unknown to the platform")] = 0
    unknown_fields: Annotated[int, _counter("fields unknown to the platform")] = 0
    off_day_rows: Annotated[int, _counter("rows of a day that is not built live; ingest adds them to the lake")] = 0
    too_late_rows: Annotated[int, _counter("rows later than the horizon; ingest adds them to the lake")] = 0
    open_gaps: Annotated[int, _gauge("gaps that are not healed")] = 0
    open_alerts: Annotated[int, _gauge("alerts that are open")] = 0
    alerts: Annotated[int, _counter("alerts opened")] = 0
    alert_latency_p50_ms: float | None = None
    alert_latency_p99_ms: float | None = None
    #: The scan in use, such as `scan/3`; empty without one.
    scan_model: str = ""
    scan_late_ticks: Annotated[int, _counter("ticks that came after the scan judged their bin")] = 0
    #: From a bin's end to the committed alert that it raised; null for a replay.
    scan_latency_p50_ms: float | None = None
    scan_latency_p99_ms: float | None = None
    #: The champion of minutes in use, such as `ensemble/4`, and its absent members; empty without one.
    minute_model: str = ""
    is_minute_model_stale: Annotated[bool, _gauge("1 while a newer champion cannot be read", "minute_model_stale")] = (
        False
    )
    minute_members_absent: Annotated[int, _gauge("members of the champion of minutes that cannot score")] = 0
    minutes_scored: Annotated[int, _counter("symbol-minutes that the champion scored")] = 0
    #: From a minute's end to the committed alert that it raised; null for a replay.
    minute_latency_p50_ms: float | None = None
    minute_latency_p99_ms: float | None = None
    #: The challenger that scores in the shadow; empty without one.
    shadow_model: str = ""
    shadow_scored: Annotated[int, _counter("symbol-minutes that the challenger scored too")] = 0
    shadow_agreed: Annotated[int, _counter("of them, those on which both said the same")] = 0
    spooled_rows: Annotated[int, _counter("rows written to the spool")] = 0
    spool_waiting_rows: Annotated[int, _gauge("rows that wait for the spool's disk")] = 0
    spool_dropped_rows: Annotated[int, _counter("rows lost to a full disk; a gap covers each stretch")] = 0
    database_waiting_rows: Annotated[int, _gauge("live rows that wait for the database")] = 0
    database_dropped_rows: Annotated[int, _counter("live rows dropped while the database was unreachable")] = 0
    is_database_away: Annotated[bool, _gauge("1 while the database is unreachable", "database_away")] = False


class Latencies:
    """Times until alerts are committed. Written by one thread, read by any.

    Args:
        name, since: name of the metric, and from when it counts; by default from the frame's arrival.
    """

    def __init__(
        self,
        market: Market,
        registry: CollectorRegistry,
        *,
        name: str = "alert_latency",
        since: str = "a frame's arrival",
    ) -> None:
        self._recent: deque[float] = deque(maxlen=_RECENT_LATENCIES)
        self._histogram = Histogram(
            f"tapewatch_{name}_seconds",
            f"from {since} to the committed row of the alert",
            ("market",),
            registry=registry,
            buckets=_LATENCY_BUCKETS_S,
        ).labels(str(market))

    def add(self, seconds: float) -> None:
        self._recent.append(seconds)
        self._histogram.observe(seconds)

    def quantile_ms(self, share: float) -> float | None:
        """A quantile of the last 4,096 alerts; None before the first."""
        ordered = sorted(self._recent)
        return 1_000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


class Rate:
    """Growth of a counter a second, over the last ten."""

    def __init__(self) -> None:
        self._marks: deque[tuple[float, int]] = deque()

    def mark(self, at_s: float, count: int) -> None:
        """Record the counter at a time of the steady clock."""
        self._marks.append((at_s, count))
        while at_s - self._marks[0][0] > _RATE_S:
            self._marks.popleft()

    @property
    def per_second(self) -> float:
        """0 before two marks."""
        marks = list(self._marks)
        seconds = marks[-1][0] - marks[0][0] if marks else 0.0
        return (marks[-1][1] - marks[0][1]) / seconds if seconds > 0 else 0.0


class _Figures(MetricSource):
    """The fields of a status that are metrics."""

    def __init__(self, snapshot: Callable[[], CollectorStatus]) -> None:
        self._snapshot = snapshot
        self._metas: dict[str, msgspec.Meta] = {
            field: hint.__metadata__[0]
            for field, hint in get_type_hints(CollectorStatus, include_extras=True).items()
            if hasattr(hint, "__metadata__")
        }

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        status = self._snapshot()
        for field, meta in self._metas.items():
            value = getattr(status, field)
            if value is None or meta.extra is None:
                continue
            metric = meta.extra["family"](
                f"tapewatch_{meta.extra['name'] or field}", meta.description, labels=["market"]
            )
            metric.add_metric([status.market], float(value))
            yield metric


#: Path to content type and body.
_Pages = dict[str, tuple[str, Callable[[], bytes]]]


@contextmanager
def serve_metrics(
    port: int, snapshot: Callable[[], CollectorStatus], registry: CollectorRegistry, host: str = LOOPBACK
) -> Iterator[int]:
    """Serve `GET /metrics` for Prometheus and `GET /status` as JSON; yields the port in use.

    Raises:
        CollectorError: the port is taken.
    """
    registry.register(_Figures(snapshot))
    pages: _Pages = {
        "/metrics": (CONTENT_TYPE_LATEST, lambda: generate_latest(registry)),
        "/status": ("application/json", lambda: msgspec.json.encode(snapshot())),
    }
    try:
        server = ThreadingHTTPServer((host, port), _handler(pages))
    except OSError as error:
        raise CollectorError(
            f"port {port} for the metrics is taken ({error.strerror}): free it, or set TAPEWATCH_PORT_METRICS"
        ) from error
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(pages: _Pages) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = pages.get(self.path.partition("?")[0])
            kind, body = (page[0], page[1]()) if page else ("text/plain", b"pages: /metrics and /status\n")
            self.send_response(200 if page else 404)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
            """Scrapes are not logged."""

    return Handler
