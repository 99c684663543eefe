"""Reads detectors from MLflow's registry. MLflow takes seconds to import, so that it is where a model is asked for."""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mlflow import MlflowClient

from models.base import Detector
from models.loading import load_detector
from models.scan.detector import ScanDetector

_CHAMPION: Final = "champion"
#: What MLflow answers where there is no such model or alias.
_ABSENT: Final = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
_SQLITE: Final = "sqlite:///"
_log = logging.getLogger(__name__)


class GoneError(RuntimeError):
    """A detector cannot be loaded; the message names it and the way out."""


class Registry:
    """The registered versions under a tracking URI. Nothing is created where there is no registry yet."""

    def __init__(self, tracking_uri: str) -> None:
        self._uri = tracking_uri

    def champion(self, name: str) -> str | None:
        """The version in use, such as `isolation_forest/3`; None without one, and, with an entry in the log, if MLflow does not answer."""
        if not self._is_there():
            return None
        from mlflow.exceptions import MlflowException  # noqa: PLC0415

        try:
            return f"{name}/{self._client().get_model_version_by_alias(name, _CHAMPION).version}"
        except MlflowException as error:
            if error.error_code not in _ABSENT:
                _log.warning("MLflow cannot be asked for the champion of %s: %s", name, error)
            return None

    def first_champion(self, *names: str) -> str | None:
        """The champion of the first of `names` that has one."""
        return next((found for name in names if (found := self.champion(name)) is not None), None)

    def detector(self, model: str) -> Detector:
        """A detector of minutes by name and version. Raises a GoneError."""
        with self._files(model) as folder:
            return load_detector(folder)

    def scan(self, model: str) -> ScanDetector:
        """A scan by name and version. Raises a GoneError."""
        with self._files(model) as folder:
            return ScanDetector.load(folder)

    @contextmanager
    def _files(self, model: str) -> Iterator[Path]:
        """The folder of a version's detector, for as long as the block lasts."""
        if not self._is_there():
            raise GoneError(f"{model}, which found this, cannot be loaded: there is no registry of models here yet")
        from mlflow.artifacts import download_artifacts  # noqa: PLC0415
        from mlflow.exceptions import MlflowException  # noqa: PLC0415

        with tempfile.TemporaryDirectory(prefix="tapewatch-model-") as target:
            try:
                packed = Path(download_artifacts(f"{self._location(model)}/artifacts", dst_path=target))
            except (MlflowException, OSError, ValueError) as error:
                reason = str(error).partition("\n")[0][:200]
                raise GoneError(
                    f"{model}, which found this, cannot be loaded ({reason}): restore MLflow's files, or score the day again with "
                    "`detect_anomalies`"
                ) from error
            yield next(path for path in packed.iterdir() if path.is_dir())

    def _location(self, model: str) -> str:
        name, _, number = model.partition("/")
        client = self._client()
        source = str(client.get_model_version(name, number).source)
        if not source.startswith("models:/"):
            return source
        return str(client.get_logged_model(source.removeprefix("models:/")).artifact_location)

    def _client(self) -> "MlflowClient":
        from mlflow import MlflowClient  # noqa: PLC0415

        return MlflowClient(self._uri)

    def _is_there(self) -> bool:
        return not self._uri.startswith(_SQLITE) or Path(self._uri.removeprefix(_SQLITE)).exists()
