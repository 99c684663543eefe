"""Fixed limits of single features: what a desk would write down without any training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import numpy as np
import polars as pl

from models.attributions import attributions_of
from models.base import DetectorError, Scores
from models.manifest import Manifest, described
from models.naming import OUTAGE_S
from tapewatch.market.tables.tape import ATTRIBUTIONS

#: The value of a feature, upwards or, where it has a sign, either way, from which a minute is anomalous.
LIMITS: Final[Mapping[str, float]] = {
    "volume_ratio": 6.0,
    "return_score": 9.0,
    "volatility_ratio": 3.0,
    "spread_ratio": 4.0,
    "quote_count_ratio": 7.0,
    "flow_score_5m": 14.0,
    "tape_age_s": OUTAGE_S,
}


@dataclass
class LimitsDetector:
    """Scores minutes by the greatest of a feature's values over its limit; 1 is anomalous. Nothing is learnt from the rows."""

    seed: int = 0
    _manifest: Manifest | None = field(default=None, repr=False)
    name: str = "limits"

    @property
    def context_minutes(self) -> int:
        """Each minute is scored from its own row."""
        return 0

    def fit(self, rows: pl.DataFrame, *, partitions: Sequence[str] = ()) -> Self:
        """Record the rows. Raises DetectorError without any."""
        if rows.is_empty():
            raise DetectorError("no rows to fit the detector on: materialize the training days first")
        self._manifest = described(
            self.name,
            list(LIMITS),
            rows,
            partitions,
            threshold=1.0,
            alert_budget=0.0,
            seed=self.seed,
            parameters=LIMITS,
        )
        return self

    @property
    def manifest(self) -> Manifest:
        """How the detector came about."""
        if self._manifest is None:
            raise DetectorError("the detector has not been fitted: call fit or load first")
        return self._manifest

    @property
    def threshold(self) -> float:
        """A score at or above it is anomalous."""
        return self.manifest.threshold

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features that the detector reads."""
        return tuple(self.manifest.features)

    def score(self, rows: pl.DataFrame) -> Scores:
        """The greatest multiple of a limit in each row, not negative; 0 where no feature has a value."""
        return np.asarray(self._multiples(rows).max(axis=1)) if rows.height else np.empty(0)

    def held_out_scores(self, rows: pl.DataFrame) -> Scores:
        """The scores: no row had a part in the limits."""
        return self.score(rows)

    def hours_between(self, scores: Scores, symbols: pl.Series) -> Scores | None:  # noqa: ARG002
        """None: a baseline has no calibration."""
        return None

    def scored(self, rows: pl.DataFrame) -> pl.DataFrame:
        """symbol, event_time, known_time, score and is_out (nothing came for as long as the limit) of each row."""
        is_out = (rows["tape_age_s"] >= self.manifest.parameters["tape_age_s"]).fill_null(value=False)
        return rows.select("symbol", "event_time", "known_time").with_columns(
            score=pl.Series(self.score(rows), dtype=pl.Float64), is_out=is_out
        )

    def contributions(self, rows: pl.DataFrame) -> tuple[tuple[str, ...], Scores]:
        """Names of features; the greatest multiple is the score, the others contribute nothing (rows x features)."""
        found = self._multiples(rows)
        is_greatest = np.arange(found.shape[1]) == found.argmax(axis=1)[:, None]
        return self.features, np.where(is_greatest, found, 0.0)

    def explain(self, rows: pl.DataFrame) -> pl.DataFrame:
        """An ATTRIBUTIONS frame: a row's contributions add up to its score."""
        return (
            attributions_of(rows, *self.contributions(rows), self.score(rows)) if rows.height else ATTRIBUTIONS.empty()
        )

    def save(self, folder: Path) -> None:
        """Write the manifest, which holds the limits, into `folder`, made if need be."""
        folder.mkdir(parents=True, exist_ok=True)
        self.manifest.write(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The detector as saved. Raises DetectorError where the manifest does not fit this code."""
        manifest = Manifest.read(Path(folder), detector=cls.name)
        return cls(manifest.seed, manifest)

    def _multiples(self, rows: pl.DataFrame) -> Scores:
        limits = self.manifest.parameters
        values = rows.select(
            pl.col(name).cast(pl.Float64).fill_nan(None).fill_null(0.0).abs() / limits[name] for name in self.features
        )
        return values.to_numpy().astype(np.float64)
