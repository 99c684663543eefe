"""Errors of the vendor's REST API, and removal of the key from messages."""

import re
from urllib.parse import quote

from tapewatch.feeds.source import SourceError

_SHOWN_CHARACTERS = 2
_LONG_ENOUGH_TO_SHOW_SOME = 16


class RestError(SourceError):
    """The vendor's REST API did not deliver; the message names the URL (without the key) and the way out."""


class RestAuthenticationError(RestError):
    """The vendor does not accept the key, or no key is set."""


class CertificateError(RestError):
    """The server's certificate is not trusted; another attempt would meet the same. Never retried."""


class EntitlementError(RestError):
    """The plan does not include the requested data; the message names market, plan and setting. Never retried."""


class NotInPlanError(EntitlementError):
    """The plan includes this table of the market for no day; it may include other tables."""


class NotFoundError(RestError):
    """The server has no such address."""


class PageError(RestError):
    """A page is incomplete or inconsistent; using it would lose rows silently."""


class TransientError(RestError):
    """A temporary failure, retried as `Patience` allows. `retry_after_s` is the wait that the server asked for, if any."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RateLimitError(TransientError):
    """The vendor answered 429 to every attempt."""


class UnavailableError(TransientError):
    """The vendor could not be reached, or answered with a server error, at every attempt."""


class CancelledError(RestError):
    """The caller cancelled the request."""


def mask_key(key: str | None) -> str:
    """A key for display: `…` and its last two characters, if it is long enough to hide the rest."""
    if not key:
        return "(not set)"
    return f"…{key[-_SHOWN_CHARACTERS:]}" if len(key) >= _LONG_ENOUGH_TO_SHOW_SOME else "…"


def scrub(text: str, key: str) -> str:
    """`text` without the key, which a server may echo, and without the value of any `apiKey` parameter."""
    text = re.sub(r"(?i)(api_?key=)[^&\s\"']+", r"\1***", text)
    for form in {key, quote(key, safe="")} - {""}:
        text = text.replace(form, "***")
    return text
