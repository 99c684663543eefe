"""Checks that the vendor's server can be reached, before many calls that would each wait for it."""

import socket
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

from tapewatch.feeds.errors import UnavailableError
from tapewatch.network import NetworkError, proxy_of

_PORTS = {"http": 80, "https": 443}
_TIMEOUT_S = 5.0
_EXAMPLE = "https://api.polygon.io"


def expect_listener(base_url: str, *, waits_s: Sequence[float] = ()) -> None:
    """Return once a connection to `base_url`, or to the proxy before it, succeeds: at once, or after one of `waits_s`.

    Raises:
        UnavailableError: no connection succeeded. The message names the address, the reason and the way out.
    """
    try:
        proxy = proxy_of(base_url)
        parts = urlsplit(proxy or base_url)
        address = (parts.hostname or "", parts.port or _PORTS[parts.scheme])
    except (KeyError, ValueError) as error:
        raise UnavailableError(f"POLYGON_BASE_URL is {base_url!r}: set it to an address such as {_EXAMPLE}") from error
    except NetworkError as error:
        raise UnavailableError(str(error)) from error
    what = f"the proxy of {base_url}" if proxy else "the vendor"
    waits = list(waits_s)
    while True:
        try:
            with socket.create_connection(address, _TIMEOUT_S):
                return
        except OSError as error:
            if not waits:
                why = error.strerror or str(error)
                raise UnavailableError(
                    f"{what} cannot be reached at {parts.scheme}://{parts.netloc.rpartition('@')[2]} ({why}): check the network "
                    f"and {f'{parts.scheme.upper()}_PROXY' if proxy else 'POLYGON_BASE_URL'}, or use --flat-files"
                ) from error
        time.sleep(waits.pop(0))
