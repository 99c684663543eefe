"""One PostgreSQL for all tests of a worker; each test takes an empty database in it."""

from collections.abc import Iterator

import pytest

from tests.support.postgres import PostgresServer, postgres_server


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as running:
        yield running


@pytest.fixture(autouse=True)
def _new_databases() -> None:
    """Every database is made by the revisions of its schema."""
