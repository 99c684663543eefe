"""Scores logged requests again with another version of the model, and compares."""

import datetime as dt
from dataclasses import dataclass

import polars as pl
from rich.table import Table

from serving.schemas import Model
from serving.traffic.log import read_traffic
from serving.traffic.replayed import rescored
from serving.versions import Versions
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


def replay(settings: Settings, first: dt.date, last: dt.date, *, name: str | None, version: str) -> Replay:
    """Score the sampled requests of `first` to `last` with a version of a model; without a `name`, of the one that answered last.

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
    from resources.mlflow_registry import ModelRegistry  # noqa: PLC0415 - takes seconds

    name = name or str(kept.sort("arrival_time")["model"][-1])
    registry = ModelRegistry(settings.tracking_uri, settings.artifact_root)
    scorer = Versions(settings.bento_home, registry.files_if_any).scorer(Model(name, version))
    if scorer is None:
        raise ReplayError(f"there is no {name} {version}: `tapewatch models list` names the versions")
    return Replay(kept.hstack(rescored(kept, scorer)), name, version)
