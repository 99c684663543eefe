"""The detector of the scoring service: loads it, and turns its scores into verdicts."""

import datetime as dt
import gc
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl

from models.base import Detector
from models.loading import load_detector
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
from tapewatch.market.tables import MICROSTRUCTURE

TOP_REASONS = 5
#: Allocations between garbage collections once the model is loaded; a collection delays the answer to a request.
_GC_THRESHOLDS = (50_000, 50, 50)


class LoadError(RuntimeError):
    """A model cannot be served; the message names it and the reason."""


@dataclass(frozen=True)
class Scorer:
    """A loaded detector, with its registered name and version."""

    detector: Detector
    model: Model

    @classmethod
    def load(cls, folder: Path, *, name: str, version: str) -> Self:
        """The detector saved in `folder`. Raises LoadError if it needs features that this platform's rows do not have."""
        detector = load_detector(folder)
        unknown = [feature for feature in detector.features if feature not in MICROSTRUCTURE.by_name]
        if unknown:
            raise LoadError(
                f"model {name} {version} needs {', '.join(unknown)}, which no microstructure row has: "
                "train it again with this version of the platform"
            )
        return cls(detector, Model(name, version))

    @property
    def features(self) -> tuple[str, ...]:
        return tuple(self.detector.features)

    @property
    def threshold(self) -> float:
        return float(self.detector.threshold)

    @cached_property
    def markets(self) -> tuple[Market, ...]:
        """The markets of the training days; empty if the manifest names none."""
        return tuple(sorted({Partition.parse(key).market for key in self.detector.manifest.partitions}))

    def warm_up(self) -> None:
        """Score one row, so that the first request does not wait for what is built on first use."""
        row = {name: [None] for name in MICROSTRUCTURE.schema} | {"symbol": [""], "session_minute": [0]}
        schema = {**MICROSTRUCTURE.schema, "symbol": pl.String()}
        self._verdicts(
            pl.DataFrame(row, schema=schema).with_columns(event_time=pl.lit(dt.datetime(2000, 1, 3, tzinfo=dt.UTC)))
        )

    def answer(self, rows: pl.DataFrame) -> Answer:
        """Verdicts with their top reasons for microstructure rows, in their order.

        Minutes outside the regular session, and markets that the model was not trained on, are not scored: the result says
        why.

        Args:
            rows: columns of `MICROSTRUCTURE`, at least `symbol`, `event_time` and the model's features; null if a value is
                not known. `session_minute` is computed from symbol and time.

        Raises:
            RequestError: values are too extreme for the model.
        """
        places = [self._place(str(symbol), time) for symbol, time in zip(rows["symbol"], _times(rows), strict=True)]
        is_scored = pl.Series([isinstance(place, int) for place in places], dtype=pl.Boolean)
        minutes = pl.Series([place for place in places if isinstance(place, int)], dtype=pl.Int32)
        verdicts = iter(self._verdicts(rows.filter(is_scored).with_columns(session_minute=minutes)))
        results = [
            next(verdicts) if isinstance(place, int) else self._unscored(symbol, time, place)
            for symbol, time, place in zip(rows["symbol"], _times(rows), places, strict=True)
        ]
        return Answer(self.model, results)

    def _place(self, symbol: str, time: dt.datetime) -> int | str:
        """The minute of the session, or why the model cannot tell."""
        market = market_of(symbol)
        if self.markets and market not in self.markets:
            return f"{self.model.name} {self.model.version} was trained on {', '.join(self.markets)}, not on {market}"
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

    def _unscored(self, symbol: str, time: dt.datetime, why: str) -> Verdict:
        return Verdict(str(symbol), time, None, self.threshold, None, [], why)

    def _verdicts(self, rows: pl.DataFrame) -> list[Verdict]:
        if rows.is_empty():
            return []
        scores = self.detector.score(rows)
        if not np.isfinite(scores).all():
            raise RequestError("the rows hold values too extreme for the model to score")
        return [
            Verdict(str(symbol), time, float(score), self.threshold, bool(score >= self.threshold), reasons)
            for symbol, time, score, reasons in zip(
                rows["symbol"], _times(rows), scores, self._reasons(rows), strict=True
            )
        ]

    def _reasons(self, rows: pl.DataFrame) -> list[list[Reason]]:
        # A request may hold a symbol's minute twice: here each row's position stands for its time.
        position = pl.int_range(pl.len(), dtype=pl.Int64).cast(pl.Datetime("ns", "UTC"))
        # As `top_reasons`, for all rows at once.
        strongest = (
            self.detector.explain(rows.with_columns(event_time=position))
            .filter(pl.col("shap_value") > 0)
            .select(pl.col("event_time").dt.epoch("ns"), pl.col("feature").cast(pl.String), "value", "shap_value")
            .sort("event_time", "shap_value", "feature", descending=[False, True, False])
            .group_by("event_time", maintain_order=True)
            .head(TOP_REASONS)
        )
        by_row: list[list[Reason]] = [[] for _ in range(rows.height)]
        for index, feature, value, shap_value in strongest.iter_rows():
            by_row[index].append(Reason(feature, value, shap_value))
        return by_row


def _times(rows: pl.DataFrame) -> pl.Series:
    return rows["event_time"].dt.cast_time_unit("us")


def quiet_garbage_collector() -> None:
    """Exclude all loaded objects from garbage collection, and run it rarely from now on."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
