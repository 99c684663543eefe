"""The WebSocket address of a market: the vendor's, an emulator's, or the user's own."""

from typing import Final
from urllib.parse import urlsplit

from tapewatch.feeds.plans.table import MarketPlan, PlanError, Recency

#: The vendor's API is the same under both names.
VENDOR_HOSTS: Final = frozenset({"api.polygon.io", "api.massive.com"})
_STREAM_SCHEME: Final = {"http": "ws", "https": "wss"}


def stream_address(plan: MarketPlan, rest_url: str, *, base: str | None = None, override: str | None = None) -> str:
    """The WebSocket address of a plan's market.

    Args:
        plan: a delayed plan streams from the vendor's delayed host.
        rest_url: the REST address; a server that is not the vendor's (an emulator) streams from the same host and port.
        base: an address for all markets; the market's name is appended.
        override: an address for this market; the market's name is appended if it has no path.

    Raises:
        PlanError: an address is not a ws:// or wss:// address.
    """
    if override:
        address = _checked(override, f"POLYGON_WS_URL_{plan.market.upper()}")
        return address if urlsplit(address).path else f"{address}/{plan.market}"
    if base:
        return f"{_checked(base, 'POLYGON_WS_URL')}/{plan.market}"
    parts = urlsplit(rest_url)
    if parts.hostname not in VENDOR_HOSTS:
        return f"{_STREAM_SCHEME.get(parts.scheme, 'ws')}://{parts.netloc}/{plan.market}"
    cluster = "socket" if plan.stream_recency is Recency.REAL_TIME else "delayed"
    return f"wss://{cluster}.{parts.hostname.removeprefix('api.')}/{plan.market}"


def _checked(address: str, setting: str) -> str:
    parts = urlsplit(address.strip())
    if parts.scheme not in ("ws", "wss") or not parts.hostname or parts.username or parts.password:
        raise PlanError(f"{setting} is not a WebSocket address: set it to ws(s)://host[:port][/path]")
    return address.strip().rstrip("/")
