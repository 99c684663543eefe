"""`MARKET_MICROSTRUCTURE` rows of a day under way, revised when bars, rows or scores change."""

import polars as pl

from tapewatch.features.families.indicators import close_indicators
from tapewatch.features.market_minutes import ROW_COLUMNS, SCORE_COLUMNS, market_minutes
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
        gone = withdrawn_bars.filter(pl.col("clock").cast(pl.String) == "1m")
        changed = [frame.select(NAME) for frame in (bars, gone, rows, withdrawn_rows) if frame.height]
        if not changed:
            return MARKET_MICROSTRUCTURE.empty()
        self._bars = replaced(self._bars, bars.select(_BAR_COLUMNS), gone, "time")
        self._rows = replaced(self._rows, rows.select(ROW_COLUMNS), withdrawn_rows, "event_time")
        self._emitted = without(self._emitted, withdrawn_rows, "event_time")
        return self._changes(pl.concat(changed)["symbol"].unique())

    def score(self, scores: pl.DataFrame) -> pl.DataFrame:
        """The rows that change by scores (`SCORE_COLUMNS`), which replace those of the same minutes."""
        self._scores = replaced(self._scores, scores.select(SCORE_COLUMNS), scores.clear(), "event_time")
        return self._changes(scores.select(NAME)["symbol"].unique())

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
