"""Ordinary and labelled minutes brought together, each measured from a profile of the other days."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import polars as pl

from models.anomaly_classifier.examples import is_anomalous, ordinary
from models.anomaly_classifier.learning import FEWEST, Flags, Floats, Indices
from models.base import DetectorError
from models.evidence import Evidence
from models.profile import folds_of, group_names, held_out_profiles
from tapewatch.features.catalog import Feature
from tapewatch.labels.training.splits import LabelSpans

#: Boosters, each grown on the days of the others' groups.
_FOLDS = 3
_FEWEST_ORDINARY = 200
_KEYS = ("symbol", "event_time", "known_time", "session_minute")


@dataclass(frozen=True)
class Prepared:
    """What the trees are grown from; one row each in all arrays. `is_own` are the training rows, the others labelled copies."""

    evidence: Evidence
    rows: pl.DataFrame
    inputs: Floats
    is_anomaly: Flags
    weight: Floats
    fold: Indices
    is_own: npt.NDArray[np.bool_]

    @property
    def spans(self) -> LabelSpans:
        """From the start of each minute to when its label is known."""
        return LabelSpans.of(self.rows)

    @classmethod
    def of(cls, rows: pl.DataFrame, labelled: pl.DataFrame, features: tuple[Feature, ...]) -> Self:
        """Of the markets that have labelled anomalies.

        Raises:
            DetectorError: too few minutes of either kind, or no feature with a value.
        """
        names = [feature.name for feature in features]
        columns = [*_KEYS, *names, "kind", "weight"]
        own = _in_markets_of(labelled, ordinary(rows)).select(_as_kept(columns))
        dates = own["event_time"].dt.date().unique()
        further = _in_markets_of(labelled, labelled).filter(pl.col("event_time").dt.date().is_in(dates.implode()))
        further = further.select(_as_kept(columns))
        anomalies = int(is_anomalous(further["kind"]).sum())
        if anomalies < FEWEST or own.height < _FEWEST_ORDINARY:
            raise DetectorError(
                f"the classifier needs {_FEWEST_ORDINARY} ordinary and {FEWEST} anomalous minutes, and has {own.height} and "
                f"{anomalies}: train on more days, on symbols with more trades or quotes, or add labels (tapewatch labels add)"
            )
        if all(own[name].fill_nan(None).null_count() == own.height for name in names):
            raise DetectorError(f"none of {', '.join(names)} has a value in the training rows")
        both = pl.concat([own, further])
        is_own = np.arange(both.height) < own.height
        deviations = np.empty((both.height, len(features)))
        days = folds_of(both)
        for mine, profile in held_out_profiles(own, features):
            chosen = days == days[is_own][mine][0]
            deviations[chosen] = profile.standardise(both.filter(pl.Series(chosen)))
        evidence = Evidence.of_deviations(own, deviations[is_own], features)
        return cls(
            evidence,
            both,
            as_float32(evidence.surprises_of(deviations, both["symbol"])),
            is_anomalous(both["kind"]),
            both["weight"].to_numpy(),
            _folds(both),
            is_own,
        )


def as_float32(inputs: Floats) -> Floats:
    """Rounded to float32 values, so that an ONNX graph gets the same inputs as the trees."""
    return inputs.astype(np.float32).astype(np.float64)


def _as_kept(columns: list[str]) -> list[pl.Expr]:
    text = {"symbol", "kind"}
    plain = {*text, "event_time", "known_time"}
    return [
        pl.col(name).cast(pl.String)
        if name in text
        else pl.col(name)
        if name in plain
        else pl.col(name).cast(pl.Float64)
        for name in columns
    ]


def _in_markets_of(labelled: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    learnt = set(group_names(labelled.filter(is_anomalous(labelled["kind"]))["symbol"]))
    return rows.filter(pl.Series([name in learnt for name in group_names(rows["symbol"])], dtype=pl.Boolean))


def _folds(rows: pl.DataFrame) -> Indices:
    """Days in up to three groups; of a single day its halves."""
    fold = folds_of(rows, _FOLDS)
    if fold.any():
        return fold
    times = rows["event_time"]
    return np.asarray((times > times.median()).to_numpy(), dtype=np.int64)
