"""The open bars of other clocks at a day's start: those of the lake, continued through days that the lake has no bars of yet."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from tapewatch.bars.information.clocks import Clock
from tapewatch.bars.information.live import LiveInformationBars
from tapewatch.market.instruments import Partition, Session
from tapewatch.market.tables.derived import INFORMATION_STATES
from tapewatch.market.tables.stream import STREAM_TRADES
from tapewatch.market.tables.tape import TRADES
from tapewatch.store.lake.lake import Lake, LakeError
from tapewatch.store.spool.files import market_files
from tapewatch.streaming.live.arrivals import Arrivals
from tapewatch.streaming.live.playback import tape_of
from tapewatch.streaming.live.tick_buffer import TradeBuffer

_log = logging.getLogger(__name__)
#: Trades of earlier days to count at most, and their days: more would delay the stream.
_MOST_TRADES: Final = 8_000_000
_MOST_DAYS: Final = 5


@dataclass(frozen=True, slots=True)
class OpenBars:
    """Finds the open bars at the start of a market's days; `spool_root` and `lake` hold the days before."""

    spool_root: Path
    lake: Lake | None
    clocks: Sequence[Clock]

    def live(self, session: Session, before: LiveInformationBars | None = None) -> LiveInformationBars | None:
        """What builds a day's bars; None without clocks.

        They continue from the newest states in the lake. Days since then are counted from their trades; `before`, the newest
        day that this process has built, stands for itself and all before it. What cannot be read is logged and left out: bars
        then begin anew.
        """
        if not self.clocks:
            return None
        try:
            newest, states = self._newest(session)
            if before is not None and (newest is None or newest.date < before.session.date):
                return LiveInformationBars(session, self.clocks, states=before.states(), before=before)
            return LiveInformationBars(session, self.clocks, states=self._continued(session, newest, states))
        except LakeError as error:
            _log.warning("the bars of other clocks begin anew: %s", error)
            return LiveInformationBars(session, self.clocks)

    def _newest(self, session: Session) -> tuple[Partition | None, pl.DataFrame]:
        days = [] if self.lake is None else self.lake.partitions(INFORMATION_STATES, session.market)
        earlier = [day for day in days if day.date < session.date]
        if self.lake is None or not earlier:
            return None, INFORMATION_STATES.empty()
        return earlier[-1], self.lake.read(INFORMATION_STATES, earlier[-1])

    def _continued(self, session: Session, newest: Partition | None, states: pl.DataFrame) -> pl.DataFrame:
        spooled = market_files(self.spool_root / session.market.value)
        merged = [] if self.lake is None else [day.date for day in self.lake.partitions(TRADES, session.market)]
        since = sorted(day for day in {*spooled, *merged} if day < session.date and (not newest or day > newest.date))
        if len(since) > _MOST_DAYS:
            text = "%s: the bars of other clocks do not continue those before %s: materialise tape/information_bars"
            _log.warning(text, session.market, since[-_MOST_DAYS])
        for date in since[-_MOST_DAYS:]:
            day = Partition(date, session.market)
            trades = tape_of(STREAM_TRADES, TRADES, day, self.spool_root, self.lake)
            if trades.height > _MOST_TRADES:
                _log.warning("%s: %d trades are too many to continue the bars of other clocks", day, trades.height)
            elif trades.height:
                states = counted(day.session, trades, self.clocks, states)
        return states


def counted(session: Session, trades: pl.DataFrame, clocks: Sequence[Clock], states: pl.DataFrame) -> pl.DataFrame:
    """`INFORMATION_STATES` after a day's `STREAM_TRADES`, by time, from those at its start."""
    arrivals, buffer = Arrivals(session), TradeBuffer()
    columns, _ = arrivals.trades(trades)
    buffer.add(columns)
    names = arrivals.symbols.names
    buffer.settle(len(names))
    bars = LiveInformationBars(session, clocks, states=states)
    bars.begin(names)
    bars.pass_minute(session.day_start, buffer.flat(), session.day_end)
    return bars.states()
