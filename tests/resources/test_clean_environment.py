"""A registered detector loads where Tapewatch is not installed, and scores the lake's own file."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
import uv

from resources.detector_pyfunc import as_pandas
from resources.mlflow_registry import ModelRegistry
from tapewatch.market.instruments import Partition
from tapewatch.market.tables import MICROSTRUCTURE
from tapewatch.store.lake.lake import Lake
from tests.support.detectors import fitted, ordinary_rows

pytestmark = pytest.mark.slow

_SCORES = """
import json, sys
import mlflow, pandas as pd
model = mlflow.pyfunc.load_model(sys.argv[1])
import models
scored = model.predict(pd.read_parquet(sys.argv[2]))
print(json.dumps({"score": scored["score"].tolist(), "code": models.__file__}))
"""


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[ModelRegistry]:
    before = mlflow.get_tracking_uri()
    yield ModelRegistry(f"sqlite:///{tmp_path}/mlflow.db", (tmp_path / "artifacts").as_uri())
    mlflow.set_tracking_uri(before)


def test_the_package_scores_in_an_environment_made_from_its_own_requirements(
    registry: ModelRegistry, tmp_path: Path
) -> None:
    detector, rows = fitted(), ordinary_rows(seed=3)
    with registry.run("isolation_forest"):
        detector.save(tmp_path / "detector")
        logged = registry.log_detector(tmp_path / "detector", *as_pandas(detector, rows.head(5)))
    package = Path(mlflow.artifacts.download_artifacts(artifact_uri=logged, dst_path=str(tmp_path / "package")))
    lake, day = Lake(tmp_path / "lake"), Partition.parse("2024-06-03|stocks")
    lake.write(MICROSTRUCTURE, day, rows)

    python = tmp_path / "environment" / "bin" / "python"
    # `make` exports UV_COMPILE_BYTECODE: of this environment only a small part is ever imported.
    environment = {name: value for name, value in os.environ.items() if name != "UV_COMPILE_BYTECODE"}
    for command in (
        ["venv", "--quiet", "--python", "3.11", str(tmp_path / "environment")],
        ["pip", "install", "--quiet", "--python", str(python), "-r", str(package / "requirements.txt")],
    ):
        subprocess.run([uv.find_uv_bin(), *command], check=True, cwd=tmp_path, env=environment)
    # Isolated: neither the working directory nor PYTHONPATH leads to the checkout.
    scored = subprocess.run(
        [python, "-I", "-W", "ignore", "-c", _SCORES, str(package), str(lake.path(MICROSTRUCTURE, day))],
        check=True,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    answer = json.loads(scored.stdout.strip().splitlines()[-1])
    assert Path(answer["code"]).is_relative_to(package)
    assert answer["score"] == detector.score(lake.read(MICROSTRUCTURE, day)).tolist()
