"""The feature tables of a day under way beside the detector's: the batch's code, at each minute's end."""

import logging
import threading
from collections.abc import Callable, Collection
from typing import TypeVar

import polars as pl

from tapewatch.features.online import NewRows
from tapewatch.features.regimes.hidden_markov import RegimeModel
from tapewatch.features.seasonality.model import SeasonalModel
from tapewatch.market.instruments import Session
from tapewatch.market.schema import Table
from tapewatch.market.tables.features import INDICATORS, LIVE_FAMILIES, MICROSTRUCTURE_MORE, SEASONALITY
from tapewatch.streaming.live.kept import Change
from tapewatch.streaming.live.market_features import LiveMarketFeatures
from tapewatch.streaming.live.seasonality import LiveSeasonality

_log = logging.getLogger(__name__)
_Model = TypeVar("_Model")

Find = Callable[[], _Model | None]


def fitted_apart(fit: Find[_Model], lacking: str) -> Find[_Model]:
    """Run `fit` in a thread of its own; the function returned gives its model, and None until then.

    Where it fails there is no model; the log says that live rows are `lacking`, and why.
    """
    found: list[_Model | None] = []

    def run() -> None:
        try:
            found.append(fit())
        except Exception as error:  # noqa: BLE001 - live rows go on without what needs the model
            _log.warning("live rows have %s: %s", lacking, error)

    threading.Thread(target=run, name="model-of-day", daemon=True).start()
    return lambda: found[0] if found else None


class LiveFamilies:
    """Gives the rows of further tables that are new or changed. The last of them equal the batch's, bit for bit.

    Args:
        session: the day.
        tables: those of `LIVE_FAMILIES` to compute.
        regime_model, seasonal_model: what was fitted on earlier days; asked for each minute, None while there is none.
    """

    def __init__(
        self,
        session: Session,
        tables: Collection[Table] = LIVE_FAMILIES,
        *,
        regime_model: Find[RegimeModel] = lambda: None,
        seasonal_model: Find[SeasonalModel] = lambda: None,
    ) -> None:
        self._tables = tables
        #: Whether `MICROSTRUCTURE_MORE` rows are needed.
        self.has_more = MICROSTRUCTURE_MORE in tables or SEASONALITY in tables
        self._of_market = LiveMarketFeatures(session, regime_model, tables)
        self._seasonality = LiveSeasonality(session, seasonal_model) if SEASONALITY in tables else None

    def update(
        self,
        rows: NewRows,
        indicators: Change,
        bars: pl.DataFrame,
        withdrawn_bars: pl.DataFrame,
        through_ns: int,
    ) -> tuple[Change, ...]:
        """What changes.

        Args:
            rows: of the minutes.
            indicators: what changed in `INDICATORS`.
            bars: new or revised minute bars, as `LIVE_BARS`.
            withdrawn_bars: keys of bars of any clock that are no more.
            through_ns: the tape is complete up to here.
        """
        changes = [*self._of_market.update(bars, withdrawn_bars, through_ns)]
        if MICROSTRUCTURE_MORE in self._tables:
            changes.append(Change(MICROSTRUCTURE_MORE, rows.more, rows.withdrawn))
        if INDICATORS in self._tables:
            changes.append(indicators)
        if self._seasonality is not None:
            changes.append(self._seasonality.update(rows.rows, rows.more, rows.withdrawn))
        return tuple(change for change in changes if change)

    def forget(self, before: int) -> None:
        """Ticks before a time change nothing any more."""
        self._of_market.forget(before)
        if self._seasonality is not None:
            self._seasonality.forget(before)
