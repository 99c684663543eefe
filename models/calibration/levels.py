"""From scores to how rarely ordinary tape reaches them: the scale that members and ensemble share."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from models.base import DetectorError
from models.profile import EVERY_MARKET, group_names
from models.scan.tail import RATES, Tail

Floats = npt.NDArray[np.float64]

#: Minutes in a session: the unit of rates.
MINUTES: Final = 390
#: Peaks closer than this many minutes are one.
_APART = 10
#: Minutes after a declared anomaly that do not count as ordinary either.
_AFTER = 10
#: Fewer ordinary minutes say nothing of how rare a peak is.
_FEWEST = 200
#: Members whose scores are probabilities: as log odds their tail has no end.
_PROBABILITIES: Final = frozenset({"anomaly_classifier"})
_MOST_HOURS = 1e6


@dataclass(frozen=True)
class Level:
    """How rare a score is: 0 at the median, 1 where peaks occur 12 times in 390 minutes, and 1 more for each tenfold rarer.

    Between median and the commonest peaks it is linear in the score, then as `models/scan/calibration.py` says.
    """

    median: float
    tail: Tail

    @classmethod
    def fit(cls, scores: Floats, keys: pl.DataFrame) -> Self:
        """From scores of ordinary minutes (NaN is not judged) and their symbol and event_time."""
        from models.scan.calibration import fit_tail  # noqa: PLC0415 - imports Numba, which scoring does without

        numbered = keys.select(pl.col("symbol").cast(pl.String), "event_time", score=pl.Series(scores)).sort(
            "symbol", "event_time"
        )
        days = numbered.group_by("symbol", pl.col("event_time").dt.date().alias("day"), maintain_order=True).agg(
            "score"
        )
        series = [np.asarray(day.to_numpy(), dtype=np.float64) for day in days["score"]]
        return cls(float(np.nanmedian(scores)), fit_tail(series, a_day=MINUTES, apart=_APART))

    def of(self, scores: Floats) -> Floats:
        """The level of each score; NaN for NaN."""
        lowest = float(self.tail.heights[0])
        rise = np.clip((scores - self.median) / max(lowest - self.median, 1e-12), 0.0, 1.0)
        return np.where(
            scores > lowest, 1.0 + self.tail.surprise(scores) - self.tail.surprise(np.array([lowest])), rise
        )

    def row(self) -> dict[str, float]:
        """The numbers that make it, by name."""
        heights = {f"height_{i}": float(height) for i, height in enumerate(self.tail.heights)}
        return {"median": self.median, **heights, "excess": float(self.tail.excess)}

    @classmethod
    def of_row(cls, row: Mapping[str, float]) -> Self:
        """What `row` gave."""
        return cls(row["median"], Tail(np.array([row[f"height_{i}"] for i in range(len(RATES))]), row["excess"]))


def unbounded(member: str, scores: Floats) -> Floats:
    """A member's scores as they are calibrated: probabilities as log odds, others as they are."""
    if member not in _PROBABILITIES:
        return scores
    within = np.minimum(np.maximum(scores, 1e-12), 1.0 - 1e-12)
    return np.asarray(np.log(within) - np.log1p(-within))


def score_of(level: Floats) -> Floats:
    """0 to 1: h / (h + 6.5), with h the hours of a symbol's ordinary tape between alerts as high. 0.5 is one in 390 minutes."""
    return np.asarray(1.0 / (1.0 + 12.0 * 10.0 ** (1.0 - level)))


def hours_of(score: Floats) -> Floats:
    """The hours of which `score_of` makes a score; a million stands for more."""
    with np.errstate(divide="ignore"):
        hours: Floats = MINUTES / 60 * score / (1.0 - score)
    return np.minimum(hours, _MOST_HOURS)


def hours_of_level(level: Floats) -> Floats:
    """The hours of a symbol's ordinary tape between peaks of a level; a million stands for more."""
    return np.minimum(MINUTES / 60 / 12.0 * 10.0 ** (level - 1.0), _MOST_HOURS)


def threshold_of(hours: float) -> float:
    """The score of one alert in `hours` of a symbol's ordinary tape. Raises DetectorError for what is not above 0."""
    if not 0 < hours < float("inf"):
        raise DetectorError(f"one alert in {hours} hours is no setting: give a number of hours above 0")
    return hours / (hours + MINUTES / 60)


def declared(rows: pl.DataFrame) -> npt.NDArray[np.bool_]:
    """Whether a minute, or one of the ten before it, is declared anomalous."""
    if "is_anomaly" not in rows.columns:
        return np.zeros(rows.height, dtype=np.bool_)
    near = (
        rows.select(pl.col("symbol").cast(pl.String), "event_time", flag=pl.col("is_anomaly").fill_null(value=False))
        .with_row_index("row")
        .sort("symbol", "event_time")
        .with_columns(pl.col("flag").cast(pl.Int8).rolling_max(_AFTER + 1, min_samples=1).over("symbol"))
        .sort("row")
    )
    return np.asarray(near["flag"].to_numpy() > 0)


@dataclass(frozen=True)
class Levels:
    """A level of each market (`group_name`), and one of all for markets that were not among the training rows."""

    by_market: Mapping[str, Level]

    @classmethod
    def fit(cls, scores: Floats, keys: pl.DataFrame) -> Self:
        """From scores of ordinary minutes and their symbol and event_time; NaN is not judged.

        A market of which hardly a minute was judged has no level. Without any there is none at all.
        """
        markets = np.array(group_names(keys["symbol"]))
        known = np.isfinite(scores)
        chosen = {EVERY_MARKET: known} | {str(name): known & (markets == name) for name in np.unique(markets)}
        return cls(
            {
                name: Level.fit(scores[mine], keys.filter(pl.Series(mine)))
                for name, mine in chosen.items()
                if mine.sum() >= _FEWEST
            }
        )

    def of(self, scores: Floats, symbols: pl.Series, *, is_pooled: bool) -> Floats:
        """The level of each score. A market without one of its own is NaN, or with `is_pooled` takes that of all."""
        markets = np.array(group_names(symbols))
        found = np.full(scores.shape, np.nan)
        for name in np.unique(markets):
            own = self.by_market.get(str(name), self.by_market.get(EVERY_MARKET) if is_pooled else None)
            if own is not None:
                mine = markets == name
                found[mine] = own.of(scores[mine])
        return found
