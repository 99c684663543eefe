"""Loads a saved detector for serving, of whatever class it is."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from models.base import DetectorError, Scores
from models.loading import detector_name, load_detector
from models.manifest import Manifest
from models.served.base import RowScorer, graph_of
from models.served.forest import NAME as FOREST
from models.served.forest import ForestScorer, forest_graph
from models.served.minutes import Minutes


@dataclass(frozen=True)
class FrameScorer:
    """A detector that scores frames without scikit-learn or a deep-learning framework, such as the autoencoder."""

    detector: Any

    @property
    def manifest(self) -> Manifest:
        found: Manifest = self.detector.manifest
        return found

    @property
    def features(self) -> tuple[str, ...]:
        return tuple(self.detector.features)

    def score(self, minutes: Minutes) -> Scores:
        scores: Scores = self.detector.score(minutes.to_frame())
        return scores

    def hours(self, scores: Scores) -> Scores | None:
        """As the detector says, if it is calibrated."""
        calibrated = getattr(self.detector, "hours_between", None)
        return calibrated(scores) if calibrated is not None else None

    def explain(self, minutes: Minutes) -> pl.DataFrame:
        """Rows that repeat a symbol's minute are explained in calls of their own: attributions name a row by its minute."""
        place = ["symbol", "event_time"]
        rows = minutes.to_frame().with_row_index("row")
        rows = rows.with_columns(occurrence=pl.int_range(pl.len()).over(place))
        parts = []
        for part in rows.partition_by("occurrence", maintain_order=True):
            found = self.detector.explain(part.drop("row", "occurrence")).with_columns(pl.col("symbol").cast(pl.String))
            numbered = found.join(part.select(*place, "row"), on=place)
            parts.append(
                numbered.select(pl.col("row").cast(pl.Int64), pl.col("feature").cast(pl.String), "value", "shap_value")
            )
        joined: pl.DataFrame = pl.concat(parts)
        return joined


def load_row_scorer(folder: Path) -> RowScorer:
    """The detector saved in `folder`, to be served.

    Raises:
        DetectorError: as `load_detector`.
    """
    try:
        return ForestScorer.load(folder) if detector_name(folder) == FOREST else FrameScorer(load_detector(folder))
    except (ValueError, OSError) as error:
        raise DetectorError(f"{folder} cannot be used: {error}") from error


def write_graph(saved: Path, target: Path) -> None:
    """Write the graph that serving needs of the detector in `saved` into the folder `target`; nothing if it needs none.

    Raises:
        DetectorError: the graph does not score as the detector does.
    """
    if detector_name(saved) == FOREST:
        graph_of(target, FOREST).write_bytes(forest_graph(saved))
