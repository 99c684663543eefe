"""`MARKET_MICROSTRUCTURE` rows of a day under way, revised when indicators, rows or scores change."""

import numpy as np
import polars as pl

from tapewatch.features.market_minutes import INDICATOR_COLUMNS, ROW_COLUMNS, SCORE_COLUMNS, market_minutes
from tapewatch.market.arrays import flat
from tapewatch.market.instruments import Session
from tapewatch.market.schema import Table
from tapewatch.market.tables.features import INDICATORS, MARKET_MICROSTRUCTURE
from tapewatch.market.tables.live import LIVE_MICROSTRUCTURE
from tapewatch.streaming.live.kept import NAME, TEXTS, Change, replaced, without


class LiveMarketMinutes:
    """Keeps a day's indicators, microstructure rows and scores, and gives the rows that are new or have changed."""

    def __init__(self, session: Session) -> None:
        self._indicators = _kept(INDICATORS, INDICATOR_COLUMNS)
        self._rows = _kept(LIVE_MICROSTRUCTURE, ROW_COLUMNS)
        self._scores = _kept(MARKET_MICROSTRUCTURE, SCORE_COLUMNS)
        self._emitted = _kept(MARKET_MICROSTRUCTURE, tuple(MARKET_MICROSTRUCTURE.schema))
        #: Minutes that followed in order and are not in the frames above yet: indicators, rows, what was emitted.
        self._later: list[tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]] = []
        self._newest = session.day_start - 1

    def update(self, indicators: Change, rows: pl.DataFrame, withdrawn_rows: pl.DataFrame) -> pl.DataFrame:
        """Rows that are new or differ from those before, as `MARKET_MICROSTRUCTURE`.

        Args:
            indicators: what changed in `INDICATORS`.
            rows: new or revised rows, as `LIVE_MICROSTRUCTURE`.
            withdrawn_rows: keys of rows that are no more.
        """
        found, gone = indicators.rows, indicators.withdrawn
        frames = (found, gone, rows, withdrawn_rows)
        if not any(frame.height for frame in frames):
            return MARKET_MICROSTRUCTURE.empty()
        times = np.concatenate([flat(found["event_time"]), flat(rows["event_time"])])
        is_later = not gone.height and not withdrawn_rows.height and times.min() > self._newest
        self._newest = max(self._newest, int(times.max(initial=self._newest)))
        found, rows = found.select(INDICATOR_COLUMNS), rows.select(ROW_COLUMNS)
        if is_later:
            # Nothing that was emitted changes, and nothing is scored yet.
            later = market_minutes(rows, found)
            self._later.append((found, rows, later))
            return later
        self._settle()
        changed = [frame.select(NAME) for frame in frames if frame.height]
        self._indicators = replaced(self._indicators, found, gone, "event_time")
        self._rows = replaced(self._rows, rows, withdrawn_rows, "event_time")
        self._emitted = without(self._emitted, withdrawn_rows, "event_time")
        return self._changes(pl.concat(changed)["symbol"].unique())

    def score(self, scores: pl.DataFrame) -> pl.DataFrame:
        """The rows that change by scores (`SCORE_COLUMNS`), which replace those of the same minutes."""
        self._settle()
        self._scores = replaced(self._scores, scores.select(SCORE_COLUMNS), scores.clear(), "event_time")
        return self._changes(scores.select(NAME)["symbol"].unique())

    def _settle(self) -> None:
        """Take the minutes that followed in order into the frames by key."""
        if not self._later:
            return
        indicators, rows, found = (pl.concat(frames).with_columns(TEXTS) for frames in zip(*self._later, strict=True))
        self._later = []
        self._indicators, self._rows = pl.concat([self._indicators, indicators]), pl.concat([self._rows, rows])
        self._emitted = pl.concat([self._emitted, found])

    def _changes(self, symbols: pl.Series) -> pl.DataFrame:
        own = pl.col("symbol").is_in(symbols.implode())
        rows = self._rows.filter(own).sort("symbol", "event_time")
        found = market_minutes(rows, self._indicators.filter(own), self._scores.filter(own)).with_columns(TEXTS)
        new = found.join(self._emitted, on=found.columns, how="anti", nulls_equal=True, maintain_order="left")
        self._emitted = replaced(self._emitted, new, new.clear(), "event_time")
        return MARKET_MICROSTRUCTURE.conform(new)


def _kept(table: Table, columns: tuple[str, ...]) -> pl.DataFrame:
    return table.empty().select(columns).with_columns(TEXTS)
