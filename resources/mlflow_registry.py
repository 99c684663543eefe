"""The model registry in MLflow: an experiment per detector, and the champion's alias.

Nothing is pickled: an artifact is the folder that the detector saved, and MLflow loads it with `detector_pyfunc.py`. Slow
to import, so `stores.py` imports it when needed.
"""

import json
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import mlflow
import pandas as pd
import polars as pl
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from models.base import Detector, DetectorError
from models.isolation_forest.detector import IsolationForestDetector
from models.loading import load_detector
from models.onnx_export import export_onnx
from resources.model_card import model_card
from resources.model_logging import description, log_package, provenance, run_name
from tapewatch.masking import masked

CHAMPION, CHALLENGER = "champion", "challenger"
GATES = "gates.json"
_Loaded = TypeVar("_Loaded")
#: What MLflow answers where there is no such model or alias.
_ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
#: Rows on which an ONNX graph is compared with its detector.
_PARITY_ROWS = 2000


class RegistryError(RuntimeError):
    """MLflow cannot be asked; the message names its address and the reason."""


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
        """A client; creates an SQLite backend that is not there."""
        if self.tracking_uri.startswith("sqlite:///"):
            database = Path(self.tracking_uri.removeprefix("sqlite:///"))
            if not database.exists():
                database.parent.mkdir(parents=True, exist_ok=True)
                with closing(sqlite3.connect(database)) as made:
                    # Kept in the file: each of MLflow's many small writes then waits for the disk once, not four times.
                    made.execute("PRAGMA journal_mode=WAL")
        mlflow.set_tracking_uri(self.tracking_uri)
        return mlflow.MlflowClient(self.tracking_uri)

    @contextmanager
    def run(
        self, experiment: str, *, run_id: str | None = None, title: str | None = None, text: str = "", **tags: str
    ) -> Iterator[mlflow.ActiveRun]:
        """A new run of `experiment`, named `title` and described by `text`, or the run `run_id` resumed; it fails if the body raises.

        Raises:
            RegistryError: MLflow went away. What was logged so far is in no registered model.
        """
        client = self.connect()
        try:
            if client.get_experiment_by_name(experiment) is None:
                client.create_experiment(experiment, artifact_location=f"{self.artifact_root}/{experiment}")
            mlflow.set_experiment(experiment)
            with mlflow.start_run(run_id=run_id, run_name=title, description=text or None, tags=tags or None) as run:
                yield run
        except MlflowException as error:
            if not _is_away(error):
                raise
            raise RegistryError(
                f"MLflow at {masked(self.tracking_uri)} went away while a run of {experiment} was logged ({_first_line(error)}): nothing "
                "was registered, and the champion stays in use. Start it, and run the job again"
            ) from error

    def training(
        self, name: str, days: Mapping[str, Sequence[str]], seed: int, *, run_id: str | None = None
    ) -> AbstractContextManager[mlflow.ActiveRun]:
        """A run of a training: named and described for people, with the tags by which it can be made again.

        Args:
            days: partition keys under `train` and `validation`.
            run_id: of a training that was interrupted.
        """
        text, tags = description(name, days), provenance(seed)
        return self.run(name, run_id=run_id, title=run_name(name, days), text=text, **tags)

    def log_png(self, image: bytes, name: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_bytes(image)
            mlflow.log_artifact(str(path))

    def log_detector(self, folder: Path, example: pd.DataFrame, prediction: pd.DataFrame) -> str:
        """Log a saved detector of minutes to the active run, with signature and input example; returns its model URI."""
        return log_package(folder, "detector_pyfunc.py", example, prediction)

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
        return log_package(folder, "scan_pyfunc.py", example, prediction)

    def metrics(self, run_id: str) -> dict[str, float]:
        return dict(self.connect().get_run(run_id).data.metrics)

    def run_url(self, run_id: str) -> str:
        """The page of a run."""
        return f"{self.ui}/#/experiments/{self.connect().get_run(run_id).info.experiment_id}/runs/{run_id}"

    def model_url(self, model: RegisteredModel) -> str:
        """The page of a registered version."""
        return f"{self.ui}/#/models/{model.name}/versions/{model.version}"

    def register(self, name: str, model_uri: str, run_id: str) -> ModelVersion:
        """Register the model of a run as a new version of `name` with its card, unless it is registered; the challenger.

        Returns:
            The version.
        """
        client = self.connect()
        for known in client.search_model_versions(f"name = '{name}'"):
            if known.run_id == run_id:
                return known
        # mlflow.register_model prints to the terminal.
        with suppress(MlflowException):
            client.create_registered_model(name)
        card, tags = model_card(client.get_run(run_id), name)
        model_id = model_uri.rpartition("/")[2]
        made = client.create_model_version(name, model_uri, run_id, tags=tags, description=card, model_id=model_id)
        self._set_alias(name, CHALLENGER, int(made.version))
        return made

    def set_champion(self, name: str, model_version: int) -> None:
        """Let the alias point to a version."""
        self._set_alias(name, CHAMPION, model_version)

    def end_challenge(self, name: str) -> None:
        """Leave `name` without a challenger if that became champion."""
        challenger = self.challenger(name)
        if challenger is not None and challenger == self.champion(name):
            self.connect().delete_registered_model_alias(name, CHALLENGER)

    def champion(self, name: str) -> RegisteredModel | None:
        """The version in use; None if there is none yet.

        Raises:
            RegistryError: MLflow cannot be asked.
        """
        return self._by_alias(name, CHAMPION)

    def challenger(self, name: str) -> RegisteredModel | None:
        """The newest version that was not promoted; None if there is none."""
        return self._by_alias(name, CHALLENGER)

    def names(self) -> list[str]:
        """Every registered model."""
        return sorted(model.name for model in self.connect().search_registered_models())

    def versions(self, name: str) -> list[ModelVersion]:
        """Every version of a model, newest first."""
        found = self.connect().search_model_versions(f"name = '{name}'")
        return sorted(found, key=lambda each: int(each.version), reverse=True)

    def version(self, name: str, number: int) -> RegisteredModel | None:
        """One version; None if there is none of this number."""
        return next(
            (RegisteredModel(name, number, v.run_id) for v in self.versions(name) if int(v.version) == number), None
        )

    def log_gates(self, gates: dict[str, Any]) -> None:
        """Log what the gates of a promotion measured to the active run."""
        mlflow.log_dict(gates, GATES)

    def gates(self, run_id: str) -> dict[str, Any] | None:
        """What `log_gates` logged to a run; None where nothing was."""
        text = self.artifact(run_id, GATES)
        return None if text is None else dict(json.loads(text))

    def artifact(self, run_id: str, path: str) -> str | None:
        """The text of a file at the top of a run's artifacts; None where there is none."""
        client = self.connect()
        if not any(item.path == path for item in client.list_artifacts(run_id)):
            return None
        return str(mlflow.artifacts.load_text(f"runs:/{run_id}/{path}"))

    def _location(self, model_uri: str) -> str:
        """Where a model's package lies, from `models:/NAME/VERSION`, `models:/ID` or the location itself."""
        client, parts = self.connect(), model_uri.removeprefix("models:/").split("/")
        if not model_uri.startswith("models:/"):
            return model_uri
        if len(parts) == 1:
            return str(client.get_logged_model(parts[0]).artifact_location)
        return self._location(str(client.get_model_version(*parts).source))

    def _set_alias(self, name: str, alias: str, version: int) -> None:
        self.connect().set_registered_model_alias(name, alias, str(version))

    def _by_alias(self, name: str, alias: str) -> RegisteredModel | None:
        try:
            found = self.connect().get_model_version_by_alias(name, alias)
        except MlflowException as error:
            if error.error_code in _ABSENT:
                return None
            raise RegistryError(
                f"MLflow at {masked(self.tracking_uri)} cannot be asked for the {alias} of {name} ({_first_line(error)}): start it, or set "
                "MLFLOW_TRACKING_URI"
            ) from error
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
        package = self._location(model_uri)
        with tempfile.TemporaryDirectory(prefix="tapewatch-model-") as target:
            # The code beside it is for those who load the package without Tapewatch.
            folder = mlflow.artifacts.download_artifacts(artifact_uri=f"{package}/artifacts", dst_path=target)
            yield _detector_folder(Path(folder))

    @contextmanager
    def files_if_any(self, model_uri: str) -> Iterator[Path | None]:
        """The same; None if there is no such version."""
        with ExitStack() as stack:
            try:
                folder = stack.enter_context(self.files(model_uri))
            except MlflowException as error:
                if error.error_code not in _ABSENT:
                    raise
                folder = None
            yield folder

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


def _is_away(error: BaseException | None) -> bool:
    """Whether a server did not answer."""
    while error is not None:
        if type(error).__module__ == "requests.exceptions":
            return True
        error = error.__cause__ or error.__context__
    return False


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0][:200]


def _detector_folder(model: Path) -> Path:
    folders = [path for path in model.iterdir() if path.is_dir()]
    if len(folders) != 1:
        raise FileNotFoundError(f"{model} should hold one detector, has {[f.name for f in folders] or 'none'}")
    return folders[0]
