"""Opens lake, database and registry once, and builds one dossier after the other."""

import logging
import time
from contextlib import suppress
from functools import cache
from typing import Final

from dashboard.dossiers.registry import GoneError, Registry
from models.base import CHAMPIONS_OF_MINUTES, DetectorError
from tapewatch.market.tables.derived import INCIDENTS
from tapewatch.market.tables.tape import ANOMALIES
from tapewatch.reports.dossier.dossier import Dossier, Dossiers
from tapewatch.settings import Settings
from tapewatch.store.database.database import Database, DatabaseError
from tapewatch.store.database.people.verdicts import VerdictError, anomaly_id, incident_id
from tapewatch.store.lake.lake import Lake, LakeError

#: New patterns and champions count after so long. Detectors stay loaded: a version does not change.
_RENEW_S: Final = 120.0
#: Errors whose message is for people.
_EXPECTED = (GoneError, LakeError, VerdictError, DatabaseError, DetectorError)
_log = logging.getLogger(__name__)


class Worker:
    """Builds dossiers of a deployment's events."""

    def __init__(self, settings: Settings) -> None:
        self._lake, self._database = Lake(settings.lake_root), Database(settings.database)
        self._registry = Registry(settings.tracking_uri)
        self._load, self._load_scan = cache(self._registry.detector), cache(self._registry.scan)
        self._opened, self._since = self._open(), time.monotonic()

    def dossier(self, alert_id: str) -> Dossier:
        """The dossier of an event. Raises as `Dossiers.of`, and a GoneError."""
        if time.monotonic() - self._since > _RENEW_S:
            self._opened, self._since = self._open(), time.monotonic()
        return self._opened.of(alert_id)

    def warm(self) -> None:
        """Build the dossiers of the newest anomaly and incident, so that the first that a person opens finds all loaded."""
        for table, identity in ((ANOMALIES, anomaly_id), (INCIDENTS, incident_id)):
            for row in self._database.read(table, newest_first=True, limit=1).iter_rows(named=True):
                with suppress(*_EXPECTED):
                    self.dossier(identity(row["market"], row["symbol"], row["start_time"]))

    def _open(self) -> Dossiers:
        champion = self._registry.first_champion(*CHAMPIONS_OF_MINUTES)
        return Dossiers(self._lake, self._database, self._load, self._load_scan, champion)


def reason_of(error: Exception) -> str:
    """What a page may show of an error; an unexpected one is logged whole."""
    if isinstance(error, _EXPECTED):
        return str(error)
    _log.error("a dossier failed", exc_info=error)
    return f"{type(error).__name__}: the log of the dashboard holds the rest"
