"""What can go wrong between this platform and the vendor's REST API, and how a key is kept out of the telling."""

import re
from urllib.parse import quote

from tapewatch.feeds.source import SourceError

_SHOWN_CHARACTERS = 2
_LONG_ENOUGH_TO_SHOW_SOME = 16


class RestError(SourceError):
    """The vendor's REST API did not deliver; the message names the URL (without the key) and the way out."""


class RestAuthenticationError(RestError):
    """The vendor does not know the key, or there is none to send."""


class EntitlementError(RestError):
    """The plan does not include what was asked for; the message names market, plan and setting. Never retried."""


class NotInPlanError(EntitlementError):
    """The plan has no such table of this market, on any day; other tables of it may be had."""


class NotFoundError(RestError):
    """The server knows no such address."""


class PageError(RestError):
    """A page is not what its status promises; taking it would lose rows without a word."""


class TransientError(RestError):
    """A failure that may pass: retried until patience ends. `retry_after_s` is what the server asked for, if it did."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RateLimitError(TransientError):
    """The vendor answered 429 more often than patience allows."""


class UnavailableError(TransientError):
    """The vendor could not be reached, or answered with a server error, more often than patience allows."""


class CancelledError(RestError):
    """Whoever asked has stopped listening."""


def mask_key(key: str | None) -> str:
    """A key as it may be shown: its last two characters where it is long enough to spare them, else none."""
    if not key:
        return "(not set)"
    return f"…{key[-_SHOWN_CHARACTERS:]}" if len(key) >= _LONG_ENOUGH_TO_SHOW_SOME else "…"


def scrub(text: str, key: str) -> str:
    """`text` without the key, in case a server echoes it, and without any `apiKey` parameter."""
    text = re.sub(r"(?i)(api_?key=)[^&\s\"']+", r"\1***", text)
    for form in {key, quote(key, safe="")} - {""}:
        text = text.replace(form, "***")
    return text
