"""Fits and judges the autoencoder and logs it to MLflow. Slow to import: the asset imports it as it runs."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import mlflow
import polars as pl

from assets.models.promoting import Scored, judge_candidate
from assets.models.training import Fitted, evaluated
from assets.models.validation import ValidationDays
from models.evaluation import NotJudgedError
from models.lstm_autoencoder.detector import LstmAutoencoderDetector
from models.lstm_autoencoder.network import check_installed
from models.lstm_autoencoder.training import AutoencoderParameters, Epoch
from models.plots import score_distribution
from resources.detector_pyfunc import as_pandas
from resources.mlflow_registry import ModelRegistry

_EXAMPLE_ROWS = 20
_RUN = "mlflow_run"


def fit(
    registry: ModelRegistry,
    name: str,
    rows: pl.DataFrame,
    days: Mapping[str, Sequence[str]],
    parameters: AutoencoderParameters,
    *,
    seed: int,
    work: Path,
    log: Callable[[str], None],
) -> Fitted:
    """Fit an autoencoder on `rows`, and log it and its losses by epoch to the experiment `name`.

    Args:
        days: partition keys under `train` (those of `rows`) and `validation`.
        parameters: of network and training.
        seed: of the training.
        work: folder of the checkpoint, by which an interrupted training continues in its MLflow run.
        log: gets a line an epoch.

    Raises:
        DetectorError: too little data, or Keras cannot be used.
    """
    check_installed(parameters.backend)
    detector = LstmAutoencoderDetector(parameters, seed)
    checkpoint, run_file = work / "checkpoint.npz", work / _RUN

    def on_epoch(epoch: Epoch) -> None:
        mlflow.log_metrics({"loss": epoch.loss, "held_out_loss": epoch.held_out_loss}, step=epoch.number)
        log(
            f"epoch {epoch.number} of at most {parameters.epochs}: loss {epoch.loss:.4f}, held out {epoch.held_out_loss:.4f}"
        )

    resumed = _interrupted(registry, checkpoint, run_file)
    with registry.training(name, days, seed, run_id=resumed) as run:
        work.mkdir(parents=True, exist_ok=True)
        run_file.write_text(run.info.run_id)
        detector.fit(rows, partitions=days["train"], checkpoint=checkpoint, on_epoch=on_epoch)
        mlflow.log_params({**asdict(parameters), "seed": seed, "rows": rows.height, "features": len(detector.features)})
        mlflow.log_dict(dict(days), "partitions.json")
        scores = detector.score(rows)
        share = float((scores >= detector.threshold).mean())
        mlflow.log_metrics({"threshold": detector.threshold, "train_alert_share": share})
        with tempfile.TemporaryDirectory() as folder:
            detector.save(Path(folder))
            model_uri = registry.log_detector(Path(folder), *as_pandas(detector, rows.head(_EXAMPLE_ROWS)))
            registry.log_onnx(detector, rows)
    run_file.unlink(missing_ok=True)
    return Fitted(run.info.run_id, model_uri, detector.threshold, score_distribution(scores, detector.threshold))


def judge(registry: ModelRegistry, name: str, reference: Mapping[str, Any], days: ValidationDays) -> dict[str, float]:
    """Metrics of the detector of `reference` and its champion's average precision on `days`, logged to its run.

    Without anything to judge by there are only the numbers of minutes.
    """
    scored = Scored.of(registry, name, reference, days)
    judge_candidate(registry, name, reference, scored)
    try:
        result = evaluated(scored.candidate, days, scored.score)
        metrics = {metric: float(value) for metric, value in result.metrics.items()}
        if scored.champion is not None:
            of_champion = evaluated(scored.champion, days, scored.champion_score)
            metrics["champion_average_precision"] = of_champion.metrics["average_precision"]
    except NotJudgedError as error:
        metrics = {"minutes": float(error.minutes), "anomalous_minutes": float(error.anomalous_minutes)}
    with registry.run(name, run_id=reference["run_id"]):
        mlflow.log_metrics(metrics)
    return metrics


def _interrupted(registry: ModelRegistry, checkpoint: Path, run_file: Path) -> str | None:
    """The MLflow run of a training whose checkpoint is still there."""
    if not (checkpoint.is_file() and run_file.is_file()):
        return None
    run_id = run_file.read_text().strip()
    try:
        registry.metrics(run_id)
    except mlflow.MlflowException:
        return None
    return run_id
