"""How a collector is: one snapshot, told as JSON to people's tools and in Prometheus' words to its scraper."""

import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Final, Literal, Self

import msgspec
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tapewatch.market.instruments import Market
from tapewatch.streaming.collector.lock import CollectorError

LOOPBACK: Final = "127.0.0.1"
_LATENCY_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
_RECENT_LATENCIES: Final = 4096


class CollectorStatus(msgspec.Struct, kw_only=True):
    """A collector at one moment. Counts are since the process began; times in seconds unless the name says otherwise."""

    market: str
    state: str
    detail: str = ""
    pid: int
    restarts: int = 0
    uptime_s: float = 0.0
    messages: int = 0
    bytes: int = 0
    events: int = 0
    events_per_second: float = 0.0
    messages_per_second: float = 0.0
    #: Null until the tape has a time, and while its clock is far from this machine's (a replay).
    lag_s: float | None = None
    #: The newest event that the tape's clock believes, int64 ns UTC.
    tape_ns: int | None = None
    queue_frames: int = 0
    queue_bytes: int = 0
    queue_high_water_bytes: int = 0
    dropped_frames: int = 0
    reconnects: int = 0
    malformed_frames: int = 0
    refused_rows: int = 0
    refused_dropped_rows: int = 0
    unknown_events: int = 0
    unknown_fields: int = 0
    off_day_rows: int = 0
    too_late_rows: int = 0
    open_gaps: int = 0
    open_alerts: int = 0
    alerts: int = 0
    alert_latency_p50_ms: float | None = None
    alert_latency_p99_ms: float | None = None
    spooled_rows: int = 0
    spool_waiting_rows: int = 0
    spool_dropped_rows: int = 0
    database_waiting_rows: int = 0
    database_dropped_rows: int = 0
    is_database_away: bool = False


_Kind = Literal["counter", "gauge"]
_FIGURES: Final[tuple[tuple[str, str, _Kind, str], ...]] = (
    ("messages", "messages", "counter", "frames received"),
    ("bytes", "received_bytes", "counter", "bytes of frames received"),
    ("events", "events", "counter", "events decoded"),
    ("events_per_second", "events_per_second", "gauge", "events a second over the last ten"),
    ("messages_per_second", "messages_per_second", "gauge", "frames a second over the last ten"),
    ("lag_s", "lag_seconds", "gauge", "this machine's clock less the time of the newest event"),
    ("queue_frames", "queue_frames", "gauge", "frames waiting to be decoded"),
    ("queue_bytes", "queue_bytes", "gauge", "bytes waiting to be decoded"),
    ("queue_high_water_bytes", "queue_high_water_bytes", "gauge", "the most bytes that ever waited"),
    ("dropped_frames", "dropped_frames", "counter", "frames dropped because the queue was full"),
    ("reconnects", "reconnects", "counter", "connections after the first"),
    ("malformed_frames", "malformed_frames", "counter", "frames that are no JSON array of events"),
    ("refused_rows", "refused_rows", "counter", "events that are unreadable or lie on no trading day"),
    ("refused_dropped_rows", "refused_dropped_rows", "counter", "of them, lost: their files, or the disk, are full"),
    ("unknown_events", "unknown_events", "counter", "events of a type that the platform does not know"),
    ("unknown_fields", "unknown_fields", "counter", "fields that the platform does not know"),
    ("off_day_rows", "off_day_rows", "counter", "rows of a day that is not being built live; the lake gets them"),
    ("too_late_rows", "too_late_rows", "counter", "rows beyond the horizon of revisions; the lake gets them"),
    ("open_gaps", "open_gaps", "gauge", "gaps that are not healed"),
    ("open_alerts", "open_alerts", "gauge", "alerts that last"),
    ("alerts", "alerts", "counter", "alerts opened"),
    ("spooled_rows", "spooled_rows", "counter", "rows written to the spool"),
    ("spool_waiting_rows", "spool_waiting_rows", "gauge", "rows that wait for the spool's disk"),
    ("spool_dropped_rows", "spool_dropped_rows", "counter", "rows lost to a full disk; a gap holds each stretch"),
    ("database_waiting_rows", "database_waiting_rows", "gauge", "live rows that wait for the database"),
    ("database_dropped_rows", "database_dropped_rows", "counter", "live rows dropped while the database was away"),
    ("is_database_away", "database_away", "gauge", "1 while the database cannot be written"),
    ("restarts", "restarts", "gauge", "starts of this collector by its supervisor, after the first"),
    ("uptime_s", "uptime_seconds", "gauge", "since the process began"),
)


