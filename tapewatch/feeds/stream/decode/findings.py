"""What a reader of frames finds beside rows of the hot channels: rare rows, refusals, the server's own words, counts."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

_NS_PER_S: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class StatusNote:
    """What the server said of the connection, and when it arrived (int64 ns UTC)."""

    status: str
    message: str
    received_ns: int


@dataclass
class Findings:
    """What a round of reading found beside rows of the hot kinds."""

    source: str
    events: int = 0
    others: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)
    refused: list[tuple[str, int, str, str]] = field(default_factory=list)
    statuses: list[StatusNote] = field(default_factory=list)
    unknown_events: Counter[str] = field(default_factory=Counter)
    unknown_fields: Counter[str] = field(default_factory=Counter)
    malformed_frames: list[int] = field(default_factory=list)

    def add(self, other: "Findings") -> None:
        """Take over what was found elsewhere."""
        self.events += other.events
        for name, rows in other.others.items():
            self.others.setdefault(name, []).extend(rows)
        self.refused += other.refused
        self.statuses += other.statuses
        self.unknown_events.update(other.unknown_events)
        self.unknown_fields.update(other.unknown_fields)
        self.malformed_frames += other.malformed_frames

    def refuse(self, received_ns: int, line: int, reason: str, raw: bytes) -> None:
        """Keep what could not be read, by the time it came."""
        moment = datetime.fromtimestamp(received_ns // _NS_PER_S, UTC)
        source = f"{self.source} {moment:%Y-%m-%dT%H:%M:%S}.{received_ns % _NS_PER_S:09d}Z"
        # No database keeps a NUL in a text.
        text = raw.decode(errors="backslashreplace").replace("\0", "\\x00")
        self.refused.append((source, line, reason, text))
