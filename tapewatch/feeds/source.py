"""The interface of every source of the tape (`TapeSource`): REST and flat files implement it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import polars as pl

from tapewatch.market.instruments import Partition, Session, session_of
from tapewatch.market.tables.tape import QUARANTINE

_FRIDAY: Final = 5


class SourceError(RuntimeError):
    """A source cannot deliver; the message names the thing, the value and the way out."""


class MissingDayError(SourceError):
    """The source holds nothing of a market's day; other days may be there. The message names what was expected."""


def session_of_partition(partition: Partition) -> Session:
    """The hours of a market day.

    Raises:
        SourceError: the market does not trade that day.
    """
    date, session = partition.date, session_of(partition.market, partition.date)
    if session is None:
        why = f"{date:%A}" if date.isoweekday() > _FRIDAY else f"{date:%A}, a holiday"
        raise SourceError(f"{date} is no trading day for {partition.market} ({why})")
    return session


@dataclass
class Load:
    """One table of one partition: iterating it fetches the rows, one frame in memory at a time.

    Frames have the table's schema and are sorted; symbols ascend from frame to frame. The counters are final once the last
    frame was taken: `source_rows` = rows delivered + `duplicates` + quarantined rows.
    """

    frames: Iterator[pl.DataFrame]
    source_rows: int = 0
    duplicates: int = 0
    quarantined: list[pl.DataFrame] = field(default_factory=list)
    #: Sentences for the user, such as which symbols have no rows.
    notices: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[pl.DataFrame]:
        return self.frames

    @property
    def quarantine(self) -> pl.DataFrame:
        """The rows refused so far, as the `quarantine` table."""
        return pl.concat(self.quarantined) if self.quarantined else QUARANTINE.empty()


class TapeSource(Protocol):
    """Delivers the tables of a market's day. Every method raises `SourceError` where it cannot."""

    @property
    def name(self) -> str:
        """The source's name in reports: `rest`, `flat-files`."""

    def trades(self, partition: Partition, symbols: Sequence[str] | None = None) -> Load:
        """The day's trades (`TRADES`) of `symbols`, None for all; no frames where the source has none of that market and day."""

    def quotes(self, partition: Partition, symbols: Sequence[str] | None = None) -> Load:
        """The day's quotes (`QUOTES`), as `trades`."""

    def bars(self, partition: Partition, symbols: Sequence[str] | None = None) -> Load:
        """The day's minute bars as delivered (`DELIVERED_BARS`), as `trades`."""

    def truth(self, partition: Partition, symbols: Sequence[str] | None = None) -> pl.DataFrame | None:
        """The labelled anomalies of the tape (symbol, event_id, kind, start_time, end_time); None where it has no labels."""
