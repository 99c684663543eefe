"""The detector of the scoring service: loads it, and turns its scores into verdicts."""

import datetime as dt
import gc
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl

from models.events import top_reasons
from models.isolation_forest import IsolationForestDetector
from serving.schemas import Answer, Model, Reason, RequestError, Verdict
from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND, day_of, market_of, session_of
from tapewatch.market.tables import MICROSTRUCTURE

TOP_REASONS = 5
#: Allocations between garbage collections once the model is loaded; a collection delays the answer to a request.
_GC_THRESHOLDS = (50_000, 50, 50)


class LoadError(RuntimeError):
    """A model cannot be served; the message names it and the reason."""


@dataclass(frozen=True)
class Scorer:
    """A loaded detector, with its registered name and version."""

    detector: IsolationForestDetector
    model: Model

    @classmethod
    def load(cls, folder: Path, *, name: str, version: str) -> Self:
        """The detector saved in `folder`. Raises LoadError if it needs features that this platform's rows do not have."""
        detector = IsolationForestDetector.load(folder)
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

    def warm_up(self) -> None:
        """Score one row, so that the first request does not wait for what is built on first use."""
        row = {name: [None] for name in MICROSTRUCTURE.schema} | {"symbol": [""], "session_minute": [0]}
        schema = {**MICROSTRUCTURE.schema, "symbol": pl.String()}
        self.answer(
            pl.DataFrame(row, schema=schema).with_columns(event_time=pl.lit(dt.datetime(2000, 1, 3, tzinfo=dt.UTC)))
        )

    def answer(self, rows: pl.DataFrame) -> Answer:
        """Verdicts with their top reasons for microstructure rows, in their order.

        Args:
            rows: columns of `MICROSTRUCTURE`, at least `symbol`, `event_time` and the model's features; null if a value is
                not known. A null `session_minute` is computed from symbol and time.

        Raises:
            RequestError: values are too extreme for the model.
        """
        rows = _with_session_minute(rows)
        scores = self.detector.score(rows)
        if not np.isfinite(scores).all():
            raise RequestError("the rows hold values too extreme for the model to score")
        reasons = self._reasons(rows)
        threshold = float(self.detector.threshold)
        verdicts = [
            Verdict(
                symbol=str(symbol),
                event_time=event_time,
                score=float(score),
                threshold=threshold,
                is_anomaly=bool(score >= threshold),
                reasons=reasons[position],
            )
            for position, (symbol, event_time, score) in enumerate(
                zip(rows["symbol"], rows["event_time"].dt.cast_time_unit("us"), scores, strict=True)
            )
        ]
        return Answer(self.model, verdicts)

    def _reasons(self, rows: pl.DataFrame) -> list[list[Reason]]:
        # A request may hold a symbol's minute twice: here each row's position stands for its time.
        position = pl.int_range(pl.len(), dtype=pl.Int64).cast(pl.Datetime("ns", "UTC"))
        attributions = self.detector.explain(rows.with_columns(event_time=position))
        by_row = {
            frame["event_time"].dt.epoch("ns").item(0): top_reasons(frame, TOP_REASONS)
            for frame in attributions.partition_by("event_time")
        }
        return [[Reason(**reason) for reason in by_row[index]] for index in range(rows.height)]  # type: ignore[arg-type]


def _with_session_minute(rows: pl.DataFrame) -> pl.DataFrame:
    if "session_minute" in rows.columns and not rows["session_minute"].null_count():
        return rows
    known = rows["session_minute"] if "session_minute" in rows.columns else [None] * rows.height
    minutes = [
        minute if minute is not None else _session_minute(str(symbol), time)
        for symbol, time, minute in zip(rows["symbol"], rows["event_time"], known, strict=True)
    ]
    return rows.with_columns(session_minute=pl.Series(minutes, dtype=pl.Int32))


def _session_minute(symbol: str, time: dt.datetime) -> int:
    market = market_of(symbol)
    try:
        session = session_of(market, day_of(market, time))
    except ValueError as error:
        raise RequestError(f"no calendar of {market} reaches {time.isoformat()}: {error}") from error
    if session is None:
        raise RequestError(f"{market} does not trade at {time.isoformat()}: {symbol} has no such minute")
    return (int(time.timestamp()) * NS_PER_SECOND - session.regular_start) // NS_PER_MINUTE


def quiet_garbage_collector() -> None:
    """Exclude all loaded objects from garbage collection, and run it rarely from now on."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
