"""Where the dashboard reads and writes: this deployment's settings, lake and database, opened once a process."""

from functools import lru_cache

from dashboard.dossiers.process import DossierProcess
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


@lru_cache(maxsize=1)
def dossiers() -> DossierProcess:
    """What builds dossiers of alerts."""
    return DossierProcess()


def close() -> None:
    """End what was opened; it is opened again when it is asked for."""
    if dossiers.cache_info().currsize:
        dossiers().close()
    if database.cache_info().currsize:
        database().close()
    for place in (settings, lake, database, histories, dossiers):
        place.cache_clear()
