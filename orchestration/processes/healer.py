"""The healer of gaps as a process: `python -m orchestration.processes.healer`."""

import logging
import sys

from orchestration.errors import expected
from orchestration.processes.collectors import EXIT_FINAL
from orchestration.processes.healing import EVERY_S, healer_of
from orchestration.processes.logs import start_log
from orchestration.processes.supervision import stop_signals
from tapewatch.feeds.source import SourceError
from tapewatch.settings import Settings
from tapewatch.store.database.database import Database

_log = logging.getLogger(__name__)


def main() -> int:
    """Heal until SIGINT or SIGTERM; returns the exit code, 78 if only another setting helps."""
    start_log("healer")
    settings = Settings()
    try:
        with stop_signals() as stop, Database(settings.database) as database:
            healer = healer_of(settings, database)
            _log.info("healing, every %.0f s", EVERY_S)
            healer.run(stop, every_s=EVERY_S)
    except expected() as error:
        _log.error("%s", error)
        return EXIT_FINAL if isinstance(error, SourceError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
