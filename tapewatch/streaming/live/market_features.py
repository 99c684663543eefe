"""`CROSS_ASSET` and `REGIMES` rows of a day under way: the batch's code on the bars so far, at each minute's end."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import polars as pl

from tapewatch.features.cross_asset.rows import cross_asset
from tapewatch.features.regimes.blocks import MINUTES
from tapewatch.features.regimes.hidden_markov import RegimeModel
from tapewatch.features.regimes.rows import regimes
from tapewatch.market.instruments import NS_PER_MINUTE, Session
from tapewatch.market.schema import Table
from tapewatch.market.tables.features import CROSS_ASSET, REGIMES
from tapewatch.market.tables.live import LIVE_BARS
from tapewatch.market.tables.tape import TIME
from tapewatch.streaming.live.kept import TEXTS, replaced, without

_log = logging.getLogger(__name__)
_COLUMNS = ("symbol", "time", "known_time", "close")
_BLOCK_NS = MINUTES * NS_PER_MINUTE
_NEVER: Final = 2**62

FindModel = Callable[[], RegimeModel | None]


def fitted_apart(fit: FindModel) -> FindModel:
    """Run `fit` in a thread of its own; the function returned gives its model, and None until then.

    Where it fails there is no model; that is logged.
    """
    found: list[RegimeModel | None] = []

    def run() -> None:
        try:
            found.append(fit())
        except Exception as error:  # noqa: BLE001 - live rows go on without the states
            _log.warning("the live regimes have no states: %s", error)

    threading.Thread(target=run, name="regime-model", daemon=True).start()
    return lambda: found[0] if found else None


@dataclass(frozen=True, slots=True)
class Change:
    """Rows of a table that are new or changed, and the keys of those that are no more."""

    table: Table
    rows: pl.DataFrame
    withdrawn: pl.DataFrame


class LiveMarketFeatures:
    """Keeps a day's minute bars and gives the rows that are new or changed, once a minute.

    The last rows equal those of `cross_asset` and `regimes` for the same bars, bit for bit.

    Args:
        session: the day.
        model: the model of the states, fitted on earlier days; asked for each minute, None while there is none.
    """

    def __init__(self, session: Session, model: FindModel = lambda: None) -> None:
        self._session, self._find_model = session, model
        self._model: RegimeModel | None = None
        self._bars = LIVE_BARS.empty().select(_COLUMNS).with_columns(TEXTS)
        self._emitted = {table.name: table.empty().with_columns(TEXTS) for table in (CROSS_ASSET, REGIMES)}
        #: Nothing changed before this time since the last rows.
        self._since = _NEVER
        self._done = self._blocks_done = session.day_start

    def update(self, bars: pl.DataFrame, withdrawn: pl.DataFrame, through_ns: int) -> tuple[Change, ...]:
        """What changes; nothing between whole minutes.

        Args:
            bars: new or revised minute bars, as `LIVE_BARS`.
            withdrawn: keys of bars of any clock that are no more.
            through_ns: the tape is complete up to here.
        """
        self._take(bars, withdrawn)
        whole = through_ns - (through_ns - self._session.day_start) % NS_PER_MINUTE
        if whole <= self._done and through_ns < self._session.day_end:
            return ()
        self._done = whole
        since, self._since = self._since, _NEVER
        changes = (self._cross_asset(since), self._regimes(since, whole))
        return tuple(change for change in changes if change.rows.height or change.withdrawn.height)

    def _take(self, bars: pl.DataFrame, withdrawn: pl.DataFrame) -> None:
        gone = withdrawn.filter(pl.col("clock").cast(pl.String) == "1m")
        start, end = (pl.lit(at).cast(TIME) for at in (self._session.regular_start, self._session.regular_end))
        new, gone = (frame.filter((pl.col("time") >= start) & (pl.col("time") < end)) for frame in (bars, gone))
        if not new.height and not gone.height:
            return
        self._bars = replaced(self._bars, new.select(_COLUMNS), gone, "time")
        times = pl.concat([new["time"], gone["time"]]).to_physical()
        self._since = min(self._since, int(times.min()))  # type: ignore[arg-type]

    def _cross_asset(self, since: int) -> Change:
        if since == _NEVER:
            return _unchanged(CROSS_ASSET)
        return self._change(CROSS_ASSET, cross_asset(self._bars, self._session, since_ns=since), since)

    def _regimes(self, since: int, through: int) -> Change:
        """All blocks anew where one ended, or one of those before changed."""
        start = self._session.regular_start
        ended = start + max(0, min(through, self._session.regular_end) - start) // _BLOCK_NS * _BLOCK_NS
        model = self._find_model()
        if ended <= max(self._blocks_done, start) and since >= self._blocks_done and model is self._model:
            return _unchanged(REGIMES)
        self._model, self._blocks_done = model, ended
        return self._change(REGIMES, regimes(self._bars, self._session, model, through_ns=ended), start)

    def _change(self, table: Table, found: pl.DataFrame, since: int) -> Change:
        """The rows from `since` on that differ from those before, which they replace."""
        found, emitted = found.with_columns(TEXTS), self._emitted[table.name]
        is_past = pl.col("event_time") < pl.lit(since).cast(TIME)
        before = emitted.filter(~is_past)
        new = found.join(before, on=found.columns, how="anti", nulls_equal=True, maintain_order="left")
        gone = without(before, found, "event_time")
        self._emitted[table.name] = pl.concat([emitted.filter(is_past), found])
        return Change(table, table.conform(new), gone.select(table.key))


def _unchanged(table: Table) -> Change:
    return Change(table, table.empty(), table.empty().select(table.key))
