"""`INDICATORS` rows of a day under way, from the bars of each symbol's part of the day so far."""

import numpy as np
import polars as pl

from tapewatch.features.families.indicators import AMOUNTS, NAMES, PRICES, part_indicators, part_of_day
from tapewatch.features.families.rows import known
from tapewatch.market.arrays import Array, flat
from tapewatch.market.instruments import Session
from tapewatch.market.tables.features import INDICATORS
from tapewatch.market.tables.tape import SYMBOL, TIME
from tapewatch.streaming.live.kept import Change, Emitted, of_minutes, unchanged

_Place = tuple[str, int]
_FIRST_ROOM = 64


class _Bars:
    """Bars of one symbol's part of the day, by time."""

    def __init__(self) -> None:
        self.count = 0
        self._times = np.zeros((2, _FIRST_ROOM), dtype=np.int64)
        self._amounts = np.zeros((len(AMOUNTS), _FIRST_ROOM))

    def enter(self, time: int, known_time: int, amounts: Array) -> int:
        """Add a bar, or put it in the place of that of its time; returns its place."""
        at = self._place(time)
        if at == self.count or self._times[0, at] != time:
            if self.count == self._times.shape[1]:
                room = ((0, 0), (0, self.count))
                self._times, self._amounts = np.pad(self._times, room), np.pad(self._amounts, room)
            for each in (self._times, self._amounts):
                each[:, at + 1 : self.count + 1] = each[:, at : self.count]
            self.count += 1
        self._times[:, at], self._amounts[:, at] = (time, known_time), amounts
        return at

    def remove(self, time: int) -> int:
        """Remove the bar of a time, if there is one; returns its place."""
        at = self._place(time)
        if at < self.count and self._times[0, at] == time:
            for each in (self._times, self._amounts):
                each[:, at : self.count - 1] = each[:, at + 1 : self.count]
            self.count -= 1
        return at

    def rows(self, begin: int) -> tuple[Array, Array]:
        """Times (start and known) and indicators of the bars from `begin` on: 2 and `NAMES` x bars."""
        times, amounts = self._times[:, : self.count], self._amounts[:, : self.count]
        is_sound: Array = np.all(np.isfinite(amounts[: len(PRICES)]), axis=0)
        values = np.full((len(NAMES), self.count - begin), np.nan)
        if is_sound.all():
            found = part_indicators({"time": times[0], **dict(zip(AMOUNTS, amounts, strict=True))}, begin)
            for at, name in enumerate(NAMES):
                values[at] = found[name][begin:]
        elif is_sound.any():
            sound = dict(zip(AMOUNTS, np.ascontiguousarray(amounts[:, is_sound]), strict=True))
            first = int(is_sound[:begin].sum())
            found = part_indicators({"time": times[0, is_sound], **sound}, first)
            for at, name in enumerate(NAMES):
                values[at, is_sound[begin:]] = found[name][first:]
        return times[:, begin:].copy(), values

    def _place(self, time: int) -> int:
        if not self.count or time > self._times[0, self.count - 1]:
            return self.count
        return int(np.searchsorted(self._times[0, : self.count], time))


class LiveIndicators:
    """Keeps a day's minute bars and gives the rows that are new or changed.

    Indicators decay over the part of the day: a late trade may change every later row of its symbol. The last rows equal those of
    `indicators` for the same bars, bit for bit.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._bars: dict[_Place, _Bars] = {}
        self._emitted = Emitted(INDICATORS)
        self._newest = session.day_start - 1

    def update(self, bars: pl.DataFrame, withdrawn: pl.DataFrame) -> Change:
        """What changes.

        Args:
            bars: new or revised minute bars, as `LIVE_BARS`.
            withdrawn: keys of bars of any clock that are no more.
        """
        gone = of_minutes(withdrawn)
        if not bars.height and not gone.height:
            return unchanged(INDICATORS)
        times = flat(bars["time"])
        is_later = not gone.height and int(times.min()) > self._newest
        self._newest = max(self._newest, int(times.max(initial=self._newest)))
        begins = self._taken(bars, gone)
        found = self._rows(begins)
        if is_later:
            return self._emitted.followed(found)
        return self._emitted.replaced(found, gone.select("symbol", event_time="time"))

    def forget(self, before: int) -> None:
        """Bars that start before a time change no more."""
        self._emitted.forget(before)

    def _taken(self, bars: pl.DataFrame, gone: pl.DataFrame) -> dict[_Place, int]:
        """Enter and remove bars; returns where the rows of each symbol's part begin to change."""
        begins: dict[_Place, int] = {}
        places = self._places(gone)
        for place, time in zip(places, flat(gone["time"]).tolist(), strict=True):
            at = self._bars.setdefault(place, _Bars()).remove(time)
            begins[place] = min(begins.get(place, at), at)
        amounts = np.stack([flat(bars[name], null=np.nan) for name in AMOUNTS], axis=1)
        times = zip(flat(bars["time"]).tolist(), flat(bars["known_time"]).tolist(), strict=True)
        for place, (time, known_time), bar in zip(self._places(bars), times, amounts, strict=True):
            at = self._bars.setdefault(place, _Bars()).enter(time, known_time, bar)
            begins[place] = min(begins.get(place, at), at)
        return begins

    def _places(self, frame: pl.DataFrame) -> list[_Place]:
        parts = part_of_day(flat(frame["time"]), self._session).tolist()
        return list(zip(frame["symbol"].cast(pl.String).to_list(), parts, strict=True))

    def _rows(self, begins: dict[_Place, int]) -> pl.DataFrame:
        found = [self._bars[place].rows(begin) for place, begin in begins.items()]
        times, values = (np.concatenate(each, axis=1) for each in zip(*found, strict=True))
        names = np.repeat([symbol for symbol, _ in begins], [own.shape[1] for own, _ in found])
        keys = {
            "symbol": pl.Series(names.tolist(), dtype=SYMBOL),
            "event_time": pl.Series(times[0]).cast(TIME),
            "known_time": pl.Series(times[1]).cast(TIME),
        }
        return INDICATORS.conform(pl.DataFrame({**keys, **known(dict(zip(NAMES, values, strict=True)))}))
