"""The healer of gaps, also as a process: `python -m orchestration.processes.healer`."""

import logging
import signal
import sys

from orchestration.errors import is_expected
from orchestration.processes.collectors import exit_finally
from orchestration.processes.logs import start_log
from resources.interrupts import handling
from tapewatch.feeds.files.source import FlatFileSource
from tapewatch.feeds.ranges import FlatFileRanges, RecordSource, RestRanges
from tapewatch.feeds.source import SourceError
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.tape import QUOTES, TRADES
from tapewatch.market.tickers import normalise
from tapewatch.settings import Settings
from tapewatch.store.database.database import Database
from tapewatch.store.lake.lake import Lake
from tapewatch.streaming.gaps.healer import Healer
from tapewatch.streaming.stop import Stop

_EVERY_S = 30.0
_log = logging.getLogger(__name__)


def healer_of(settings: Settings, database: Database) -> Healer:
    """A healer that reads from REST first, then from flat files, as far as each is configured.

    Raises:
        SourceError: neither is configured.
    """
    sources: list[RecordSource] = []
    if settings.polygon_api_key is not None:
        tiers = {market: settings.plan(market) for market in Market}
        key = settings.polygon_api_key.get_secret_value()
        sources.append(RestRanges(settings.polygon_base_url, key, tiers, plans_file=settings.plans_file))
    if settings.flat_files:
        sources.append(FlatFileRanges(FlatFileSource(settings.flat_files)))
    if not sources:
        raise SourceError("no source for the missing rows: set POLYGON_API_KEY, or TAPEWATCH_FLAT_FILES to a folder")
    lake = Lake(settings.lake_root)
    return Healer(database, sources, settings.spool_root, lambda partition: _symbols(settings, lake, partition), lake)


def _symbols(settings: Settings, lake: Lake, partition: Partition) -> list[str]:
    """The watched symbols, and those in the lake's day: a stream may have collected others."""
    found = {normalise(symbol, partition.market) for symbol in settings.symbols(partition.market)}
    for table in (TRADES, QUOTES):
        if lake.exists(table, partition):
            found.update(lake.symbols(table, partition))
    return sorted(found)


class _StoppedError(BaseException):
    """SIGINT or SIGTERM arrived. A gap that is being filled may be left at any point: the next healer fills it again."""


def _stop(*_: object) -> None:
    # A second signal must not interrupt the way out.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise _StoppedError


def main() -> int:
    """Heal until SIGINT or SIGTERM, at once even amid a call; returns the exit code, 78 if only another setting helps."""
    settings = Settings()
    start_log("healer", settings)
    try:
        with handling(_stop, signal.SIGINT, signal.SIGTERM), Database(settings.database) as database:
            healer = healer_of(settings, database)
            _log.info("healing, every %.0f s", _EVERY_S)
            healer.run(Stop(), every_s=_EVERY_S)
    except _StoppedError:
        _log.info("stopped")
    except Exception as error:
        if not is_expected(error):
            raise
        _log.error("%s", error)
        return exit_finally() if isinstance(error, SourceError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
