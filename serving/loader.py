"""The detector of the scoring service: loads it, and turns its scores into verdicts."""

import datetime as dt
import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from math import isfinite
from operator import attrgetter
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl

from models.base import Scores
from models.served.base import RowScorer
from models.served.loading import load_row_scorer
from models.served.minutes import Minutes
from serving.reasons import strongest_reasons
from serving.schemas import Answer, Model, RequestError, Verdict
from tapewatch.market.instruments import (
    NS_PER_MINUTE,
    NS_PER_SECOND,
    Market,
    Partition,
    day_of,
    market_of,
    session_of,
)
from tapewatch.market.tables.tape import MICROSTRUCTURE

#: Allocations between garbage collections once the model is loaded; a collection delays the answer to a request.
_GC_THRESHOLDS = (50_000, 50, 50)
_WARM_UP_ROWS = 100
#: Minutes whose place in the session is remembered.
_PLACES = 4_096


class LoadError(RuntimeError):
    """A model cannot be served; the message names it and the reason."""


@dataclass(frozen=True)
class Scorer:
    """A loaded detector, with its registered name and version."""

    detector: RowScorer
    model: Model

    @classmethod
    def load(cls, folder: Path, *, name: str, version: str) -> Self:
        """The detector saved in `folder`. Raises LoadError if it needs features that this platform's rows do not have."""
        detector = load_row_scorer(folder)
        unknown = [feature for feature in detector.features if feature not in MICROSTRUCTURE.by_name]
        if unknown:
            raise LoadError(
                f"model {name} {version} needs {', '.join(unknown)}, which no microstructure row has: "
                "train it again with this version of the platform"
            )
        return cls(detector, Model(name, version))

    @cached_property
    def features(self) -> tuple[str, ...]:
        return tuple(self.detector.features)

    @cached_property
    def threshold(self) -> float:
        return float(self.detector.manifest.threshold)

    @cached_property
    def feature_version(self) -> int:
        """The version of the catalogue of features that the model reads."""
        return int(self.detector.manifest.catalog_version)

    @cached_property
    def markets(self) -> tuple[Market, ...]:
        """The markets of the training days; empty if the manifest names none."""
        return tuple(sorted({Partition.parse(key).market for key in self.detector.manifest.partitions}))

    def warm_up(self) -> None:
        """Score rows, so that the first request does not wait for what is built on first use."""
        # The session's time loads the calendar.
        self._placed(Market.STOCKS, dt.datetime(2000, 1, 3, 15, tzinfo=dt.UTC))
        time, blank = dt.datetime(2000, 1, 3, tzinfo=dt.UTC), np.full((_WARM_UP_ROWS, len(self.features)), np.nan)
        minutes = np.zeros(_WARM_UP_ROWS, dtype=np.int64)
        self.detector.score(Minutes(self.features, [""] * _WARM_UP_ROWS, [time] * _WARM_UP_ROWS, minutes, blank))

    def answer(self, rows: pl.DataFrame, *, reasons: bool = False, request_id: str = "") -> Answer:
        """Verdicts for microstructure rows, in their order; with `reasons`, their top reasons too.

        Minutes outside the regular session, and markets that the model was not trained on, are not scored: the result says
        why.

        Args:
            rows: columns of `MICROSTRUCTURE`, at least `symbol`, `event_time` and the model's features; null if a value is
                not known. `session_minute` is computed from symbol and time.

        Raises:
            RequestError: values are too extreme for the model.
        """
        results = self.verdicts(*self.arrays(rows), reasons=reasons)
        return Answer(self.model, results, self.feature_version, request_id)

    def arrays(self, rows: pl.DataFrame) -> tuple[list[str], list[dt.datetime], Scores]:
        """Symbols, times and feature values of a frame."""
        minutes = Minutes.of_frame(rows.with_columns(session_minute=pl.lit(0)), self.features)
        return list(minutes.symbols), list(minutes.times), minutes.values

    def arrays_of(self, rows: Sequence[Any]) -> tuple[list[str], list[dt.datetime], Scores]:
        """The same of rows of a request."""
        values = np.array([self._values_of(row) for row in rows], dtype=np.float64).reshape(len(rows), -1)
        return [row.symbol for row in rows], [row.event_time for row in rows], values

    def verdicts(
        self, symbols: Sequence[str], times: Sequence[dt.datetime], values: Scores, *, reasons: bool = False
    ) -> list[Verdict]:
        """As `answer`, for rows as arrays: `values` are rows x features."""
        places = self._places(symbols, times)
        at = [index for index, place in enumerate(places) if isinstance(place, int)]
        minutes = np.array([places[index] for index in at], dtype=np.int64)
        is_whole = len(at) == len(places)
        chosen = Minutes(
            self.features,
            symbols if is_whole else [symbols[index] for index in at],
            times if is_whole else [times[index] for index in at],
            minutes,
            values if is_whole else values[at],
        )
        scored = iter(self._scored(chosen, reasons=reasons))
        return [
            next(scored) if isinstance(place, int) else self.unscored(symbol, time, place)
            for symbol, time, place in zip(symbols, times, places, strict=True)
        ]

    def unscored(self, symbol: str, time: dt.datetime | None, why: str) -> Verdict:
        """The verdict on a row that the model was not made for."""
        return Verdict(symbol, time, None, self.threshold, None, not_scored=why)

    def _scored(self, minutes: Minutes, *, reasons: bool) -> list[Verdict]:
        if not len(minutes):
            return []
        scores = self.detector.score(minutes)
        plain = scores.tolist()
        if not all(map(isfinite, plain)):
            raise RequestError("the rows hold values too extreme for the model to score")
        hours = self.detector.hours(scores, minutes.symbols)
        levels = [None] * len(minutes) if hours is None else hours.tolist()
        why = strongest_reasons(self.detector, minutes) if reasons else [[]] * len(minutes)
        threshold = self.threshold
        return [
            Verdict(symbol, time, score, threshold, score >= threshold, level, None, list(own))
            for symbol, time, score, level, own in zip(minutes.symbols, minutes.times, plain, levels, why, strict=True)
        ]

    def _places(self, symbols: Sequence[str], times: Sequence[dt.datetime]) -> list[int | str]:
        """The minute of the session of each row, or why the model cannot tell; rows of one minute are looked up once."""
        if len(symbols) == 1:
            return [self._placed(market_of(symbols[0]), times[0])]
        markets = {symbol: market_of(symbol) for symbol in set(symbols)}
        pairs = [(markets[symbol], time) for symbol, time in zip(symbols, times, strict=True)]
        known = {pair: self._placed(*pair) for pair in set(pairs)}
        return [known[pair] for pair in pairs]

    @cached_property
    def _placed(self) -> Callable[[Market, dt.datetime], int | str]:
        """`_place`, remembered: the rows of a minute come together."""
        # A method would hold its scorer, and an old one, in a cycle, would stay after a swap until a garbage collection.
        return lru_cache(_PLACES)(partial(_place, self.model, self.markets))

    @cached_property
    def _values_of(self) -> Any:
        names = self.features
        return attrgetter(*names) if len(names) > 1 else lambda row: (getattr(row, names[0]),)


def _place(model: Model, markets: tuple[Market, ...], market: Market, time: dt.datetime) -> int | str:
    if markets and market not in markets:
        return f"{model.name} {model.version} was trained on {', '.join(markets)}, not on {market}"
    try:
        session = session_of(market, day_of(market, time))
    except ValueError as error:
        return f"no calendar of {market} reaches {time.isoformat()}: {error}"
    if session is None:
        return f"{market} does not trade at {time.isoformat()}"
    minute = (int(time.timestamp()) * NS_PER_SECOND - session.regular_start) // NS_PER_MINUTE
    if not 0 <= minute < session.regular_minutes:
        return f"{time.isoformat()} is outside the regular session of {market}, which the model was trained on"
    return minute


def quiet_garbage_collector() -> None:
    """Exclude all loaded objects from garbage collection, and run it rarely from now on."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
