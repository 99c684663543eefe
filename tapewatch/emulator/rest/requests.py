"""A request's symbol, its cursor, and the address of its next page."""

import base64
import binascii
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request

from tapewatch.emulator.vendor import replies
from tapewatch.market.instruments import market_of
from tapewatch.market.tickers import from_vendor


def symbol_of(ticker: str) -> str:
    """A ticker in this platform's spelling; a ticker that no market has stays unchanged."""
    try:
        return from_vendor(ticker, market_of(ticker))
    except ValueError:
        return ticker


def cursor_of(fields: Mapping[str, object]) -> str:
    """Parameters as opaque text that is safe in a URL; None is left out."""
    text = urlencode({name: value for name, value in fields.items() if value is not None})
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def resumed(query: Mapping[str, str]) -> dict[str, str]:
    """A request's parameters, or those encoded in its cursor.

    Raises:
        Refusal: 400 for a cursor that this server did not make.
    """
    cursor = query.get("cursor")
    if not cursor:
        return dict(query)
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        return dict(parse_qsl(text, strict_parsing=True))
    except (ValueError, binascii.Error):
        raise replies.bad_request("cursor: not one of this server's") from None


def next_url(request: Request, path: str, cursor: str) -> str:
    """The next page's address, without the key, as the vendor writes it."""
    return f"{str(request.base_url).rstrip('/')}{path}?cursor={cursor}"
