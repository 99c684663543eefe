"""The log of a supervised process, kept in TAPEWATCH_HOME/logs: lines of text, or JSON objects (docs/design/logs.md)."""

import datetime as dt
import logging
import sys
import time

import msgspec

from tapewatch.masking import masked
from tapewatch.settings import Settings


class LogLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line as JSON. `logger` is the module that wrote it; `exception` is a traceback."""

    time: dt.datetime
    level: str
    service: str
    message: str
    logger: str
    exception: str = ""


class _Masking(logging.Formatter):
    """Hides the passwords of addresses, in tracebacks too."""

    def format(self, record: logging.LogRecord) -> str:
        return masked(super().format(record))


class _Json(logging.Formatter):
    """A `LogLine` a record, masked as the text is."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        at = dt.datetime.fromtimestamp(record.created, dt.UTC)
        exception = masked(self.formatException(record.exc_info)) if record.exc_info else ""
        line = LogLine(at, record.levelname.lower(), self._service, masked(record.getMessage()), record.name, exception)
        return msgspec.json.encode(line).decode()


def start_log(name: str, settings: Settings) -> None:
    """Log to standard output, a line per event, in the format of `settings`: time in UTC, level, `name`, message."""
    formatter: logging.Formatter = _Json(name)
    if settings.log_format == "text":
        formatter = _Masking(f"%(asctime)s.%(msecs)03dZ %(levelname)-8s {name}: %(message)s", "%Y-%m-%dT%H:%M:%S")
        formatter.converter = time.gmtime
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for library in ("httpx", "httpcore", "urllib3", "alembic", "sqlalchemy", "numba", "pyrate_limiter"):
        logging.getLogger(library).setLevel(logging.WARNING)
