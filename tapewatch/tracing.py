"""OpenTelemetry traces, where an OTLP endpoint is set: a provider of a service's own, sent in batches by a thread."""

import hashlib
import random
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

#: Seconds that the last spans may take to be sent when a service ends.
_LAST_S = 5


class TracingError(RuntimeError):
    """The endpoint cannot be used; the message says why."""


class NamedIds:
    """Ids of spans: random, but for the root span that is begun next after `name`, whose ids follow from a name."""

    def __init__(self) -> None:
        self._named: list[int] = []

    def name(self, name: str) -> None:
        """Give the next span, which has no parent, the ids of `ids_of`."""
        self._named = [*reversed(ids_of(name))]

    def generate_trace_id(self) -> int:
        """128 bits, not 0."""
        return self._named.pop() if self._named else random.getrandbits(128) or 1

    def generate_span_id(self) -> int:
        """64 bits, not 0."""
        return self._named.pop() if self._named else random.getrandbits(64) or 1

    def is_trace_id_random(self) -> bool:
        """Whether the W3C flag of random ids may be set."""
        return False


def ids_of(name: str) -> tuple[int, int]:
    """The ids of the trace that belongs to a name, and of its root span: everyone who has the name finds the trace."""
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:16]) or 1, int.from_bytes(digest[16:24]) or 1


def traceparent_of(name: str) -> str:
    """The W3C header with which work goes into the trace of a name, below its root span."""
    trace_id, span_id = ids_of(name)
    return f"00-{trace_id:032x}-{span_id:016x}-01"


def open_provider(
    endpoint: str | None, service: str, *, share: float = 1.0, ids: NamedIds | None = None
) -> "TracerProvider | None":
    """What makes spans of `service`; None without an endpoint. Imports OpenTelemetry only then.

    A collector that is away costs nothing but its spans: they are dropped, and OpenTelemetry logs it.

    Args:
        endpoint: address of a collector, without the path (`http://127.0.0.1:4318`); spans go to `/v1/traces` as protobuf.
        service: `service.name` of the spans.
        share: of the traces that begin here, 0 to 1; a trace that begins elsewhere is kept if its beginning is.
        ids: makes the ids; by default they are random.

    Raises:
        TracingError: the endpoint is no http address.
    """
    if not endpoint:
        return None
    if not endpoint.startswith(("http://", "https://")):
        raise TracingError(f"the OTLP endpoint {endpoint!r} is no http address: give one such as http://127.0.0.1:4318")
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - rarely needed
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased  # noqa: PLC0415

    resource = Resource.create({"service.name": service, "service.version": version("tapewatch")})
    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(share)),
        resource=resource,
        shutdown_on_exit=False,
        id_generator=ids,  # type: ignore[arg-type]
    )
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=_LAST_S)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def close_provider(provider: Any) -> None:
    """Send the last spans, for a few seconds at most."""
    if provider is not None:
        provider.force_flush(_LAST_S * 1000)
        provider.shutdown()
