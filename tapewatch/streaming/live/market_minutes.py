"""`MARKET_MICROSTRUCTURE` rows of a day under way, revised when bars, rows or scores change."""

import numpy as np
import polars as pl

from tapewatch.features.families.indicators import close_indicators
from tapewatch.features.market_minutes import ROW_COLUMNS, SCORE_COLUMNS, market_minutes
from tapewatch.market.arrays import flat
from tapewatch.market.instruments import Session
from tapewatch.market.schema import Table
from tapewatch.market.tables.features import MARKET_MICROSTRUCTURE
from tapewatch.market.tables.live import LIVE_BARS, LIVE_MICROSTRUCTURE
from tapewatch.market.tables.tape import SYMBOL
from tapewatch.streaming.live.kept import NAME, TEXTS, replaced, without

_BAR_COLUMNS = ("symbol", "time", "open", "high", "low", "close")


class LiveMarketMinutes:
    """Keeps a day's minute bars, microstructure rows and scores, and gives the rows that are new or have changed.

    An indicator depends on all earlier bars of the part of the day, so a late trade may change every later row of its symbol.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._bars = _kept(LIVE_BARS, _BAR_COLUMNS)
        self._rows = _kept(LIVE_MICROSTRUCTURE, ROW_COLUMNS)
        self._scores = _kept(MARKET_MICROSTRUCTURE, SCORE_COLUMNS)
        self._emitted = _kept(MARKET_MICROSTRUCTURE, tuple(MARKET_MICROSTRUCTURE.schema))
        #: Minutes that followed in order and are not in the frames above yet: bars, rows, what was emitted.
        self._later: list[tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]] = []
        #: All bars, with symbols as categories; None after a change that was not in order.
        self._in_order: pl.DataFrame | None = LIVE_BARS.empty().select(_BAR_COLUMNS)
        self._newest = session.day_start - 1

    def update(
        self, bars: pl.DataFrame, withdrawn_bars: pl.DataFrame, rows: pl.DataFrame, withdrawn_rows: pl.DataFrame
    ) -> pl.DataFrame:
        """Rows that are new or differ from those before, as `MARKET_MICROSTRUCTURE`.

        Args:
            bars: new or revised minute bars, as `LIVE_BARS`.
            withdrawn_bars: keys of bars of any clock that are no more.
            rows: new or revised rows, as `LIVE_MICROSTRUCTURE`.
            withdrawn_rows: keys of rows that are no more.
        """
        gone = withdrawn_bars
        if gone.height:
            gone = gone.filter(pl.col("clock").cast(pl.String) == "1m")
        frames = (bars, gone, rows, withdrawn_rows)
        if not any(frame.height for frame in frames):
            return MARKET_MICROSTRUCTURE.empty()
        times = np.concatenate([flat(bars["time"]), flat(rows["event_time"])])
        is_later = not gone.height and not withdrawn_rows.height and times.min() > self._newest
        self._newest = max(self._newest, int(times.max(initial=self._newest)))
        if is_later:
            return self._followed(bars.select(_BAR_COLUMNS), rows.select(ROW_COLUMNS), int(times.min()))
        self._settle()
        self._in_order = None
        changed = [frame.select(NAME) for frame in frames if frame.height]
        self._bars = replaced(self._bars, bars.select(_BAR_COLUMNS), gone, "time")
        self._rows = replaced(self._rows, rows.select(ROW_COLUMNS), withdrawn_rows, "event_time")
        self._emitted = without(self._emitted, withdrawn_rows, "event_time")
        return self._changes(pl.concat(changed)["symbol"].unique())

    def score(self, scores: pl.DataFrame) -> pl.DataFrame:
        """The rows that change by scores (`SCORE_COLUMNS`), which replace those of the same minutes."""
        self._settle()
        self._scores = replaced(self._scores, scores.select(SCORE_COLUMNS), scores.clear(), "event_time")
        return self._changes(scores.select(NAME)["symbol"].unique())

    def _followed(self, bars: pl.DataFrame, rows: pl.DataFrame, since: int) -> pl.DataFrame:
        """The rows of minutes after all others: nothing that was emitted changes, and nothing is scored yet."""
        if self._in_order is None:
            self._in_order = self._bars.with_columns(pl.col("symbol").cast(SYMBOL))
        self._in_order = pl.concat([self._in_order, bars])
        order = np.lexsort((flat(self._in_order["time"]), flat(self._in_order["symbol"])))
        indicators = close_indicators(self._in_order[order], self._session)
        found = market_minutes(rows, indicators[np.flatnonzero(flat(indicators["event_time"]) >= since)])
        self._later.append((bars, rows, found))
        return found

    def _settle(self) -> None:
        """Take the minutes that followed in order into the frames by key."""
        if not self._later:
            return
        bars, rows, found = (pl.concat(frames).with_columns(TEXTS) for frames in zip(*self._later, strict=True))
        self._later = []
        self._bars, self._rows = pl.concat([self._bars, bars]), pl.concat([self._rows, rows])
        self._emitted = pl.concat([self._emitted, found])

    def _changes(self, symbols: pl.Series) -> pl.DataFrame:
        own = pl.col("symbol").is_in(symbols.implode())
        bars = self._bars.filter(own).sort("symbol", "time").with_columns(pl.col("symbol").cast(SYMBOL))
        indicators = close_indicators(bars, self._session)
        rows = self._rows.filter(own).sort("symbol", "event_time")
        found = market_minutes(rows, indicators, self._scores.filter(own)).with_columns(TEXTS)
        new = found.join(self._emitted, on=found.columns, how="anti", nulls_equal=True, maintain_order="left")
        self._emitted = replaced(self._emitted, new, new.clear(), "event_time")
        return MARKET_MICROSTRUCTURE.conform(new)


def _kept(table: Table, columns: tuple[str, ...]) -> pl.DataFrame:
    return table.empty().select(columns).with_columns(TEXTS)
