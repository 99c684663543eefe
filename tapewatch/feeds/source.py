"""What a source of the tape offers, whichever channel stands behind it.

The rest of the platform asks a `TapeSource` and never learns whether REST or flat files answered.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import polars as pl

from tapewatch.market.instruments import Partition
from tapewatch.market.tables import QUARANTINE


class SourceError(RuntimeError):
    """A source cannot deliver; the message names the thing, the value and the way out."""


@dataclass
class Load:
    """One table of one partition, on its way in.

    Iterate it for frames of the table's schema, each sorted, symbols ascending throughout, memory for one frame at a
    time. The counters are final once it is exhausted: `source_rows` = rows delivered + `duplicates` + quarantined rows.
    """

    frames: Iterator[pl.DataFrame]
    source_rows: int = 0
    duplicates: int = 0
    quarantined: list[pl.DataFrame] = field(default_factory=list)
    #: What a person should know and no row tells, one sentence each: a symbol that has no rows.
    notices: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[pl.DataFrame]:
        return self.frames

    @property
    def quarantine(self) -> pl.DataFrame:
        """The rows refused so far, as the `quarantine` table."""
        return pl.concat(self.quarantined) if self.quarantined else QUARANTINE.empty()


class TapeSource(Protocol):
    """A channel that delivers a market's day. Every method raises `SourceError` where it cannot."""

    @property
    def name(self) -> str:
        """How reports name the source: `rest`, `flat-files`."""

    def trades(self, partition: Partition, symbols: Sequence[str] | None = None) -> Load:
        """The day's trades (`TRADES`); None for all symbols, where the channel can list them. No frames where the
        market's channel has none for that day."""

    def quotes(self, partition: Partition, symbols: Sequence[str] | None = None) -> Load:
        """The day's quotes (`QUOTES`); no frames where the market's channel has none."""

    def bars(self, partition: Partition, symbols: Sequence[str] | None = None) -> Load:
        """The day's minute bars as delivered (`DELIVERED_BARS`)."""

    def truth(self, partition: Partition, symbols: Sequence[str] | None = None) -> pl.DataFrame | None:
        """The anomalies that the source knows to be in its tape (symbol, event_id, kind, start_time, end_time); None
        where it knows of none and never will."""
