"""An event's features against their normal range at that time of day."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from tapewatch.reports.dossier.wording import in_words, unit_of

#: Minutes of earlier days this near to the event's time of day are its peers; fewer than the least say nothing.
_NEAR, _FEWEST = 30, 20
_RANGE = (0.05, 0.95)


@dataclass(frozen=True, slots=True)
class Measure:
    """A feature at the event's peak: value, usual range (5th to 95th percentile), share of the score, and all of it in words."""

    feature: str
    value: float | None
    unit: str
    low: float | None
    high: float | None
    contribution: float | None
    words: str

    @property
    def is_usual(self) -> bool:
        """Whether the value lies in its usual range, or either is unknown."""
        if self.value is None or self.low is None or self.high is None:
            return True
        return self.low <= self.value <= self.high


def measures(
    peak: Mapping[str, object], history: pl.DataFrame, features: Sequence[str], contributions: Mapping[str, float]
) -> list[Measure]:
    """The features of one minute, those that made it anomalous first.

    Args:
        peak: the minute: MICROSTRUCTURE columns.
        history: regular MICROSTRUCTURE rows of the symbol that were complete before the event.
        features: columns to measure.
        contributions: share of the score by feature; may be empty.
    """
    usual = usual_ranges(history, int(str(peak["session_minute"])), features)
    found = [_measure(name, peak.get(name), *usual[name], contributions.get(name)) for name in features]
    return sorted(found, key=lambda each: (-(each.contribution or 0.0), each.is_usual, each.feature))


def usual_ranges(
    history: pl.DataFrame, session_minute: int, features: Sequence[str]
) -> dict[str, tuple[float | None, float | None]]:
    """The 5th and 95th percentile of each feature within half an hour of a time of day; of all times where these are few."""
    near = history.filter((pl.col("session_minute") - session_minute).abs() <= _NEAR)
    chosen = near if near.height >= _FEWEST else history
    if chosen.height < _FEWEST:
        return dict.fromkeys(features, (None, None))
    known = [pl.col(name).cast(pl.Float64).fill_nan(None) for name in features]
    quantiles = [chosen.select(each.quantile(share) for each in known).row(0) for share in _RANGE]
    return dict(zip(features, zip(*quantiles, strict=True), strict=True))


def peak_minute(rows: pl.DataFrame, scores: pl.Series, start: dt.datetime, end: dt.datetime) -> int | None:
    """The row of the highest score in [start, end), the earlier of equals; None where it holds none."""
    inside = (
        rows.with_row_index("row")
        .with_columns(peak_score=scores)
        .filter(pl.col("event_time").is_between(start, end, "left"))
    )
    return (
        None if inside.is_empty() else int(inside.sort("peak_score", "event_time", descending=[True, False])["row"][0])
    )


def _measure(name: str, value: object, low: float | None, high: float | None, contribution: float | None) -> Measure:
    number = None if value is None else float(str(value))
    return Measure(name, number, unit_of(name), low, high, contribution, in_words(name, number, low, high))
