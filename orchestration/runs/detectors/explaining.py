"""Opens what a dossier is made from."""

from collections.abc import Iterator
from contextlib import contextmanager

from orchestration.errors import RunError
from orchestration.home import check_home
from tapewatch.market.tables.tape import ANOMALIES
from tapewatch.reports.dossier.dossier import Dossiers
from tapewatch.settings import Settings
from tapewatch.store.database.database import Database
from tapewatch.store.database.people.verdicts import anomaly_id
from tapewatch.store.lake.lake import Lake


@contextmanager
def dossiers(settings: Settings) -> Iterator[Dossiers]:
    """Dossiers of this deployment's events, for as long as the block lasts."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 - takes seconds to import

    from models.base import CHAMPIONS_OF_MINUTES, Detector  # noqa: PLC0415
    from models.scan.detector import ScanDetector  # noqa: PLC0415
    from resources.mlflow_registry import ModelRegistry  # noqa: PLC0415

    check_home(settings)
    registry = ModelRegistry(settings.tracking_uri, settings.artifact_root)

    def load(model: str) -> Detector:
        try:
            return registry.load_any(f"models:/{model}")
        except (MlflowException, OSError) as error:
            raise _gone(model, error) from error

    def load_scan(model: str) -> ScanDetector:
        try:
            with registry.files(f"models:/{model}") as folder:
                return ScanDetector.load(folder)
        except (MlflowException, OSError) as error:
            raise _gone(model, error) from error

    champion = registry.first_champion(*CHAMPIONS_OF_MINUTES)
    with Database(settings.database) as database:
        yield Dossiers(Lake(settings.lake_root), database, load, load_scan, str(champion) if champion else None)


def latest_anomaly(settings: Settings) -> str:
    """The ID of the newest anomaly of the database.

    Raises:
        RunError: there is none.
    """
    with Database(settings.database) as database:
        newest = database.read(ANOMALIES).sort("known_time", "symbol").tail(1)
    if not newest.height:
        raise RunError("no anomaly has been found yet: `tapewatch run` or `tapewatch demo` finds some")
    (event,) = newest.to_dicts()
    return anomaly_id(event["market"], event["symbol"], event["start_time"])


def _gone(model: str, error: Exception) -> RunError:
    return RunError(
        f"the model {model}, which found this event, cannot be loaded ({str(error).partition(chr(10))[0][:200]}): its score cannot be "
        "made again. Restore MLflow's files, or score the day again with detect_anomalies"
    )
