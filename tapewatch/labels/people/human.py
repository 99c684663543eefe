"""People's labels: what they may say, how files spell it, and what is refused."""

import csv
import datetime as dt
import hashlib
import io
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Self

import polars as pl

from tapewatch.labels.kinds import KINDS, NORMAL
from tapewatch.market.instruments import Market, Partition, session_at
from tapewatch.market.tables.live import LABELS
from tapewatch.market.tables.tape import TIME
from tapewatch.market.tickers import normalise

#: Columns of a file of labels. The first three and the kind are needed.
FIELDS: Final = ("symbol", "start", "end", "kind", "market", "author", "confidence", "note", "label_id", "created")
_NEEDED = FIELDS[:4]
_MOST_FAULTS = 10


class LabelError(ValueError):
    """A label cannot be added; the message says which, why, and what to write instead."""


@dataclass(frozen=True, slots=True)
class HumanLabel:
    """A person's verdict on one symbol from `start` to before `end` (UTC)."""

    market: Market
    symbol: str
    start: dt.datetime
    end: dt.datetime
    kind: str
    author: str
    confidence: float = 1.0
    note: str | None = None
    created: dt.datetime | None = None

    @property
    def label_id(self) -> str:
        """The same for the same author, symbol and times, so that a file imported twice adds nothing."""
        said = (self.author, self.market, self.symbol, self.start.isoformat(), self.end.isoformat())
        return hashlib.sha256("\n".join(said).encode()).hexdigest()[:12]

    @property
    def partition(self) -> Partition:
        """The market's day that holds the label.

        Raises:
            LabelError: the market is closed when it starts or at some moment until its end.
        """
        start, end = _ns(self.start), _ns(self.end)
        session = session_at(self.market, start)
        if session is None or end > session.day_end:
            reason = "is on no trading day" if session is None else f"does not end within its day, {session.date}"
            raise LabelError(f"{self}: it {reason} of {self.market}; write one label for each day")
        return Partition(session.date, self.market)

    def overlaps(self, other: Self) -> bool:
        """Whether the same author labels a part of the same stretch twice."""
        same = (self.author, self.market, self.symbol) == (other.author, other.market, other.symbol)
        return same and self.start < other.end and other.start < self.end

    def check(self, authors: Collection[str], kinds: Collection[str] = KINDS) -> None:
        """Raise a LabelError unless kind, author, confidence and times are allowed."""
        if self.kind not in kinds:
            raise LabelError(f"{self.kind!r} is no kind of anomaly: write one of {', '.join(kinds)}")
        if self.author not in authors:
            known = ", ".join(sorted(authors)) or "nobody"
            raise LabelError(
                f"{self.author!r} is no known author; known: {known}. Add the name to TAPEWATCH_LABEL_AUTHORS"
            )
        if not 0.0 <= self.confidence <= 1.0:
            raise LabelError(f"a confidence of {self.confidence:g} is none: write a number from 0 to 1")
        if self.end <= self.start:
            raise LabelError(f"{self}: it ends before it starts")

    def row(self) -> dict[str, Any]:
        """The row of `LABELS`, whose `created_time` must be set."""
        return {
            "label_id": self.label_id, "symbol": self.symbol, "start_time": self.start, "end_time": self.end,
            "kind": self.kind, "is_anomaly": self.kind != NORMAL, "note": self.note, "author": self.author,
            "confidence": self.confidence, "created_time": self.created,
        }  # fmt: skip

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Self:
        """From a row that `Database.read` gave."""
        return cls(
            Market(row["market"]), row["symbol"], row["start_time"], row["end_time"], row["kind"], row["author"],
            row["confidence"], row["note"], row["created_time"],
        )  # fmt: skip

    def __str__(self) -> str:
        """`AAPL 2024-06-03 14:31:00 to 14:35:00 (price_jump by ann)`."""
        end = f"{self.end:%H:%M:%S}" if self.end.date() == self.start.date() else f"{self.end:%Y-%m-%d %H:%M:%S}"
        return f"{self.symbol} {self.start:%Y-%m-%d %H:%M:%S} to {end} ({self.kind} by {self.author})"


