"""The live tapes of the current days: one for each session, so two around midnight."""

import datetime as dt
from collections.abc import Callable, Iterator, Sequence

import polars as pl

from tapewatch.bars.information.live import LiveInformationBars
from tapewatch.market.instruments import NS_PER_MINUTE, Market, Partition, Session
from tapewatch.market.tables.features import MARKET_MICROSTRUCTURE
from tapewatch.store.spool.files import market_days
from tapewatch.streaming.live.families import LiveFamilies
from tapewatch.streaming.live.market_minutes import LiveMarketMinutes
from tapewatch.streaming.live.tape import HORIZON_MINUTES, LiveRows, LiveTape

#: A day may begin and end this long before the tape's clock reaches it.
_EARLY_NS = NS_PER_MINUTE
_HORIZON_NS = HORIZON_MINUTES * NS_PER_MINUTE

DayRows = tuple[Partition, LiveRows]
#: What computes a day's rows of further tables.
FamiliesOf = Callable[[Session], LiveFamilies]
#: What builds a day's bars of other clocks, given those of the newest day before that this process has built.
Information = Callable[[Session, LiveInformationBars | None], LiveInformationBars | None]


class DayTapes:
    """One market's live tapes by day.

    A day opens with the first row that arrives while the tape's clock is in it, and closes a horizon of revisions after
    its end. Rows of other days are counted and left to ingest. `symbols` have rows even without ticks; `families` makes what
    computes the rows of further tables, `information` what builds bars of other clocks.
    """

    def __init__(
        self,
        market: Market,
        symbols: Sequence[str] = (),
        families: FamiliesOf | None = None,
        information: Information | None = None,
    ) -> None:
        self._market = market
        self._symbols = symbols
        self._families, self._information = families, information
        self._newest_information: LiveInformationBars | None = None
        #: Start of watching, for a tape that was already under way: earlier minutes may not count as silent.
        self.watched_from_ns: int | None = None
        self._tapes: dict[dt.date, tuple[Session, LiveTape]] = {}
        #: The day that closed last: its last minutes are scored after its end.
        self._closed: dict[dt.date, LiveMarketMinutes] = {}
        self._too_late_before = 0
        self.off_day_rows = 0

    def resume(self, session: Session, tape: LiveTape) -> None:
        """Continue a day that an earlier process began."""
        self._tapes[session.date] = session, tape
        self._newest_information = tape.information

    @property
    def too_late_rows(self) -> int:
        """Rows that arrived after the horizon of revisions."""
        # Other threads read this while days open and close.
        return self._too_late_before + sum(tape.too_late for _, tape in list(self._tapes.values()))

    def push(self, trades: pl.DataFrame, quotes: pl.DataFrame, now_ns: int) -> None:
        """Add rows to their days. `now_ns` is the tape's present, which decides which days are open."""
        trades_by_day, quotes_by_day = (dict(market_days(frame, self._market)) for frame in (trades, quotes))
        for day in trades_by_day | quotes_by_day:
            own_trades, own_quotes = trades_by_day.get(day), quotes_by_day.get(day)
            tape = None if day is None else self._tape(day, now_ns)
            if tape is None:
                self.off_day_rows += sum(frame.height for frame in (own_trades, own_quotes) if frame is not None)
            else:
                tape.push(own_trades, own_quotes)

    def advance(self, through_ns: int) -> Iterator[DayRows]:
        """The rows complete up to a time, day by day; days that ended more than a horizon before are closed."""
        for day, (session, tape) in sorted(self._tapes.items()):
            partition = Partition(day, self._market)
            yield partition, tape.advance(min(through_ns, session.day_end))
            if through_ns >= session.day_end + _HORIZON_NS:
                yield from self._close(day)

    def close(self, now_ns: int) -> Iterator[DayRows]:
        """Close the days whose sessions are over at `now_ns`, and return the complete rows of the others."""
        for day, (session, tape) in sorted(self._tapes.items()):
            if now_ns >= session.regular_end - _EARLY_NS:
                yield from self._close(day)
            else:
                yield Partition(day, self._market), tape.advance(now_ns)

    def score(self, partition: Partition, scores: pl.DataFrame) -> pl.DataFrame:
        """The rows of `market_microstructure` that change by scores of a day; none of a day that is long over."""
        days = {day: tape.market_minutes for day, (_, tape) in self._tapes.items()}
        minutes = days.get(partition.date, self._closed.get(partition.date))
        return MARKET_MICROSTRUCTURE.empty() if minutes is None else minutes.score(scores)

    def _close(self, day: dt.date) -> Iterator[DayRows]:
        _, tape = self._tapes.pop(day)
        rows = tape.close()
        self._too_late_before += tape.too_late
        self._closed = {day: tape.market_minutes}
        yield Partition(day, self._market), rows

    def _tape(self, day: dt.date, now_ns: int) -> LiveTape | None:
        if day in self._tapes:
            return self._tapes[day][1]
        session = Partition(day, self._market).session
        if not session.day_start - _EARLY_NS <= now_ns < session.day_end:
            return None
        begun = self.watched_from_ns
        is_late = begun is not None and session.day_start < begun < session.day_end
        emit_from = begun // NS_PER_MINUTE * NS_PER_MINUTE if begun and is_late else None
        families = self._families(session) if self._families is not None else None
        if self._information is not None:
            self._newest_information = self._information(session, self._newest_information)
        tape = LiveTape(
            session,
            symbols=self._symbols,
            emit_from_ns=emit_from,
            families=families,
            information=self._newest_information,
        )
        self._tapes[day] = session, tape
        return tape
