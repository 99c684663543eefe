"""`CROSS_ASSET`, `CORRELATIONS` and `REGIMES` rows of a day under way: the batch's code on the bars so far, at each minute's end."""

from collections.abc import Callable, Collection
from typing import Final

import polars as pl

from tapewatch.features.cross_asset.correlations import STEP, correlations
from tapewatch.features.cross_asset.rows import cross_asset
from tapewatch.features.regimes.blocks import MINUTES
from tapewatch.features.regimes.hidden_markov import RegimeModel
from tapewatch.features.regimes.rows import regimes
from tapewatch.market.instruments import NS_PER_MINUTE, Session
from tapewatch.market.schema import Table
from tapewatch.market.tables.features import CORRELATIONS, CROSS_ASSET, LIVE_FAMILIES, REGIMES
from tapewatch.market.tables.live import LIVE_BARS
from tapewatch.market.tables.tape import TIME
from tapewatch.streaming.live.kept import TEXTS, Change, Emitted, of_minutes, replaced, unchanged

_COLUMNS = ("symbol", "time", "known_time", "close")
_NEVER: Final = 2**62

FindModel = Callable[[], RegimeModel | None]
_TABLES: Final = (CROSS_ASSET, CORRELATIONS, REGIMES)


class LiveMarketFeatures:
    """Keeps a day's minute bars and gives the rows that are new or changed, once a minute.

    The last rows equal those of `cross_asset`, `correlations` and `regimes` for the same bars, bit for bit.

    Args:
        session: the day.
        model: the model of the states, fitted on earlier days; asked for each minute, None while there is none.
        tables: those to compute; others than these three are left out.
    """

    def __init__(
        self, session: Session, model: FindModel = lambda: None, tables: Collection[Table] = LIVE_FAMILIES
    ) -> None:
        self._session, self._find_model = session, model
        self._model: RegimeModel | None = None
        self._bars = LIVE_BARS.empty().select(_COLUMNS).with_columns(TEXTS)
        self._emitted = {table.name: Emitted(table) for table in _TABLES if table in tables}
        #: Nothing changed before this time since the last rows.
        self._since = _NEVER
        self._done = self._blocks_done = self._matrices_done = session.day_start

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
        computed = {
            CROSS_ASSET.name: self._cross_asset,
            CORRELATIONS.name: self._correlations,
            REGIMES.name: self._regimes,
        }
        changes = (computed[name](emitted, since, whole) for name, emitted in self._emitted.items())
        return tuple(change for change in changes if change)

    def forget(self, before: int) -> None:
        """Bars that start before a time change no more."""
        for name, emitted in self._emitted.items():
            # A model of the states that comes late changes all of them.
            if name != REGIMES.name:
                emitted.forget(before)

    def _take(self, bars: pl.DataFrame, withdrawn: pl.DataFrame) -> None:
        gone = of_minutes(withdrawn)
        start, end = (pl.lit(at).cast(TIME) for at in (self._session.regular_start, self._session.regular_end))
        new, gone = (frame.filter((pl.col("time") >= start) & (pl.col("time") < end)) for frame in (bars, gone))
        if not new.height and not gone.height:
            return
        self._bars = replaced(self._bars, new.select(_COLUMNS), gone, "time")
        times = pl.concat([new["time"], gone["time"]]).to_physical()
        self._since = min(self._since, int(times.min()))  # type: ignore[arg-type]

    def _cross_asset(self, emitted: Emitted, since: int, _through: int) -> Change:
        if since == _NEVER:
            return unchanged(CROSS_ASSET)
        return emitted.replaced_since(cross_asset(self._bars, self._session, since_ns=since), since)

    def _correlations(self, emitted: Emitted, since: int, through: int) -> Change:
        """The matrices of steps that ended, and those before whose bars changed."""
        ended, done = self._ended(through, STEP), self._matrices_done
        since = min(since, done)
        if ended <= since:
            return unchanged(CORRELATIONS)
        self._matrices_done = ended
        found = correlations(self._bars, self._session, since_ns=since, through_ns=ended)
        return emitted.replaced_since(found, since)

    def _regimes(self, emitted: Emitted, since: int, through: int) -> Change:
        """All blocks anew where one ended, or one of those before changed."""
        start, ended = self._session.regular_start, self._ended(through, MINUTES)
        model = self._find_model()
        if ended <= max(self._blocks_done, start) and since >= self._blocks_done and model is self._model:
            return unchanged(REGIMES)
        self._model, self._blocks_done = model, ended
        return emitted.replaced_since(regimes(self._bars, self._session, model, through_ns=ended), start)

    def _ended(self, through: int, minutes: int) -> int:
        """The end of the last step of `minutes` minutes that has ended; the open before the first."""
        start, step = self._session.regular_start, minutes * NS_PER_MINUTE
        return start + max(0, min(through, self._session.regular_end) - start) // step * step