def frame_of(labels: Sequence[HumanLabel], now: dt.datetime) -> pl.DataFrame:
    """A LABELS frame; those without a time of creation get `now`."""
    rows = [replace(label, created=label.created or now).row() for label in labels]
    schema = {
        **LABELS.schema,
        **{name: pl.Datetime("us", "UTC") for name, kind in LABELS.schema.items() if kind == TIME},
    }
    return LABELS.conform(pl.DataFrame(rows, schema=schema))


def read_labels(text: str, *, is_json: bool, author: str, source: str) -> list[HumanLabel]:
    """The labels of a file, CSV with a header or a JSON list of objects, with the columns `FIELDS`.

    Market, author, confidence and note may be absent: stocks, `author`, 1, and none. A `label_id` is not read: it follows
    from the rest. Times are ISO 8601; one without a zone is UTC.

    Raises:
        LabelError: the file or any line of it cannot be read; up to ten faults are named, by line (CSV) or entry (JSON).
    """
    try:
        entries = json.loads(text) if is_json else list(csv.DictReader(io.StringIO(text), restkey=""))
    except (ValueError, csv.Error) as error:
        raise LabelError(f"{source} cannot be read: {error}") from error
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise LabelError(f"{source} is no list of objects: see `tapewatch labels export` for the form")
    faults, labels = [], []
    for number, entry in enumerate(entries, start=1 if is_json else 2):
        try:
            labels.append(_label(entry, author))
        except LabelError as error:
            faults.append(f"{'entry' if is_json else 'line'} {number}: {error}")
    refuse(faults, source)
    return labels


def refuse(faults: Sequence[str], source: str) -> None:
    """Raise a LabelError with the first ten faults, if there is one."""
    if not faults:
        return
    more = f"; and {len(faults) - _MOST_FAULTS} more" if len(faults) > _MOST_FAULTS else ""
    listed = "; ".join(faults[:_MOST_FAULTS])
    raise LabelError(f"{source} has {len(faults)} fault(s), nothing was added: {listed}{more}")


def among_themselves(labels: Sequence[HumanLabel]) -> Iterator[tuple[HumanLabel, HumanLabel]]:
    """Pairs of different labels of one author that overlap."""
    ordered = sorted(labels, key=lambda label: (label.author, label.market, label.symbol, label.start))
    widest: HumanLabel | None = None
    for label in ordered:
        if widest is not None and widest.overlaps(label):
            yield widest, label
        if widest is None or not widest.overlaps(label) or label.end > widest.end:
            widest = label


def _label(entry: Mapping[str, Any], author: str) -> HumanLabel:
    unknown = [str(name) or "a value too many" for name in entry if name not in FIELDS]
    missing = [name for name in _NEEDED if not str(entry.get(name) or "").strip()]
    if missing or unknown:
        what = f"lacks {', '.join(missing)}" if missing else f"has {', '.join(unknown)}, which is no column"
        raise LabelError(f"it {what}; the columns are {', '.join(FIELDS)}")
    said = {name: str(value).strip() for name, value in entry.items() if value is not None and str(value).strip()}
    try:
        market = Market(said.get("market", Market.STOCKS))
        symbol, confidence = normalise(said["symbol"], market), float(said.get("confidence", 1.0))
    except ValueError as error:
        raise LabelError(str(error)) from error
    created = time_of(said["created"]) if "created" in said else None
    start, end, by = time_of(said["start"]), time_of(said["end"]), said.get("author", author)
    return HumanLabel(market, symbol, start, end, said["kind"], by, confidence, said.get("note"), created)


def time_of(text: str) -> dt.datetime:
    """A time in ISO 8601, UTC unless it has a zone. Raises LabelError."""
    try:
        time = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise LabelError(f"{text!r} is no time: write it as 2024-06-03T14:31:00Z") from error
    return time.replace(tzinfo=dt.UTC) if time.tzinfo is None else time.astimezone(dt.UTC)


def _ns(time: dt.datetime) -> int:
    return (time - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1) * 1_000
