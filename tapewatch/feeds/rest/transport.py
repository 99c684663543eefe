"""One call to the REST API: the official client's addresses and headers, with our own timeouts, retries and rate limit."""

import datetime as dt
import email.utils
import logging
import random
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import tenacity
import urllib3
from polygon import RESTClient

from tapewatch.feeds.errors import (
    CertificateError,
    EntitlementError,
    NotFoundError,
    RateLimitError,
    RestAuthenticationError,
    RestError,
    TransientError,
    UnavailableError,
    mask_key,
    scrub,
)
from tapewatch.feeds.plans.addresses import VENDOR_HOSTS
from tapewatch.feeds.plans.table import MarketPlan
from tapewatch.feeds.rest import call_budget
from tapewatch.feeds.source import SourceError
from tapewatch.market.backoff import backoff_s
from tapewatch.network import NetworkError, authorities, proxy_of

_BODY_SHOWN = 300
_HTTP_OK, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _TOO_MANY, _SERVER_ERROR = 200, 401, 403, 404, 429, 500
_PASSING = frozenset({408, 425, 499})
_log = logging.getLogger(__name__)

Ask = Callable[[RESTClient], urllib3.BaseHTTPResponse]


def ask_path(path: str, fields: Mapping[str, str] | None = None) -> Ask:
    """A call to an address that the official client has no method for; the key travels in the header."""
    return lambda client: client.client.request("GET", client.BASE + path, fields=fields, headers=client.headers)


@dataclass(frozen=True, slots=True)
class Patience:
    """Timeouts and retries. A `Retry-After` longer than `longest_wait_s` ends the attempts at once."""

    attempts: int = 7
    first_wait_s: float = 0.5
    longest_wait_s: float = 90.0
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 60.0


@dataclass(frozen=True, slots=True)
class RestReply:
    """The bytes of an answer and its address, which does not contain the key."""

    url: str
    body: bytes


class _UnreachableError(Exception):
    def __init__(self, url: str, cause: Exception) -> None:
        super().__init__(f"{url.partition('?')[0]}: {cause}")
        self.certificate = _certificate_fault(cause)


class _RefusedError(Exception):
    def __init__(self, url: str, response: urllib3.BaseHTTPResponse) -> None:
        super().__init__(f"{url}: HTTP {response.status}")
        self.url = url
        self.status = response.status
        self.retry_after = response.headers.get("Retry-After")
        self.body = response.data[: 4 * _BODY_SHOWN].decode("utf-8", "replace")


class _Pool(urllib3.PoolManager):
    """The client's connection pool, which also keeps status, headers and address of a refusal."""

    def urlopen(self, method: str, url: str, *args: Any, **kw: Any) -> urllib3.BaseHTTPResponse:
        try:
            response = super().urlopen(method, url, *args, **kw | {"redirect": False})
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise _UnreachableError(url, error) from error
        if response.status != _HTTP_OK:
            raise _RefusedError(url, response)
        return response


class _ProxyPool(_Pool, urllib3.ProxyManager):
    """The same through a proxy."""


