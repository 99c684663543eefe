"""The model registry in MLflow: an experiment per detector, and the champion's alias.

Nothing is pickled: an artifact is the folder that the detector saved, and MLflow loads it with `detector_pyfunc.py`. Slow
to import, so `stores.py` imports it when needed.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import mlflow
import pandas as pd
import polars as pl
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature

from models.base import Detector, DetectorError
from models.isolation_forest import IsolationForestDetector
from models.loading import load_detector
from models.onnx_export import export_onnx

CHAMPION = "champion"
_Loaded = TypeVar("_Loaded")
_DETECTOR_FOLDER = "detector"
#: Rows on which an ONNX graph is compared with its detector.
_PARITY_ROWS = 2000
_RUNTIME = ("numpy", "pandas", "polars", "pyarrow", "scikit-learn", "shap", "skops")


@dataclass(frozen=True)
class RegisteredModel:
    """One version in the registry."""

    name: str
    version: int
    run_id: str

    @property
    def uri(self) -> str:
        return f"models:/{self.name}/{self.version}"

    def __str__(self) -> str:
        return f"{self.name}/{self.version}"


@dataclass(frozen=True)
class ModelRegistry:
    """Tracking and registry.

    `tracking_uri` is SQLite, PostgreSQL or a server, `artifact_root` holds the artifacts, and `ui` is the address of MLflow's
    pages.
    """

    tracking_uri: str
    artifact_root: str
    ui: str = ""

    def connect(self) -> mlflow.MlflowClient:
        """A client; creates the folder of an SQLite backend."""
        if self.tracking_uri.startswith("sqlite:///"):
            Path(self.tracking_uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        mlflow.set_tracking_uri(self.tracking_uri)
        return mlflow.MlflowClient(self.tracking_uri)

    @contextmanager
    def run(self, experiment: str, *, run_id: str | None = None, **tags: str) -> Iterator[mlflow.ActiveRun]:
        """A new run of `experiment`, or the run `run_id` resumed; it fails if the body raises."""
        client = self.connect()
        if client.get_experiment_by_name(experiment) is None:
            client.create_experiment(experiment, artifact_location=f"{self.artifact_root}/{experiment}")
        mlflow.set_experiment(experiment)
        with mlflow.start_run(run_id=run_id, tags=tags or None) as run:
            yield run

    def log_png(self, image: bytes, name: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_bytes(image)
            mlflow.log_artifact(str(path))

    def log_detector(self, folder: Path, example: pd.DataFrame, prediction: pd.DataFrame) -> str:
        """Log a saved detector of minutes to the active run, with signature and input example; returns its model URI."""
        return _log(folder, "detector_pyfunc.py", example, prediction)

    def log_onnx(self, detector: Detector, rows: pl.DataFrame) -> None:
        """Log a detector's ONNX graphs, checked on a sample of `rows`, and how far they are off, to the active run.

        Raises:
            DetectorError: a graph does not agree with the detector.
        """
        with tempfile.TemporaryDirectory() as folder:
            off = export_onnx(detector, rows.sample(min(rows.height, _PARITY_ROWS), seed=0), Path(folder))
            mlflow.log_artifacts(folder, "onnx")
        mlflow.log_metrics({f"onnx_difference/{name}": difference for name, difference in off.items()})

    def log_scan(self, folder: Path, example: pd.DataFrame, prediction: pd.DataFrame) -> str:
        """The same for a saved scan."""
        return _log(folder, "scan_pyfunc.py", example, prediction)

    def metrics(self, run_id: str) -> dict[str, float]:
        return dict(self.connect().get_run(run_id).data.metrics)

    def run_url(self, run_id: str) -> str:
        """The page of a run."""
        return f"{self.ui}/#/experiments/{self.connect().get_run(run_id).info.experiment_id}/runs/{run_id}"

    def model_url(self, model: RegisteredModel) -> str:
        """The page of a registered version."""
        return f"{self.ui}/#/models/{model.name}/versions/{model.version}"

    def register(self, name: str, model_uri: str, run_id: str) -> ModelVersion:
        """Register the model of a run as a new version of `name`, unless it is registered; returns the version."""
        client = self.connect()
        for known in client.search_model_versions(f"name = '{name}'"):
            if known.run_id == run_id:
                return known
        # mlflow.register_model prints to the terminal.
        with suppress(MlflowException):
            client.create_registered_model(name)
        return client.create_model_version(name, model_uri, run_id, model_id=model_uri.rpartition("/")[2])

    def set_champion(self, name: str, model_version: int) -> None:
        self.connect().set_registered_model_alias(name, CHAMPION, str(model_version))

    def champion(self, name: str) -> RegisteredModel | None:
        client = self.connect()
        try:
            found = client.get_model_version_by_alias(name, CHAMPION)
        except MlflowException:
            return None
        return RegisteredModel(name, int(found.version), found.run_id)

    def first_champion(self, *names: str) -> RegisteredModel | None:
        """The champion of the first of `names` that has one."""
        return next((found for name in names if (found := self.champion(name)) is not None), None)

    def retire_champion(self, name: str) -> None:
        """Leave `name` without a champion."""
        self.connect().delete_registered_model_alias(name, CHAMPION)

    @contextmanager
    def files(self, model_uri: str) -> Iterator[Path]:
        """The folder of a model's detector, downloaded for as long as the context lasts."""
        self.connect()
        with tempfile.TemporaryDirectory(prefix="tapewatch-model-") as target:
            model = Path(mlflow.artifacts.download_artifacts(artifact_uri=model_uri, dst_path=target))
            yield _detector_folder(model)

    def usable_champion(self, name: str, load: Callable[[Path], _Loaded]) -> _Loaded | None:
        """The champion as `load` reads its folder; None without one, and if this code can no longer use it.

        An upgrade may leave the champion unusable, and training must still be able to replace it.
        """
        current = self.champion(name)
        if current is None:
            return None
        with self.files(current.uri) as folder:
            try:
                return load(folder)
            except DetectorError:
                return None

    def registered(self, model: str, load: Callable[[Path], _Loaded]) -> _Loaded | None:
        """A version such as `scan/3` as `load` reads its folder; None if there is no such version."""
        name, _, number = model.partition("/")
        try:
            self.connect().get_model_version(name, number)
        except MlflowException:
            return None
        with self.files(f"models:/{model}") as folder:
            return load(folder)

    def load(self, model_uri: str) -> IsolationForestDetector:
        with self.files(model_uri) as folder:
            return IsolationForestDetector.load(folder)

    def load_any(self, model_uri: str) -> Detector:
        """A registered detector of minutes, of whatever class it is."""
        with self.files(model_uri) as folder:
            return load_detector(folder)


def _log(folder: Path, code: str, example: pd.DataFrame, prediction: pd.DataFrame) -> str:
    with tempfile.TemporaryDirectory() as own:
        # A copy, since MLflow copies the rights of the file too.
        copy = Path(own) / code
        copy.write_bytes((Path(__file__).parent / code).read_bytes())
        info = mlflow.pyfunc.log_model(
            name=_DETECTOR_FOLDER,
            python_model=str(copy),
            artifacts={_DETECTOR_FOLDER: str(folder)},
            signature=infer_signature(example, prediction),
            input_example=example,
            pip_requirements=[f"{package}=={version(package)}" for package in _RUNTIME],
        )
    return str(info.model_uri)


def _detector_folder(model: Path) -> Path:
    folders = [path for path in (model / "artifacts").iterdir() if path.is_dir()]
    if len(folders) != 1:
        raise FileNotFoundError(f"{model} should hold one detector, has {[f.name for f in folders] or 'none'}")
    return folders[0]