class Latencies:
    """From a frame's arrival to the committed rows of its alerts. Written by one thread, read by any."""

    def __init__(self, market: Market, registry: CollectorRegistry) -> None:
        self._recent: deque[float] = deque(maxlen=_RECENT_LATENCIES)
        self._histogram = Histogram(
            "tapewatch_alert_latency_seconds",
            "from a frame's arrival to the committed row of the alert",
            ("market",),
            registry=registry,
            buckets=_LATENCY_BUCKETS_S,
        ).labels(str(market))

    def add(self, seconds: float) -> None:
        """Note one alert."""
        self._recent.append(seconds)
        self._histogram.observe(seconds)

    def quantile_ms(self, share: float) -> float | None:
        """Of the last 4,096 alerts; None before the first."""
        ordered = sorted(self._recent)
        return 1_000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


class Rate:
    """How much a counter grew a second, over the last ten."""

    def __init__(self, seconds: float = 10.0) -> None:
        self._seconds = seconds
        self._marks: deque[tuple[float, int]] = deque()

    def mark(self, at_s: float, count: int) -> None:
        """Note what the counter is at a steady time."""
        self._marks.append((at_s, count))
        while at_s - self._marks[0][0] > self._seconds:
            self._marks.popleft()

    @property
    def per_second(self) -> float:
        """0 before two marks."""
        marks = list(self._marks)
        if len(marks) < 2 or marks[-1][0] <= marks[0][0]:
            return 0.0
        return (marks[-1][1] - marks[0][1]) / (marks[-1][0] - marks[0][0])


class _Figures(Collector):
    def __init__(self, snapshot: Callable[[], CollectorStatus]) -> None:
        self._snapshot = snapshot

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        status = self._snapshot()
        for field, name, kind, text in _FIGURES:
            value = getattr(status, field)
            if value is None:
                continue
            family: type[CounterMetricFamily | GaugeMetricFamily]
            family = CounterMetricFamily if kind == "counter" else GaugeMetricFamily
            metric = family(f"tapewatch_{name}", text, labels=["market"])
            metric.add_metric([status.market], float(value))
            yield metric


@dataclass(frozen=True, slots=True)
class _Page:
    content_type: str
    body: Callable[[], bytes]


class MetricsServer:
    """`GET /metrics` for Prometheus and `GET /status` as JSON, on loopback, for as long as the context lasts.

    Raises:
        CollectorError: the port is taken.
    """

    def __init__(self, port: int, snapshot: Callable[[], CollectorStatus], registry: CollectorRegistry) -> None:
        registry.register(_Figures(snapshot))
        pages = {
            "/metrics": _Page(CONTENT_TYPE_LATEST, lambda: generate_latest(registry)),
            "/status": _Page("application/json", lambda: msgspec.json.encode(snapshot())),
        }
        try:
            self._server = ThreadingHTTPServer((LOOPBACK, port), _handler(pages))
        except OSError as error:
            raise CollectorError(
                f"port {port} for the metrics is taken ({error.strerror}): free it, or set TAPEWATCH_PORT_METRICS"
            ) from error
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)

    @property
    def port(self) -> int:
        """The port in use."""
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(pages: dict[str, _Page]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = pages.get(self.path.partition("?")[0])
            body = page.body() if page else b"there is /metrics and /status\n"
            self.send_response(200 if page else 404)
            self.send_header("Content-Type", page.content_type if page else "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
            """Scrapes are no news."""

    return Handler
