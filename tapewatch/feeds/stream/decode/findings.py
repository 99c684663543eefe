"""Results of reading frames beside the rows of the frequent channels: rare rows, refusals, statuses, counts."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tapewatch.market.instruments import NS_PER_SECOND


@dataclass(frozen=True, slots=True)
class StatusNote:
    """A message of the server about the connection, and when it arrived (int64 ns UTC)."""

    status: str
    message: str
    received_ns: int


@dataclass
class Findings:
    """Results of one round of reading, with the meaning that they have in `StreamBatch`."""

    source: str
    events: int = 0
    others: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)
    refused: list[tuple[str, int, str, str]] = field(default_factory=list)
    statuses: list[StatusNote] = field(default_factory=list)
    unknown_events: Counter[str] = field(default_factory=Counter)
    unknown_fields: Counter[str] = field(default_factory=Counter)
    malformed_frames: list[int] = field(default_factory=list)

    def add(self, other: "Findings") -> None:
        """Append other findings."""
        self.events += other.events
        for name, rows in other.others.items():
            self.others.setdefault(name, []).extend(rows)
        self.refused += other.refused
        self.statuses += other.statuses
        self.unknown_events.update(other.unknown_events)
        self.unknown_fields.update(other.unknown_fields)
        self.malformed_frames += other.malformed_frames

    def refuse(self, received_ns: int, line: int, reason: str, raw: bytes) -> None:
        """Add what could not be read, with its time of receipt."""
        received = datetime.fromtimestamp(received_ns // NS_PER_SECOND, UTC)
        source = f"{self.source} {received:%Y-%m-%dT%H:%M:%S}.{received_ns % NS_PER_SECOND:09d}Z"
        # Databases do not store a NUL in a text.
        text = raw.decode(errors="backslashreplace").replace("\0", "\\x00")
        self.refused.append((source, line, reason, text))
