"""The log of a supervised process, kept in TAPEWATCH_HOME/logs."""

import logging
import sys
import time

from tapewatch.masking import masked


class _Masking(logging.Formatter):
    """Hides the passwords of addresses, in tracebacks too."""

    def format(self, record: logging.LogRecord) -> str:
        return masked(super().format(record))


def start_log(name: str) -> None:
    """Log to standard output, a line per event: time in UTC, level, `name`, message."""
    formatter = _Masking(f"%(asctime)s.%(msecs)03dZ %(levelname)-8s {name}: %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for library in ("httpx", "httpcore", "urllib3", "alembic", "sqlalchemy", "numba", "pyrate_limiter"):
        logging.getLogger(library).setLevel(logging.WARNING)
