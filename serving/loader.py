"""The detector of the scoring service: loads it, and turns its scores into verdicts."""

import datetime as dt
import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from operator import attrgetter
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl

from models.base import Scores
from models.served.base import RowScorer
from models.served.loading import load_row_scorer
from models.served.minutes import Indices, Minutes, distinct_below, numbered
from serving.judged import SCORED, Judged
from serving.reasons import strongest_reasons
from serving.schemas import Answer, Model, Reason, RequestError, Verdict
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
_NO_MINUTE = -1


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
        for some in (1, _WARM_UP_ROWS):
            minutes = Minutes.of(self.features, [""] * some, [time] * some, blank[:some])
            self.detector.score(minutes.placed(np.zeros(some, dtype=np.int64)))

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
        results = self.judged(Minutes.of_frame(rows, self.features), reasons=reasons).verdicts()
        return Answer(self.model, results, self.feature_version, request_id)

    def minutes_of(self, rows: Sequence[Any]) -> Minutes:
        """The rows of a request."""
        values = np.array([self._values_of(row) for row in rows], dtype=np.float64).reshape(len(rows), -1)
        return Minutes.of(self.features, [row.symbol for row in rows], [row.event_time for row in rows], values)

    def judged(self, minutes: Minutes, *, reasons: bool = False) -> Judged:
        """As `answer`, as arrays. `minutes` have the model's features in their order; their minutes of the session are computed."""
        session_minutes, of_fault, faults = self._places(minutes)
        placed = minutes.placed(session_minutes)
        if not faults:
            return Judged(minutes, self.threshold, *self._scored(placed), faults, of_fault, self._why(placed, reasons))
        at = np.flatnonzero(of_fault == SCORED)
        scored = placed.take(at)
        scores, hours = np.full((2, len(minutes)), np.nan)
        scores[at], hours[at] = self._scored(scored)
        own = dict(zip(at.tolist(), self._why(scored, reasons), strict=True)) if reasons else {}
        why = [own.get(row, []) for row in range(len(minutes))] if reasons else []
        return Judged(minutes, self.threshold, scores, hours, faults, of_fault, why)

    def unscored(self, symbol: str, time: dt.datetime | None, why: str) -> Verdict:
        """The verdict on a row that the model was not made for."""
        return Verdict(symbol, time, None, self.threshold, None, not_scored=why)

    def _scored(self, minutes: Minutes) -> tuple[Scores, Scores]:
        """Scores, and hours between scores as high."""
        if not len(minutes):
            return np.empty(0), np.empty(0)
        scores = self.detector.score(minutes)
        if not np.isfinite(scores).all():
            raise RequestError("the rows hold values too extreme for the model to score")
        hours = self.detector.hours(scores, minutes)
        return scores, np.full(len(minutes), np.nan) if hours is None else hours

    def _why(self, minutes: Minutes, is_wanted: bool) -> list[list[Reason]]:
        return strongest_reasons(self.detector, minutes) if is_wanted and len(minutes) else []

    def _places(self, minutes: Minutes) -> tuple[Indices, Indices, list[str]]:
        """The minute of the session of each row; why rows are not scored, and the place of each row's reason among that.

        A market's rows of one time are looked up once.
        """
        if len(minutes) == 1:
            place = self._placed(market_of(minutes.names[minutes.of_name[0]]), minutes.moments[minutes.of_moment[0]])
            is_known = isinstance(place, int)
            found = np.array([[place, SCORED] if is_known else [_NO_MINUTE, 0]], dtype=np.int64)
            return found[:, 0], found[:, 1], [] if is_known else [str(place)]
        markets, of_market = numbered([market_of(name) for name in minutes.names])
        keys = of_market[minutes.of_name] * len(minutes.moments) + minutes.of_moment
        known = np.empty((2, len(markets) * len(minutes.moments)), dtype=np.int64)
        faults: dict[str, int] = {}
        for key in distinct_below(known.shape[1], keys):
            market, moment = divmod(key, len(minutes.moments))
            place = self._placed(markets[market], minutes.moments[moment])
            is_known = isinstance(place, int)
            known[:, key] = (place, SCORED) if is_known else (_NO_MINUTE, faults.setdefault(str(place), len(faults)))
        session_minutes, of_fault = known.take(keys, axis=1)
        return session_minutes, of_fault, list(faults)

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
