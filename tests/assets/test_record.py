"""What MLflow holds of a training is enough to make it again, bit for bit."""

from collections.abc import Iterator
from pathlib import Path

import mlflow
import polars as pl
import pytest

from assets.models import training
from models.isolation_forest.detector import ForestParameters, IsolationForestDetector
from resources.lake import LakeTable
from resources.mlflow_registry import ModelRegistry
from resources.model_logging import lock_file_hash
from tapewatch.market.instruments import Partition
from tapewatch.market.tables.tape import MICROSTRUCTURE, QUOTES, TRADES
from tapewatch.store.lake.lake import Lake
from tests.support.detectors import ordinary_rows

pytestmark = pytest.mark.slow
NAME = "isolation_forest"
DAYS = {"train": ["2024-06-03|stocks"], "validation": ["2024-06-04|stocks"]}


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[ModelRegistry]:
    before = mlflow.get_tracking_uri()
    yield ModelRegistry(f"sqlite:///{tmp_path}/mlflow.db", (tmp_path / "artifacts").as_uri())
    mlflow.set_tracking_uri(before)


def test_a_training_is_made_again_from_its_record(registry: ModelRegistry, tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    for at, key in enumerate(key for keys in DAYS.values() for key in keys):
        later = pl.col("event_time", "known_time").dt.offset_by(f"{at}d")
        lake.write(MICROSTRUCTURE, Partition.parse(key), ordinary_rows(at).with_columns(later))
    lake.write(TRADES, Partition.parse(DAYS["train"][0]), TRADES.empty())
    source = LakeTable(lake, MICROSTRUCTURE)
    rows = pl.concat(source.read(Partition.parse(key)) for key in DAYS["train"])
    fitted = training.fit(registry, NAME, rows, DAYS, {"trees": 10, "seed": 5})
    training.log_data(registry, NAME, fitted.run_id, source, DAYS, (TRADES, QUOTES))
    number = int(registry.register(NAME, fitted.model_uri, fitted.run_id).version)

    run = registry.connect().get_run(fitted.run_id)
    assert run.info.run_name == "isolation_forest, fitted on 2024-06-03"
    assert "Fitted on 1 market days (2024-06-03; stocks)" in run.data.tags["mlflow.note.content"]
    assert run.data.tags["seed"] == "5"
    assert run.data.tags["lock_file_sha256"] == lock_file_hash()
    assert {each.dataset.name for each in run.inputs.dataset_inputs} == {
        "microstructure 2024-06-03", "microstructure 2024-06-04", "trades 2024-06-03",
    }  # fmt: skip
    assert {item.path for item in registry.connect().list_artifacts(fitted.run_id)} >= {
        "inputs.json",
        "inputs_trades.json",
    }

    recorded = mlflow.artifacts.load_dict(f"runs:/{fitted.run_id}/inputs.json")
    days = mlflow.artifacts.load_dict(f"runs:/{fitted.run_id}/partitions.json")
    again = []
    for key in days["train"]:
        day = Partition.parse(key)
        assert recorded["train"][key]["sha256"] == lake.digest(MICROSTRUCTURE, day)
        again.append(lake.read(MICROSTRUCTURE, day))
    parameters = ForestParameters(trees=int(run.data.params["trees"]))
    detector = IsolationForestDetector(parameters, int(run.data.params["seed"]))
    detector.fit(pl.concat(again), partitions=days["train"])
    registered, unseen = (
        registry.load(f"models:/{NAME}/{number}"),
        lake.read(MICROSTRUCTURE, Partition.parse(DAYS["validation"][0])),
    )
    assert (detector.score(unseen) == registered.score(unseen)).all()
    assert detector.threshold == registered.threshold
    version = registry.versions(NAME)[0]
    assert "# isolation_forest" in version.description
    assert version.tags["seed"] == "5"
