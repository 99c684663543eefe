"""Where the dashboard reads and writes: this deployment's settings, lake and database, opened once a process."""

from functools import lru_cache

from dashboard.reading.history import Histories
from tapewatch.settings import Settings
from tapewatch.store.database.database import Database
from tapewatch.store.lake.lake import Lake


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The settings as they were when the process first read them."""
    return Settings()


@lru_cache(maxsize=1)
def lake() -> Lake:
    return Lake(settings().lake_root)


@lru_cache(maxsize=1)
def database() -> Database:
    return Database(settings().database)


@lru_cache(maxsize=1)
def histories() -> Histories:
    """The bars that charts show, kept in memory within a bound."""
    return Histories(lake(), database())
