"""The service's log: a JSON object a line on standard output, without any payload. It serves as access and audit log.

docs/design/logs.md has the fields.
"""

import datetime as dt
import sys
import threading
import traceback
from typing import TextIO

import msgspec

_encode = msgspec.json.Encoder().encode
#: What is not news: kept for `flush`, since a line for each request would delay every answer.
_ROUTINE = 200
_MOST_KEPT = 10_000
_FAULT = 500
_LEVELS = {
    "defect": "error",
    "error": "error",
    "keys-unread": "warning",
    "swap-refused": "warning",
    "shadow-refused": "warning",
}


class Log:
    """Writes one line an event; safe to share between threads.

    With `is_quiet` successful requests for a score or a page are left out; else they are written by the next `flush`, or before the
    next other line.
    """

    #: Seconds between flushes.
    SECONDS = 0.1

    def __init__(self, stream: TextIO | None = None, *, is_quiet: bool = False) -> None:
        self._stream, self.is_quiet = stream, is_quiet
        self._kept: list[dict[str, object]] = []
        self._lock = threading.Lock()

    def wants(self, status: int, path: str) -> bool:
        """Whether a request is logged. Changes are always."""
        return not self.is_quiet or status != _ROUTINE or path == "/feedback"

    def request(self, facts: dict[str, object]) -> None:
        """A request that was answered: who, what, with which status and how fast."""
        line = _line("request", facts)
        if facts["status"] == _ROUTINE and facts["path"] != "/feedback" and len(self._kept) < _MOST_KEPT:
            self._kept.append(line)
        else:
            self._write([line])

    def failure(self, request_id: str, error: BaseException) -> None:
        """A defect, with its traceback."""
        self.write("defect", request_id=request_id, traceback="".join(traceback.format_exception(error)))

    def write(self, event: str, **facts: object) -> None:
        """One line."""
        self._write([_line(event, facts)])

    @property
    def waits(self) -> bool:
        """Whether requests wait to be written."""
        return bool(self._kept)

    def flush(self) -> None:
        """Write the requests that wait."""
        self._write([])

    def _write(self, lines: list[dict[str, object]]) -> None:
        with self._lock:
            kept, self._kept = self._kept, []
            text = b"".join(_encode(line) + b"\n" for line in (*kept, *lines)).decode()
            stream = self._stream or sys.stdout
            stream.write(text)
            stream.flush()


def _line(event: str, facts: dict[str, object]) -> dict[str, object]:
    status = facts.get("status")
    is_fault = isinstance(status, int) and status >= _FAULT
    level = _LEVELS.get(event, "error" if is_fault else "info")
    return {"time": dt.datetime.now(dt.UTC), "level": level, "service": "scoring", "event": event, **facts}
