"""The service's log: a JSON object a line on standard output, without any payload. It serves as access and audit log."""

import datetime as dt
import sys
import traceback
from typing import TextIO

import msgspec

_encode = msgspec.json.Encoder().encode


class Log:
    """Writes one line an event. With `is_quiet` successful requests for a score or a page are left out."""

    def __init__(self, stream: TextIO | None = None, *, is_quiet: bool = False) -> None:
        self._stream, self._is_quiet = stream, is_quiet

    def request(self, facts: dict[str, object]) -> None:
        """A request that was answered: who, what, with which status and how fast. Changes are logged always."""
        if self._is_quiet and facts["status"] == 200 and facts["path"] != "/feedback":
            return
        self.write("request", **facts)

    def failure(self, request_id: str, error: BaseException) -> None:
        """A defect, with its traceback."""
        self.write("defect", request_id=request_id, traceback="".join(traceback.format_exception(error)))

    def write(self, event: str, **facts: object) -> None:
        """One line."""
        stream = self._stream or sys.stdout
        line = _encode({"time": dt.datetime.now(dt.UTC), "event": event, **facts}).decode()
        stream.write(line + "\n")
        stream.flush()
