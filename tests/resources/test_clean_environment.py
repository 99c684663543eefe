"""A registered detector loads where Tapewatch is not installed, and scores the lake's own file."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import mlflow
import polars as pl
import pytest
import uv

from resources import scan_pyfunc
from resources.detector_pyfunc import as_pandas
from resources.mlflow_registry import ModelRegistry
from tapewatch.features.bins.batch import bins_5s
from tapewatch.market.instruments import Partition
from tapewatch.market.tables.tape import MICROSTRUCTURE
from tapewatch.store.lake.lake import Lake
from tests.support import ask, scans
from tests.support.collectors import eventually
from tests.support.detectors import fitted, fitted_ensemble, ordinary_rows
from tests.support.ports import free_port
from tests.support.scans import tape

pytestmark = pytest.mark.slow

_SCORES = """
import json, sys
import mlflow, pandas as pd
model = mlflow.pyfunc.load_model(sys.argv[1])
import models
found = model.predict(pd.read_parquet(sys.argv[2]))
print(json.dumps({"found": found[sys.argv[3]].tolist(), "code": models.__file__}))
"""


@dataclass(frozen=True)
class Packaged:
    """A logged package, an environment made from its own requirements, and what the detector says of a day in the lake."""

    package: Path
    python: Path
    file: Path
    rows: pl.DataFrame
    scores: list[float]

    @property
    def environment(self) -> dict[str, str]:
        """Neither PYTHONPATH nor another environment leads to the checkout."""
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV", "UV_"))
        }
        return kept | {"PATH": f"{self.python.parent}:{kept['PATH']}"}


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Packaged]:
    before, folder = mlflow.get_tracking_uri(), tmp_path_factory.mktemp("packaged")
    registry = ModelRegistry(f"sqlite:///{folder}/mlflow.db", (folder / "artifacts").as_uri())
    detector, rows = fitted(), ordinary_rows(seed=3)
    with registry.run("isolation_forest"):
        detector.save(folder / "detector")
        logged = registry.log_detector(folder / "detector", *as_pandas(detector, rows.head(5)))
    package = Path(mlflow.artifacts.download_artifacts(artifact_uri=logged, dst_path=str(folder / "package")))
    lake, day = Lake(folder / "lake"), Partition.parse("2024-06-03|stocks")
    lake.write(MICROSTRUCTURE, day, rows)
    python = folder / "environment" / "bin" / "python"
    # `make` exports UV_COMPILE_BYTECODE: of this environment only a small part is ever imported.
    environment = {name: value for name, value in os.environ.items() if name != "UV_COMPILE_BYTECODE"}
    for command in (
        ["venv", "--quiet", "--python", "3.11", str(folder / "environment")],
        ["pip", "install", "--quiet", "--python", str(python), "-r", str(package / "requirements.txt")],
    ):
        subprocess.run([uv.find_uv_bin(), *command], check=True, cwd=folder, env=environment)
    read = lake.read(MICROSTRUCTURE, day)
    yield Packaged(package, python, Path(str(lake.path(MICROSTRUCTURE, day))), read, detector.score(read).tolist())
    mlflow.set_tracking_uri(before)


def test_the_package_scores_in_an_environment_made_from_its_own_requirements(
    packaged: Packaged, tmp_path: Path
) -> None:
    assert predicted(packaged, packaged.package, packaged.file, "score", tmp_path) == packaged.scores


def test_so_do_the_ensemble_and_the_scan(packaged: Packaged, tmp_path: Path) -> None:
    registry = ModelRegistry(f"sqlite:///{tmp_path}/mlflow.db", (tmp_path / "artifacts").as_uri())
    ensemble, example = fitted_ensemble(), packaged.rows.head(5)
    day = tape(2)
    bins, file = bins_5s(day.trades, day.quotes, day.session), tmp_path / "bins.parquet"
    bins.write_parquet(file)
    of_scan = bins.filter(pl.col("symbol") == bins["symbol"][0]).head(50)
    with registry.run("models"):
        ensemble.save(tmp_path / "ensemble")
        scans.detector().save(tmp_path / "scan")
        logged = {
            "ensemble": registry.log_detector(tmp_path / "ensemble", *as_pandas(ensemble, example)),
            "scan": registry.log_scan(
                tmp_path / "scan", scan_pyfunc.as_pandas(of_scan), scan_pyfunc.found(scans.detector(), of_scan)
            ),
        }
    package = {
        name: Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(tmp_path / f"{name}_package")))
        for name, uri in logged.items()
    }
    requirements = {name: set((each / "requirements.txt").read_text().splitlines()) for name, each in package.items()}
    assert requirements["ensemble"] == set((packaged.package / "requirements.txt").read_text().splitlines())
    assert requirements["scan"] < requirements["ensemble"]
    scores = predicted(packaged, package["ensemble"], packaged.file, "score", tmp_path)
    assert scores == ensemble.score(packaged.rows).tolist()
    surprises = predicted(packaged, package["scan"], file, "surprise", tmp_path)
    assert surprises
    assert surprises == scans.detector().incidents(bins, day.session)["surprise"].to_list()


def predicted(packaged: Packaged, package: Path, file: Path, column: str, folder: Path) -> list[float]:
    """A column of what a package says of a file, in the clean environment, by the code that it ships."""
    # Isolated: neither the working directory nor PYTHONPATH leads to the checkout.
    scored = subprocess.run(
        [packaged.python, "-I", "-W", "ignore", "-c", _SCORES, str(package), str(file), column],
        check=True,
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
    )
    answer = json.loads(scored.stdout.strip().splitlines()[-1])
    assert Path(answer["code"]).is_relative_to(package)
    return list(answer["found"])


def test_mlflow_serves_the_package_in_that_environment(packaged: Packaged, tmp_path: Path) -> None:
    port = free_port()
    command = ["-m", "mlflow", "models", "serve", "--env-manager", "local", "--model-uri", str(packaged.package)]
    with (tmp_path / "serve.log").open("wb") as log:
        server = subprocess.Popen(
            [packaged.python, *command, "--host", "127.0.0.1", "--port", str(port)],
            cwd=tmp_path, env=packaged.environment, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:

        def is_up() -> bool:
            assert server.poll() is None, (tmp_path / "serve.log").read_text()
            try:
                return ask.get(f"{address}/ping", timeout=30).is_success
            except httpx.TransportError:
                return False

        eventually(is_up)
        example, _ = as_pandas(fitted(), packaged.rows.head(40))
        body = {"dataframe_split": json.loads(example.to_json(orient="split", date_format="iso"))}
        answer = ask.post(f"{address}/invocations", json=body, timeout=180)
        assert answer.status_code == 200, answer.text
        assert [each["score"] for each in answer.json()["predictions"]] == pytest.approx(
            packaged.scores[:40], rel=1e-12
        )
        refused = ask.post(
            f"{address}/invocations", json={"dataframe_split": {"columns": ["a"], "data": [[1]]}}, timeout=60
        )
        assert refused.status_code == 400
        assert "missing inputs" in refused.text
    finally:
        # The server has workers of its own.
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(60)
