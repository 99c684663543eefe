"""The operational database as a Dagster resource."""

import dagster as dg

from tapewatch.store.database.database import Database


class DatabaseResource(dg.ConfigurableResource):
    """SQLite by default, PostgreSQL by URL."""

    url: str

    def open(self) -> Database:
        """The database, its schema upgraded."""
        return Database(self.url)
