"""Information bars of a day under way, corrected where late trades change them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from tapewatch.bars.information.build import bar_rows, closed_by, kernel_rules, states_frame, states_of
from tapewatch.bars.information.clocks import LIVE_CLOCKS, Clock, Thresholds
from tapewatch.bars.information.kernel import STATE, Rules, fresh_states
from tapewatch.bars.kernel import rows_before
from tapewatch.market.arrays import Array, FlatTrades
from tapewatch.market.instruments import Session
from tapewatch.market.tables.derived import INFORMATION_STATES
from tapewatch.market.tables.live import LIVE_INFORMATION_BARS
from tapewatch.market.tables.tape import SYMBOL, TIME

_NO_BARS = LIVE_INFORMATION_BARS.empty()
_KEY, _TEXTS = LIVE_INFORMATION_BARS.key, pl.selectors.categorical().cast(pl.String)

Bars = tuple[Array, Array]
_NONE: Bars = (np.zeros(0, dtype=np.int64), np.zeros(0, dtype=STATE))


@dataclass(slots=True)
class _Minute:
    """A minute's trades, up to where they are counted, the open bars at its start, and the bars that it closed, by clock."""

    before: list[Array]
    done: int
    trades: FlatTrades
    bars: list[Bars]


@dataclass(slots=True)
class _Clock:
    clock: Clock
    starts: Array
    states: Array
    #: What was emitted and is built again, and what was built since the last call of `take`.
    old: list[Bars] = field(default_factory=list)
    new: list[Bars] = field(default_factory=list)


