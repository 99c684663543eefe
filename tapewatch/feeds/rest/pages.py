"""Follows an answer from page to page and checks each; an inconsistent page is an error, so that no rows are lost.

The official client stops silently at a broken page.
"""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar
from urllib.parse import SplitResult, unquote, urlsplit

from tapewatch.feeds.errors import EntitlementError, NotFoundError, PageError
from tapewatch.feeds.plans.addresses import VENDOR_HOSTS
from tapewatch.feeds.plans.table import MarketPlan
from tapewatch.feeds.rest.decode import Decoded, DecodedColumns
from tapewatch.feeds.rest.transport import Ask, RestReply, Transport

Answer = TypeVar("Answer", bound=Decoded[Any] | DecodedColumns)
_GOOD_STATUS: Final = frozenset({"OK", "DELAYED"})
_NOT_ENTITLED: Final = frozenset({"NOT_AUTHORIZED", "NOT_ENTITLED"})
_WAY_OUT: Final = (
    "none of it is kept; try again, and if the error persists, use --flat-files or report it to the vendor"
)


@dataclass(frozen=True, slots=True)
class Request:
    """A request whose answer may have several pages.

    `what` names it in errors and in quarantine; every page's address must begin with `path`; `instead` is the fallback if the
    server does not have the address of `ask`.
    """

    what: str
    path: str
    ask: Ask
    limit: int
    ticker: str | None = None
    is_aggregate: bool = False
    #: An answer without rows may come without `results`.
    may_be_empty: bool = False
    instead: Ask | None = None


@dataclass(frozen=True, slots=True)
class NumberedPage(Generic[Answer]):
    """A page with its number, from 1."""

    number: int
    url: str
    body: bytes
    decoded: Answer
    is_full: bool


class Pager:
    """Sends requests to one server within one plan's limits."""

    def __init__(self, transport: Transport, plan: MarketPlan, cancelled: threading.Event | None = None) -> None:
        self._transport = transport
        self._plan = plan
        self._cancelled = cancelled

    def pages(self, request: Request, decoder: Callable[[bytes], Answer]) -> Iterator[NumberedPage[Answer]]:
        """Every page of the answer, in order.

        Raises:
            PageError: a page is not JSON, lacks its results, reports an error, belongs to another ticker, or links to another
                host, another address or a page already read.
            EntitlementError: the plan does not include it.
        """
        seen: set[str] = set()
        number, reply = 1, self._first(request)
        while True:
            decoded = self._checked(request, number, reply, decoder)
            counted = max(decoded.source_rows, decoded.page.queryCount or 0)
            yield NumberedPage(number, reply.url, reply.body, decoded, counted >= request.limit)
            if not decoded.page.next_url:
                return
            address = self._next_address(request, number, reply, decoded.page.next_url)
            if address in seen:
                raise PageError(self._complaint(request, number, reply, "its next_url leads to a page already read"))
            seen.add(address)
            number, reply = number + 1, self._transport.get(address, self._plan, cancelled=self._cancelled)

    def _first(self, request: Request) -> RestReply:
        try:
            return self._transport.call(request.ask, self._plan, cancelled=self._cancelled)
        except NotFoundError:
            if request.instead is None:
                raise
            return self._transport.call(request.instead, self._plan, cancelled=self._cancelled)

    def _checked(self, request: Request, number: int, reply: RestReply, decoder: Callable[[bytes], Answer]) -> Answer:
        try:
            decoded = decoder(reply.body)
        except PageError as error:
            raise PageError(self._complaint(request, number, reply, str(error))) from error
        page = decoded.page
        if page.status in _NOT_ENTITLED:
            raise EntitlementError(
                f"{self._plan.market}: {reply.url} answered {page.status}: set {self._plan.setting} (now '{self._plan.tier}') "
                f"to the plan you bought. {page.message or page.error or ''}"
            )
        fault = _fault(request, number, decoded)
        if fault:
            raise PageError(self._complaint(request, number, reply, fault))
        return decoded

    def _next_address(self, request: Request, number: int, reply: RestReply, next_url: str) -> str:
        try:
            here, there = urlsplit(self._transport.base_url), urlsplit(next_url)
            is_elsewhere = bool(there.netloc) and not _is_same_server(here, there)
        except ValueError as error:
            raise PageError(
                self._complaint(request, number, reply, f"its next_url is not an address ({error})")
            ) from error
        if is_elsewhere:
            host = there.netloc.rpartition("@")[2]
            raise PageError(self._complaint(request, number, reply, f"its next_url points to another host, {host}"))
        path = there.path.removeprefix(here.path)
        if not f"{_joined(path)}/".startswith(f"{_joined(request.path)}/"):
            raise PageError(self._complaint(request, number, reply, f"its next_url leaves {request.path} for {path}"))
        query = "&".join(part for part in there.query.split("&") if not part.lower().startswith("apikey="))
        return f"{path}?{query}" if query else path

    def _complaint(self, request: Request, number: int, reply: RestReply, fault: str) -> str:
        return self._transport.scrubbed(f"{request.what}, page {number} ({reply.url}): {fault}; {_WAY_OUT}")


def lost_next_url(request: Request, pages: int) -> PageError:
    """The error for an answer that ended while the server still has rows."""
    return PageError(
        f"{request.what}, page {pages}: the last page names no next_url, yet the server has more rows; {_WAY_OUT}"
    )


def _fault(request: Request, number: int, decoded: Decoded[Any] | DecodedColumns) -> str:
    page = decoded.page
    if page.status not in _GOOD_STATUS:
        said = page.error or page.message
        return f"its status is {page.status!r}" + (f" ({said})" if said else "")
    if request.ticker is not None and page.ticker is not None and page.ticker.upper() != request.ticker.upper():
        return f"it holds results for {page.ticker}, and {request.ticker} was requested"
    if request.is_aggregate:
        promised = page.resultsCount
        if page.results is None and promised != 0:
            return f"it has no results, though it counts {'none' if promised is None else promised}"
        if promised is not None and promised != decoded.source_rows:
            return f"it counts {promised:,} results and holds {decoded.source_rows:,}"
    elif page.results is None and not (request.may_be_empty and number == 1 and not page.next_url):
        return "it has no results"
    return ""


def _joined(path: str) -> str:
    """An address with a single spelling of what the vendor spells in two ways: pairs (`X:BTC-USD`, `X:BTCUSD`) and futures."""
    return unquote(path).replace("-", "").replace("/futures/vX/", "/futures/v1/")


def _is_same_server(here: SplitResult, there: SplitResult) -> bool:
    if here.hostname in VENDOR_HOSTS and there.hostname in VENDOR_HOSTS:
        return True
    return (here.hostname, _port(here)) == (there.hostname, _port(there))


def _port(parts: SplitResult) -> int | None:
    return parts.port or {"http": 80, "https": 443}.get(parts.scheme)
