"""The service's figures for Prometheus.

BentoML's own have a label for every path that anybody asks for, and so grow without end; here unknown paths share one.
"""

from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import generate_latest

__all__ = ["CONTENT_TYPE_LATEST", "exposition"]

_REGISTRY: Final = CollectorRegistry()
ProcessCollector(registry=_REGISTRY)
#: Milliseconds count here, unlike in Prometheus' default buckets.
_BUCKETS: Final = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
REQUESTS: Final = Counter(
    "tapewatch_scoring_requests", "Requests by path and status.", ["path", "status"], registry=_REGISTRY
)
SECONDS: Final = Histogram(
    "tapewatch_scoring_request_seconds",
    "Seconds from request to answer.",
    ["path"],
    registry=_REGISTRY,
    buckets=_BUCKETS,
)
ROWS: Final = Counter(
    "tapewatch_scoring_rows", "Rows by verdict: anomaly, ordinary or not_scored.", ["verdict"], registry=_REGISTRY
)
CACHE: Final = Counter(
    "tapewatch_scoring_cache",
    "Answers by where they came from: memory, redis, coalesced, or computed.",
    ["source"],
    registry=_REGISTRY,
)
CACHE_FAULTS: Final = Counter(
    "tapewatch_scoring_cache_faults", "Times that Redis could not be used.", registry=_REGISTRY
)
SWAPS: Final = Counter(
    "tapewatch_scoring_swaps",
    "Changes of the served model by outcome: swapped or refused.",
    ["outcome"],
    registry=_REGISTRY,
)
MODEL: Final = Gauge(
    "tapewatch_scoring_model", "1 for the model that is served.", ["name", "version"], registry=_REGISTRY
)
SHADOW_ROWS: Final = Counter(
    "tapewatch_scoring_shadow_rows",
    "Rows that the challenger scored in shadow, by its verdict beside the champion's: same, gained, lost or not_scored.",
    ["verdict"],
    registry=_REGISTRY,
)
SHADOW_DROPPED: Final = Counter(
    "tapewatch_scoring_shadow_dropped", "Rows that came faster than the challenger scores.", registry=_REGISTRY
)
SHADOW_AGREEMENT: Final = Gauge(
    "tapewatch_scoring_shadow_agreement",
    "Share of rows with the same verdict by champion and challenger, since either was loaded.",
    ["name", "version"],
    registry=_REGISTRY,
)
STREAMS: Final = Gauge("tapewatch_scoring_streams", "Clients of /alerts/stream.", registry=_REGISTRY)


def exposition() -> bytes:
    """All figures in Prometheus' text format."""
    return generate_latest(_REGISTRY)
