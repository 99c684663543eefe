"""Scores logged requests again with another version of the model, and compares."""

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from rich.table import Table

from models.served.base import RowScorer
from models.served.loading import load_row_scorer
from serving.bento import MODEL_NAME
from serving.loader import Scorer
from serving.schemas import Model
from serving.traffic import read_traffic
from tapewatch.settings import Settings


class ReplayError(RuntimeError):
    """There is nothing to replay, or no such version; the message says which and the way out."""


@dataclass(frozen=True)
class Replay:
    """The scores of logged rows, as they were answered and by another version, by symbol."""

    rows: pl.DataFrame
    name: str
    version: str

    @property
    def agreement(self) -> float:
        """The share of rows with the same verdict."""
        return float((self.rows["is_anomaly"] == self.rows["is_anomaly_now"]).mean() or 0.0)

    def table(self) -> Table:
        """Rows, agreement, greatest and mean difference, and alerts gained and lost, by symbol and in all."""
        difference = (pl.col("score_now") - pl.col("score")).abs()
        facts = (
            pl.len().alias("rows"),
            (pl.col("is_anomaly") == pl.col("is_anomaly_now")).mean().alias("agree"),
            difference.mean().alias("mean"),
            difference.max().alias("greatest"),
            (~pl.col("is_anomaly") & pl.col("is_anomaly_now")).sum().alias("gained"),
            (pl.col("is_anomaly") & ~pl.col("is_anomaly_now")).sum().alias("lost"),
        )
        by_symbol = self.rows.group_by("symbol").agg(facts).sort("symbol")
        whole = self.rows.select(pl.lit("all").alias("symbol"), *facts)
        shown = Table(
            *("symbol", "rows", "same verdict", "mean change", "greatest", "gained", "lost"),
            title=f"{self.name} {self.version}",
        )
        for symbol, rows, agree, mean, greatest, gained, lost in pl.concat([by_symbol, whole]).iter_rows():
            shown.add_row(
                symbol, f"{rows:,}", f"{agree:.1%}", f"{mean:.4f}", f"{greatest:.4f}", f"{gained:,}", f"{lost:,}"
            )
        return shown


def replay(settings: Settings, first: dt.date, last: dt.date, *, name: str, version: str) -> Replay:
    """Score the sampled requests of `first` to `last` with a version of a model.

    Raises:
        ReplayError: no request was kept, or there is no such version.
        DetectorError: this code cannot use that version.
    """
    kept = read_traffic(settings.lake_root, first, last).filter(pl.col("score").is_not_null())
    if kept.is_empty():
        raise ReplayError(
            f"no scored request of {first} to {last} was kept: set TAPEWATCH_SCORING_SAMPLE, such as to 0.01, and restart the "
            "scoring service"
        )
    with _saved(settings, name, version) as folder:
        detector = load_row_scorer(folder)
    return Replay(_scored(kept, detector, Model(name, version)), name, version)


def _scored(kept: pl.DataFrame, detector: RowScorer, model: Model) -> pl.DataFrame:
    scorer = Scorer(detector, model)
    vectors = np.array(
        [
            [found.get(name) for name in scorer.features]
            for names, values in kept.select("features", "values").iter_rows()
            for found in (dict(zip(names, values, strict=True)),)
        ],
        dtype=np.float64,
    )
    verdicts = scorer.verdicts(kept["symbol"].to_list(), kept["event_time"].to_list(), vectors)
    now = pl.DataFrame(
        {"score_now": [v.score for v in verdicts], "is_anomaly_now": [v.is_anomaly for v in verdicts]},
        schema={"score_now": pl.Float64(), "is_anomaly_now": pl.Boolean()},
    )
    return kept.hstack(now)


@contextmanager
def _saved(settings: Settings, name: str, version: str) -> Iterator[Path]:
    """The folder of a saved detector: in BentoML's store, or downloaded from the registry."""
    stored = settings.bento_home / "models" / MODEL_NAME / f"{name}-{version}"
    if stored.is_dir():
        yield stored
        return
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 - takes seconds

    from resources.mlflow_registry import ModelRegistry  # noqa: PLC0415

    registry = ModelRegistry(settings.tracking_uri, settings.artifact_root)
    try:
        with registry.files(f"models:/{name}/{version}") as folder:
            yield folder
    except MlflowException as error:
        raise ReplayError(f"there is no {name} {version}: {error.message.splitlines()[0]}") from error
