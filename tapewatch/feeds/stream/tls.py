"""TLS of a WebSocket address."""

import ssl

from tapewatch.feeds.source import SourceError
from tapewatch.network import NetworkError, authorities


def trusted_by(url: str) -> ssl.SSLContext | None:
    """The TLS settings for a WebSocket address, with the authorities of the environment; None for `ws://`.

    Raises:
        SourceError: the environment names a file that does not exist.
    """
    try:
        return ssl.create_default_context(cafile=authorities()) if url.startswith("wss://") else None
    except (NetworkError, ssl.SSLError) as error:
        raise SourceError(str(error)) from error
