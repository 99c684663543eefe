"""A trace for each alert that opens: from the arrival of its frame, or the end of the bin or minute that it judges, to its commit.

The trace's ids follow from the alert's id (`tapewatch.tracing.ids_of`), so that a later request about the alert joins the same trace.
"""

from collections.abc import Sequence
from typing import Any

from tapewatch.market.instruments import Market
from tapewatch.streaming.detection.watch import AlertChange
from tapewatch.tracing import NamedIds, close_provider, open_provider

#: The end of a step, int64 ns of the wall clock, by its name; steps follow each other.
Steps = Sequence[tuple[str, int]]


class AlertTraces:
    """Makes the spans; without an endpoint it makes none. Not thread-safe.

    Args:
        endpoint: OTLP collector, as of `open_provider`; None for no traces.
        share: of the alerts that are traced, 0 to 1.

    Raises:
        TracingError: the endpoint is no http address.
    """

    def __init__(self, endpoint: str | None = None, *, share: float = 1.0) -> None:
        self._ids = NamedIds()
        self._provider = open_provider(endpoint, "tapewatch-collector", share=share, ids=self._ids)
        self._tracer: Any = None
        if self._provider is not None:
            from opentelemetry import trace  # noqa: PLC0415 - rarely needed

            self._api, self._tracer = trace, self._provider.get_tracer("tapewatch.collector")

    def add(self, market: Market, changes: Sequence[AlertChange], began_ns: int, steps: Steps) -> None:
        """Trace the alerts that opened with `changes`: a root span from `began_ns` to the last step's end, and a span a step."""
        if self._tracer is None:
            return
        for change in changes:
            if change.is_opening:
                self._add(market, change.row, began_ns, steps)

    def close(self) -> None:
        """Send the last spans, for a few seconds at most."""
        close_provider(self._provider)

    def _add(self, market: Market, row: dict[str, Any], began_ns: int, steps: Steps) -> None:
        self._ids.name(row["alert_id"])
        root = self._tracer.start_span(
            f"alert {row['rule']}",
            start_time=began_ns,
            attributes={
                "tapewatch.alert_id": row["alert_id"],
                "tapewatch.market": str(market),
                "tapewatch.symbol": row["symbol"],
                "tapewatch.severity": row["severity"],
            },
        )
        within = self._api.set_span_in_context(root)
        for name, end_ns in steps:
            self._tracer.start_span(name, within, start_time=began_ns).end(end_ns)
            began_ns = end_ns
        root.end(began_ns)
