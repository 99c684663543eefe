"""`SEASONALITY` rows of a day under way: each regular minute against what is usual, once it is complete."""

from collections.abc import Callable
from typing import Final

import numpy as np
import polars as pl

from tapewatch.features.families.rows import known
from tapewatch.features.seasonality.measures import MEASURES, in_more, measured
from tapewatch.features.seasonality.model import LOOK_BACK, SeasonalModel, Usual, judged
from tapewatch.market.arrays import Array, flat
from tapewatch.market.instruments import NS_PER_MINUTE, Session
from tapewatch.market.tables.features import SEASONALITY
from tapewatch.market.tables.tape import SYMBOL, TIME
from tapewatch.streaming.live.kept import Change, Emitted, unchanged

_IS_SIGNED = np.array([measure.is_signed for measure in MEASURES])
_IN_MORE = np.array([in_more(measure) for measure in MEASURES])
_VOLUME = next(at for at, measure in enumerate(MEASURES) if measure.name == "volume")
_NEVER: Final = 2**62
#: More of them are judged part by part, so that a large market takes little room.
_SYMBOLS_AT_ONCE: Final = 500

FindSeasons = Callable[[], SeasonalModel | None]


class LiveSeasonality:
    """Keeps the measures of the last minutes and gives the rows that are new or changed.

    The last rows equal those of `seasonality` for the same minutes, bit for bit.

    Args:
        session: the day.
        model: what is usual, from earlier days; asked for each minute, None while there is none. Minutes that were emitted before it
            was there are emitted again, as far as they are held.
    """

    def __init__(self, session: Session, model: FindSeasons = lambda: None) -> None:
        self._session, self._find_model = session, model
        self._model: SeasonalModel | None = None
        self._usual: Usual | None = None
        self._days = np.zeros(0, dtype=np.int64)
        self._place: dict[str, int] = {}
        self._names = pl.Series([], dtype=SYMBOL)
        #: By minute since the open: which symbols have a row, and symbols x `MEASURES`.
        self._minutes: dict[int, tuple[Array, Array]] = {}
        self._emitted = Emitted(SEASONALITY)
        #: By symbol, the first minute whose row has changed since the last call.
        self._since = np.zeros(0, dtype=np.int64)
        #: The latest minute that was emitted, and the earliest that may still change.
        self._newest, self._oldest = -1, 0

    def update(self, rows: pl.DataFrame, more: pl.DataFrame, withdrawn: pl.DataFrame) -> Change:
        """What changes.

        Args:
            rows: new or revised rows, as `MICROSTRUCTURE`.
            more: likewise, as `MICROSTRUCTURE_MORE`.
            withdrawn: symbol and event_time of rows that are no more.
        """
        self._enter(rows, ~_IN_MORE)
        # Of a revised row the other table's may be as it was.
        self._enter(more, _IN_MORE)
        self._remove(withdrawn)
        model = self._find_model()
        if model is not self._model or self._days.size < len(self._place):
            names = list(self._place)
            self._usual = None if model is None else model.of_symbols(names)
            days = [0.0] * len(names) if self._usual is None else self._usual.days[_VOLUME :: len(MEASURES)]
            self._days = np.nan_to_num(days).astype(np.int64)
        if model is not self._model:
            self._model, self._since = model, np.minimum(self._since, self._oldest)
        since, self._since = self._since, np.full(len(self._place), _NEVER)
        changed = np.flatnonzero(since < _NEVER)
        if not changed.size or not self._minutes:
            return unchanged(SEASONALITY)
        found = self._rows(changed, since[changed])
        is_later, self._newest = since.min() > self._newest, max(self._newest, *self._minutes)
        return self._emitted.followed(found) if is_later else self._emitted.replaced(found, withdrawn)

    def forget(self, before: int) -> None:
        """Rows that start before a time change no more."""
        self._emitted.forget(before)
        self._oldest = max((before - self._session.regular_start) // NS_PER_MINUTE, 0)
        self._minutes = {at: held for at, held in self._minutes.items() if at > self._oldest - LOOK_BACK}

    def _enter(self, rows: pl.DataFrame, columns: Array) -> None:
        """Take the rows' measures among `columns`."""
        if not rows.height:
            return
        places, minutes = self._of_regular(rows)
        values = measured(rows, columns)
        for at in np.unique(minutes[minutes >= 0]).tolist():
            there, held = self._minute(at)
            own = minutes == at
            there[places[own]] = True
            held[np.ix_(places[own], columns)] = values[own]
        self._note(places, minutes)

    def _remove(self, keys: pl.DataFrame) -> None:
        if not keys.height:
            return
        places, minutes = self._of_regular(keys)
        for place, at in zip(places.tolist(), minutes.tolist(), strict=True):
            if at >= 0:
                there, held = self._minute(at)
                there[place], held[place] = False, np.nan
        self._note(places, minutes)

    def _note(self, places: Array, minutes: Array) -> None:
        """Note from which minute on the rows of these symbols change."""
        is_regular = minutes >= 0
        np.minimum.at(self._since, places[is_regular], minutes[is_regular])

    def _of_regular(self, keys: pl.DataFrame) -> tuple[Array, Array]:
        """The place of each row's symbol and its minute since the open, -1 outside regular hours."""
        names = keys["symbol"].cast(pl.String).to_list()
        new = [name for name in dict.fromkeys(names) if name not in self._place]
        if new:
            self._place |= {name: len(self._place) + at for at, name in enumerate(new)}
            self._names = pl.Series(list(self._place), dtype=SYMBOL)
            self._since = np.append(self._since, np.full(len(new), _NEVER))
        minutes = (flat(keys["event_time"]) - self._session.regular_start) // NS_PER_MINUTE
        places = np.array([self._place[name] for name in names], dtype=np.int64)
        return places, np.where(minutes < self._session.regular_minutes, np.maximum(minutes, -1), -1)

    def _minute(self, at: int) -> tuple[Array, Array]:
        """A minute's rows, with room for all symbols."""
        there, held = self._minutes.get(at, (np.zeros(0, dtype=np.bool_), np.zeros((0, len(MEASURES)))))
        if missing := len(self._place) - there.size:
            there, held = np.pad(there, (0, missing)), np.pad(held, ((0, missing), (0, 0)), constant_values=np.nan)
            self._minutes[at] = there, held
        return there, held

    def _rows(self, symbols: Array, since: Array) -> pl.DataFrame:
        """The rows of these symbols, of each from its own minute `since` on."""
        pieces = []
        for begin in np.unique(since).tolist():
            own = symbols[since == begin]
            parts = np.array_split(own, -(-own.size // _SYMBOLS_AT_ONCE))
            pieces += [self._of_symbols(part, begin) for part in parts]
        symbol, minute, usual, deviation = (np.concatenate(each) for each in zip(*pieces, strict=True))
        columns: dict[str, Array] = {}
        for at, measure in enumerate(MEASURES):
            for name, each in ((f"usual_{measure.name}", usual), (f"{measure.name}_deviation", deviation)):
                if name in SEASONALITY.by_name:
                    columns[name] = each[:, at]
        start = self._session.regular_start + minute * NS_PER_MINUTE
        keys = {
            "symbol": self._names[symbol],
            "event_time": pl.Series(start).cast(TIME),
            "known_time": pl.Series(start + NS_PER_MINUTE).cast(TIME),
            "days": pl.Series(self._days[symbol]),
        }
        return SEASONALITY.conform(pl.DataFrame({**keys, **known(columns)}))

    def _of_symbols(self, symbols: Array, begin: int) -> tuple[Array, Array, Array, Array]:
        """Symbol, minute, and usual size and deviation by measure, of the rows of symbols from a minute on."""
        first, end = max(begin - LOOK_BACK + 1, 0), max(begin, max(self._minutes) + 1)
        there = np.zeros((end - first, symbols.size), dtype=np.bool_)
        values = np.full((end - first, symbols.size, len(MEASURES)), np.nan)
        for at in [at for at in self._minutes if at >= first]:
            has_row, held = self._minute(at)
            there[at - first], values[at - first] = has_row[symbols], held[symbols]
        row, place = np.nonzero(there[begin - first :])
        if self._usual is None:
            usual = deviation = np.full((row.size, len(MEASURES)), np.nan)
        else:
            shape = (-1, symbols.size, len(MEASURES))
            found = judged(
                self._usual.of_columns((symbols[:, None] * len(MEASURES) + np.arange(len(MEASURES))).ravel()),
                values.reshape(len(values), -1),
                is_signed=np.tile(_IS_SIGNED, symbols.size),
                first=first,
                begin=begin - first,
            )
            usual, deviation = (each.reshape(shape)[row, place] for each in found)
        return symbols[place], begin + row, usual, deviation
