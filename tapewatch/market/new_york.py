"""The sessions of the New York Stock Exchange, computed by exchange_calendars once a day and kept on disk.

With its imports, the library takes more than a second to compute them, which every process would spend anew.
"""

import datetime as dt
import os
from array import array
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

#: The first session of which the hours are known.
FIRST = dt.date(1990, 1, 2)
_KEPT = Path(__file__).parents[1] / "__pycache__" / "new_york_sessions"


@lru_cache(maxsize=1)
def sessions() -> dict[dt.date, tuple[int, int]]:
    """Opening and close of every session from 1990 to a year ahead, as int64 nanoseconds UTC, in order of their dates."""
    # The library's calendar ends a year after the day on which it is made. Another version may correct it.
    today = dt.datetime.now().astimezone().date()
    made_of = f"{today} {version('exchange_calendars')} {version('pandas')}".encode()
    with suppress(OSError, ValueError):
        return _read(made_of)
    import exchange_calendars  # noqa: PLC0415 - with pandas half a second

    calendar = exchange_calendars.get_calendar("XNYS", start=str(FIRST))
    days = [day.toordinal() for day in calendar.sessions.date]
    rows = array("q", days + calendar.opens_nanos.tolist() + calendar.closes_nanos.tolist())
    with suppress(OSError):  # a read-only installation computes them each time
        _write(made_of, rows)
    return _by_date(rows)


def _read(made_of: bytes) -> dict[dt.date, tuple[int, int]]:
    head, _, body = _KEPT.read_bytes().partition(b"\n")
    if head != made_of:
        raise ValueError("made on another day, or by another version")
    rows = array("q")
    rows.frombytes(body)
    return _by_date(rows)


def _write(made_of: bytes, rows: "array[int]") -> None:
    _KEPT.parent.mkdir(exist_ok=True)
    # Renamed once it is whole: other processes read it meanwhile.
    staged = _KEPT.with_name(f"{_KEPT.name}.{os.getpid()}")
    staged.write_bytes(made_of + b"\n" + rows.tobytes())
    staged.replace(_KEPT)


def _by_date(rows: "array[int]") -> dict[dt.date, tuple[int, int]]:
    """From all ordinals of days, then all openings, then all closes."""
    days = len(rows) // 3
    hours = zip(rows[days : 2 * days], rows[2 * days :], strict=True)
    return dict(zip(map(dt.date.fromordinal, rows[:days]), hours, strict=True))
