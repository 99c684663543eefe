"""Spans of requests: one for the request, under the caller's if it sends `traceparent`, and one for each step of the work."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from starlette.requests import Request

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider


class Tracer:
    """Makes the spans of a service."""

    def __init__(self, provider: "TracerProvider") -> None:
        from opentelemetry import trace  # noqa: PLC0415 - rarely needed
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

        self.api, self._tracer = trace, provider.get_tracer("tapewatch.serving")
        self._propagator = TraceContextTextMapPropagator()

    def begin(self, request: Request, request_id: str) -> "RequestSpan":
        """The span of a request that has come."""
        carrier = {name: request.headers[name] for name in ("traceparent", "tracestate") if name in request.headers}
        context = self._propagator.extract(carrier)
        method = request.method
        span = self._tracer.start_span(
            method,
            context,
            kind=self.api.SpanKind.SERVER,
            attributes={
                "http.request.method": method,
                "url.path": request.scope["path"][:200],
                "tapewatch.request_id": request_id,
            },
        )
        return RequestSpan(self, span)

    @contextmanager
    def step(self, parent: Any, name: str, **attributes: str | int) -> Iterator[None]:
        """A span below `parent` for as long as the block lasts."""
        context = self.api.set_span_in_context(parent)
        span = self._tracer.start_span(name, context, attributes=attributes)
        try:
            yield
        except Exception as error:
            span.record_exception(error)
            raise
        finally:
            span.end()


class RequestSpan:
    """The span of a request under way."""

    def __init__(self, tracer: Tracer, span: Any) -> None:
        self._tracer, self._span = tracer, span

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits, for the log."""
        return format(self._span.get_span_context().trace_id, "032x")

    def step(self, name: str, **attributes: str | int) -> Any:
        """As `Tracer.step`."""
        return self._tracer.step(self._span, name, **attributes)

    def end(self, route: str, status: int, rows: int) -> None:
        """Say how it ended. Only a fault of the service is an error of the span."""
        self._span.update_name(f"{self._span.name} {route}")
        self._span.set_attributes({"http.response.status_code": status, "http.route": route, "tapewatch.rows": rows})
        if status >= 500:
            self._span.set_status(self._tracer.api.StatusCode.ERROR)
        self._span.end()