class LiveInformationBars:
    """Closes bars minute by minute, and again for some symbols; `take` returns what is new or changed.

    Symbols are numbered in the order of `begin`. The bars equal those of `InformationBars` for the same trades, bit for bit.

    Args:
        session: the day.
        clocks: what the bars count.
        thresholds: how much closes a bar.
        states: `INFORMATION_STATES` rows of the open bars at the day's start; symbols without one begin.
        before: the day before where it is not over yet: `states` follow it as long as this day's trades are held.
    """

    def __init__(
        self,
        session: Session,
        clocks: Sequence[Clock] = LIVE_CLOCKS,
        thresholds: Thresholds | None = None,
        *,
        states: pl.DataFrame | None = None,
        before: "LiveInformationBars | None" = None,
    ) -> None:
        self.session = session
        #: Rises whenever bars of earlier trades change, or trades join.
        self.version = 0
        self._thresholds = thresholds or Thresholds()
        self._hold(INFORMATION_STATES.empty() if states is None else states)
        self._names: list[str] = []
        self._series = pl.Series([], dtype=SYMBOL)
        self._clocks = [_Clock(clock, fresh_states(0), fresh_states(0)) for clock in clocks]
        self._rules: list[Rules] = []
        self._minutes: dict[int, _Minute] = {}
        self._takes_part = np.zeros(0, dtype=np.bool_)
        self._before, self._followed = before, -1

    def begin(self, names: Sequence[str]) -> None:
        """Add symbols."""
        self._names += names
        self._series = pl.Series(self._names, dtype=SYMBOL)
        for at, each in enumerate(self._clocks):
            starts = self._starts(each.clock, names)
            each.starts = np.concatenate([each.starts, starts])
            each.states = np.concatenate([each.states, starts])
            for minute in self._minutes.values():
                minute.before[at] = np.concatenate([minute.before[at], starts])
        self._rules = [kernel_rules(each.clock, self._thresholds, self._names) for each in self._clocks]
        self._takes_part = np.append(self._takes_part, np.zeros(len(names), dtype=np.bool_))

    def pass_minute(self, start: int, trades: FlatTrades, until: int, again: Array | None = None) -> None:
        """Count a minute's trades up to `until`, and all of them again for the symbols marked in `again`.

        `trades` are all trades of the minute so far.
        """
        minute = self._minutes.get(start) or self._begin_minute(start, trades)
        minute.trades = trades
        if again is not None and again.any():
            for each, states in zip(self._clocks, minute.before, strict=True):
                fresh = again & ~self._takes_part
                each.states[fresh] = states[fresh]
                states[again] = each.states[again]
            self._takes_part |= again
            self._withdraw(minute, again)
        self._close(minute, max(until, minute.done), again)

    def end_sweep(self) -> None:
        """End a pass over late minutes: the next one starts from the open bars stored with its minutes."""
        self._takes_part[:] = False

    def take(self, done_ns: int, known_ns: int) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Bars that are new or changed since the last call, as `LIVE_INFORMATION_BARS`, and the keys of withdrawn ones.

        Args:
            done_ns: the tape's time at the last call; a bar that ended by then is a late one.
            known_ns: the tape's time now.
        """
        self._follow()
        new = [self._rows(each, each.new) for each in self._clocks if each.new]
        old = [self._rows(each, each.old) for each in self._clocks if each.old]
        for each in self._clocks:
            each.old, each.new = [], []
        if not new and not old:
            return _NO_BARS, _NO_BARS.select(_KEY)
        self.version += 1
        rows, gone = pl.concat([_NO_BARS, *new]), _NO_BARS
        if old:
            before, rows = pl.concat(old).with_columns(_TEXTS), rows.with_columns(_TEXTS)
            gone = LIVE_INFORMATION_BARS.conform(before.join(rows, on=_KEY, how="anti"))
            rows = rows.join(before, on=rows.columns, how="anti", nulls_equal=True, maintain_order="left")
        end, known = pl.col("end_time"), pl.lit(known_ns).cast(TIME)
        late = end < pl.lit(done_ns).cast(TIME)
        rows = rows.with_columns(known_time=pl.when(late).then(known).otherwise(end))
        return LIVE_INFORMATION_BARS.conform(rows), gone.select(_KEY)

    def states(self) -> pl.DataFrame:
        """`INFORMATION_STATES` rows of the open bars now, of the symbols of this day and of those before."""
        now = [states_frame(each.clock, self._names, each.states) for each in self._clocks]
        traded = pl.concat([INFORMATION_STATES.empty(), *now]).with_columns(_TEXTS)
        kept = self._saved.join(traded, on=["symbol", "clock"], how="anti")
        return INFORMATION_STATES.conform(pl.concat([traded, kept]))

    def forget(self, before: int) -> None:
        """Drop minutes that start before `before`; they can no longer be counted again."""
        for start in [start for start in self._minutes if start < before]:
            # The day can no longer be counted again from its start.
            self._before = None
            del self._minutes[start]

    def _hold(self, saved: pl.DataFrame) -> None:
        """Keep the open bars at the day's start, and by clock the place of each symbol among them."""
        self._saved = saved.with_columns(_TEXTS)
        self._held: dict[str, tuple[dict[str, int], Array]] = {}
        for (clock,), own in self._saved.group_by("clock"):
            self._held[str(clock)] = {name: at for at, name in enumerate(own["symbol"])}, states_of(own)

    def _starts(self, clock: Clock, names: Sequence[str]) -> Array:
        place, held = self._held.get(str(clock), ({}, fresh_states(0)))
        known = [at for at, name in enumerate(names) if name in place]
        starts = fresh_states(len(names))
        starts[known] = held[[place[names[at]] for at in known]]
        return starts

    def _begin_minute(self, start: int, trades: FlatTrades) -> _Minute:
        later = min((at for at in self._minutes if at > start), default=None)
        states = [each.states for each in self._clocks] if later is None else self._minutes[later].before
        minute = _Minute([held.copy() for held in states], start, trades, [_NONE] * len(self._clocks))
        self._minutes[start] = minute
        return minute

    def _withdraw(self, minute: _Minute, again: Array) -> None:
        """Take the marked symbols' bars of a minute back."""
        for at, each in enumerate(self._clocks):
            symbol, bars = minute.bars[at]
            is_old = again[symbol]
            if is_old.any():
                each.old.append((symbol[is_old], bars[is_old]))
                minute.bars[at] = symbol[~is_old], bars[~is_old]

    def _close(self, minute: _Minute, until: int, again: Array | None) -> None:
        """Count rows: those of the marked symbols from the minute's start, the others' from where they are counted."""
        trades = minute.trades
        # Symbols that joined since have no trades here.
        missing = len(self._names) + 1 - trades.offsets.size
        trades = trades._replace(offsets=np.pad(trades.offsets, (0, missing), mode="edge")) if missing else trades
        first, end = rows_before(trades, minute.done), rows_before(trades, until)
        if again is not None:
            first = np.where(again, trades.offsets[:-1], first)
        minute.done = until
        if not (end > first).any():
            return
        self.version += 1
        runs = np.arange(first.size)
        for at, (each, rules) in enumerate(zip(self._clocks, self._rules, strict=True)):
            closed = closed_by(trades, (first, end), runs, self.session, rules, each.states)
            if closed[0].size:
                each.new.append(closed)
                minute.bars[at] = _joined([minute.bars[at], closed])

    def _follow(self) -> None:
        """Begin again the symbols whose open bars at the day's start have changed with the day before."""
        if self._before is None or self._before.version == self._followed:
            return
        self._followed = self._before.version
        self._hold(self._before.states())
        starts = [self._starts(each.clock, self._names) for each in self._clocks]
        again = np.zeros(len(self._names), dtype=np.bool_)
        for each, now in zip(self._clocks, starts, strict=True):
            again |= np.array(
                [a.tobytes() != b.tobytes() for a, b in zip(each.starts, now, strict=True)], dtype=np.bool_
            )
        if not again.any():
            return
        for each, now in zip(self._clocks, starts, strict=True):
            each.starts, each.states[again] = now, now[again]
        for _, minute in sorted(self._minutes.items()):
            for each, states in zip(self._clocks, minute.before, strict=True):
                states[again] = each.states[again]
            self._withdraw(minute, again)
            self._close(minute, minute.done, again)

    def _rows(self, each: _Clock, closed: Sequence[Bars]) -> pl.DataFrame:
        return LIVE_INFORMATION_BARS.conform(bar_rows(self._series, each.clock, *_joined(closed)))


def _joined(closed: Sequence[Bars]) -> Bars:
    symbol, bars = zip(*closed, strict=True)
    return np.concatenate(symbol), np.concatenate(bars)
