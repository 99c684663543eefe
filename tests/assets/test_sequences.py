"""Training of the autoencoder in MLflow: kill and resume, and failures that leave nothing half-registered."""

from collections.abc import Iterator
from pathlib import Path

import mlflow
import polars as pl
import pytest

from assets.models import deciding, sequences
from assets.models.training import Fitted
from assets.models.validation import ValidationDays
from models.base import DetectorError
from models.lstm_autoencoder.training import AutoencoderParameters
from resources.mlflow_registry import ModelRegistry
from tapewatch.market.tables.tape import TRUTH_LABELS
from tapewatch.store.database.database import Database
from tests.support.detectors import ordinary_rows

pytestmark = pytest.mark.slow

NAME = "lstm_autoencoder"
SMALL = AutoencoderParameters(window=4, units=4, code=2, epochs=3, batch=64, windows_an_epoch=128)
DAYS = {"train": ["2024-06-03|stocks"], "validation": ["2024-06-04|stocks"]}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelRegistry]:
    before, folder = mlflow.get_tracking_uri(), tmp_path_factory.mktemp("mlflow")
    yield ModelRegistry(f"sqlite:///{folder}/mlflow.db", (folder / "artifacts").as_uri())
    mlflow.set_tracking_uri(before)


def fit(
    registry: ModelRegistry, rows: pl.DataFrame, work: Path, log: object = lambda _: None, **changes: object
) -> Fitted:
    parameters = AutoencoderParameters(**{name: getattr(SMALL, name) for name in SMALL.__slots__} | changes)
    return sequences.fit(registry, NAME, rows, DAYS, parameters, seed=1, work=work, log=log)


def runs(registry: ModelRegistry) -> list[mlflow.entities.Run]:
    client = registry.connect()
    experiment = client.get_experiment_by_name(NAME)
    return client.search_runs([experiment.experiment_id]) if experiment else []


def test_a_killed_training_goes_on_in_its_run_and_failures_leave_the_champion(
    registry: ModelRegistry, tmp_path: Path
) -> None:
    rows = ordinary_rows().with_columns(mid_price=100 + pl.col("mid_price"))
    with pytest.raises(DetectorError, match="Keras with jax is not installed"):
        fit(registry, rows, tmp_path, backend="jax")
    assert runs(registry) == []

    def killed(line: str) -> None:
        if line.startswith("epoch 2"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(registry, rows, tmp_path, killed)
    lines: list[str] = []
    fitted = fit(registry, rows, tmp_path, lines.append)
    assert [line.split(":")[0] for line in lines] == ["epoch 3 of at most 3"]
    (run,) = runs(registry)
    assert run.info.run_id == fitted.run_id
    assert run.info.status == "FINISHED"
    history = registry.connect().get_metric_history(fitted.run_id, "held_out_loss")
    assert [point.step for point in history] == [1, 2, 3]
    assert run.data.metrics["onnx_difference/lstm_autoencoder.onnx"] < 1e-5
    assert [item.path for item in registry.connect().list_artifacts(fitted.run_id, "onnx")] == [
        "onnx/lstm_autoencoder.onnx"
    ]
    assert not list(tmp_path.iterdir())

    days = {"train": ["2024-05-31|stocks"], "validation": ["2024-06-03|stocks"]}
    reference = {"run_id": fitted.run_id, "model_uri": fitted.model_uri, **days}
    nothing = ValidationDays(rows, TRUTH_LABELS.empty(), "source")
    metrics = sequences.judge(registry, NAME, reference, nothing)
    assert metrics == {"minutes": rows.height, "anomalous_minutes": 0}
    with Database(f"sqlite:///{tmp_path}/tapewatch.db") as database:
        outcome = deciding.decide(registry, database, NAME, reference)
    assert outcome.is_promoted, outcome.reason
    assert outcome.reason == "there was no champion to compare it with"
    champion = outcome.champion
    assert champion is not None

    with pytest.raises(DetectorError, match="needs at least 200 minutes"):
        fit(registry, rows.head(50), tmp_path)
    assert {run.info.status for run in runs(registry)} == {"FINISHED", "FAILED"}
    assert registry.champion(NAME) == champion
    assert len(registry.connect().search_model_versions(f"name = '{NAME}'")) == 1
    assert registry.load_any(champion.uri).score(rows.head(5)).size == 5