class Transport:
    """Calls to one server with one key. Safe to share between threads.

    Args:
        base_url: the vendor's address or an emulator's.
        key: the vendor's key, sent in a header only.

    Raises:
        RestAuthenticationError: the key is empty or cannot be sent in a header.
        SourceError: the address is not valid.
    """

    def __init__(self, base_url: str, key: str, *, patience: Patience | None = None, connections: int = 8) -> None:
        self.base_url = _checked_address(base_url)
        self._key = _checked_key(key)
        self._patience = patience or Patience()
        self._client = RESTClient(self._key, base=self.base_url, retries=0, pagination=False)
        # The client does not pass its timeouts on, and its retries end within a second.
        timeout = urllib3.Timeout(connect=self._patience.connect_timeout_s, read=self._patience.read_timeout_s)
        settings = self._client.client.connection_pool_kw | {
            "retries": False,
            "timeout": timeout,
            "maxsize": connections,
        }
        try:
            # The client trusts the authorities of a package, and knows no proxy.
            settings |= {"ca_certs": file} if (file := authorities()) else {}
            self._client.client = _pool(proxy_of(self.base_url), headers=self._client.headers, **settings)
        except NetworkError as error:
            raise SourceError(str(error)) from error

    def __repr__(self) -> str:
        return f"Transport({self.base_url!r}, key={mask_key(self._key)!r})"

    @property
    def is_vendor(self) -> bool:
        """Whether the address is the vendor's own, not an emulator's."""
        return urlsplit(self.base_url).hostname in VENDOR_HOSTS

    def scrubbed(self, text: str) -> str:
        """`text` without the key, which a server may echo."""
        return scrub(text, self._key)

    def get(self, path: str, plan: MarketPlan, fields: Mapping[str, str] | None = None, **kw: Any) -> RestReply:
        """The answer at `path`, as `call`."""
        return self.call(ask_path(path, fields), plan, **kw)

    def call(self, ask: Ask, plan: MarketPlan, *, cancelled: threading.Event | None = None) -> RestReply:
        """The answer to `ask`, within the plan's rate limit; temporary failures are retried.

        Raises:
            RestAuthenticationError, EntitlementError, NotFoundError, RestError: at once.
            RateLimitError, UnavailableError: after the last attempt.
            CancelledError: `cancelled` was set meanwhile.
        """
        cancelled = cancelled or threading.Event()
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(TransientError),
            stop=self._is_over,
            wait=self._wait_s,
            sleep=tenacity.sleep_using_event(cancelled),
            before_sleep=_log_retry,
        )
        try:
            return retrying(self._attempt, ask, plan, cancelled)
        except tenacity.RetryError as error:
            attempts, last = error.last_attempt.attempt_number, error.last_attempt.exception()
            if not isinstance(last, TransientError):
                raise
            raise type(last)(f"{last}; gave up after {attempts} attempt(s)", last.retry_after_s) from last.__cause__

    def _attempt(self, ask: Ask, plan: MarketPlan, cancelled: threading.Event) -> RestReply:
        call_budget.spend(self.base_url, self._key, plan.rate, cancelled)
        try:
            response = ask(self._client)
        except _UnreachableError as error:
            if error.certificate:
                raise CertificateError(
                    f"the certificate of {self.base_url} is not trusted ({error.certificate}): set SSL_CERT_FILE to the "
                    "file of the authority that signed it, or correct POLYGON_BASE_URL"
                ) from None
            raise UnavailableError(self.scrubbed(f"the vendor cannot be reached at {error}")) from None
        except _RefusedError as error:
            raise self._explain(error, plan) from None
        return RestReply(self.base_url + (response.url or ""), response.data)

    def _explain(self, refusal: _RefusedError, plan: MarketPlan) -> RestError:
        said = self.scrubbed(f"{refusal.url} answered {refusal.status}: {_shortened(refusal.body)}")
        status = refusal.status
        if status == _UNAUTHORIZED:
            return RestAuthenticationError(
                f"the key {mask_key(self._key)} is not accepted: set POLYGON_API_KEY. {said}"
            )
        if status == _FORBIDDEN:
            return EntitlementError(
                f"{plan.market}: the key's plan does not include this, although {plan.setting} is '{plan.tier}': "
                f"set {plan.setting} to the plan you bought, buy one that has it, or use --flat-files. {said}"
            )
        if status == _TOO_MANY:
            wait = _retry_after_s(refusal.retry_after)
            return RateLimitError(
                f"{plan.market}: too many calls for the plan '{plan.tier}' ({plan.setting}). {said}", wait
            )
        if status >= _SERVER_ERROR or status in _PASSING:
            return UnavailableError(f"the vendor cannot answer now: {said}", _retry_after_s(refusal.retry_after))
        return (NotFoundError if status == _NOT_FOUND else RestError)(said)

    def _wait_s(self, state: tenacity.RetryCallState) -> float:
        patience, wait_s = self._patience, _asked_wait_s(state)
        if wait_s is None:
            wait_s = backoff_s(state.attempt_number - 1, patience.first_wait_s, patience.longest_wait_s)
        return wait_s + random.uniform(0, patience.first_wait_s)  # noqa: S311 - spreads load

    def _is_over(self, state: tenacity.RetryCallState) -> bool:
        return (
            state.attempt_number >= self._patience.attempts
            or (_asked_wait_s(state) or 0) > self._patience.longest_wait_s
        )


def _pool(proxy: str | None, **settings: Any) -> _Pool:
    if proxy is None:
        return _Pool(**settings)
    parts = urlsplit(proxy)
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else None
    return _ProxyPool(proxy_url=proxy, proxy_headers=urllib3.make_headers(proxy_basic_auth=login), **settings)


def _certificate_fault(error: BaseException | None) -> str:
    """Why a certificate was refused, if that is the cause of `error`; else empty."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message
        inner = next((part for part in error.args if isinstance(part, BaseException)), None)
        error = inner or error.__cause__ or error.__context__
    return ""


def _asked_wait_s(state: tenacity.RetryCallState) -> float | None:
    """The wait that the server asked for with its last refusal."""
    error = state.outcome.exception() if state.outcome else None
    return error.retry_after_s if isinstance(error, TransientError) else None


def _log_retry(state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    pause = state.next_action.sleep if state.next_action else 0.0
    _log.warning("%s; attempt %d, next in %.1f s", error, state.attempt_number, pause)


def _retry_after_s(header: str | None) -> float | None:
    """Seconds from a `Retry-After` header, which holds seconds or an HTTP date; None where it holds neither."""
    if header is None:
        return None
    if header.strip().isdigit():
        return float(header)
    try:
        until = email.utils.parsedate_to_datetime(header)
    except ValueError:
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=dt.UTC)
    return max(0.0, (until - dt.datetime.now(dt.UTC)).total_seconds())


def _shortened(body: str) -> str:
    text = " ".join(body.split())
    return text if len(text) <= _BODY_SHOWN else f"{text[:_BODY_SHOWN]}…"


def _checked_key(key: str) -> str:
    key = key.strip()
    if not key:
        raise RestAuthenticationError("there is no key: set POLYGON_API_KEY, or use --flat-files or the emulator")
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise RestAuthenticationError("the key holds characters that no header can carry: set POLYGON_API_KEY again")
    return key


def _checked_address(base_url: str) -> str:
    parts = urlsplit(base_url.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
        raise SourceError(
            f"{parts.hostname or base_url!r} is not a REST address: set POLYGON_BASE_URL to http(s)://host[:port]"
        )
    return base_url.strip().rstrip("/")
