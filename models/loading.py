"""Loads a saved detector of minutes, of whatever class it is."""

import json
from pathlib import Path

from models.base import Detector, DetectorError
from models.manifest import MANIFEST_NAME


def load_detector(folder: Path) -> Detector:
    """The detector that was saved in `folder`.

    Raises:
        DetectorError: the folder holds no detector, an unknown one, or one whose files do not fit this code or have changed.
    """
    name = detector_name(folder)
    # Each is imported only where it is used: scikit-learn and SHAP take seconds.
    match name:
        case "isolation_forest":
            from models.isolation_forest.detector import IsolationForestDetector  # noqa: PLC0415

            return IsolationForestDetector.load(folder)
        case "lstm_autoencoder":
            from models.lstm_autoencoder.detector import LstmAutoencoderDetector  # noqa: PLC0415

            return LstmAutoencoderDetector.load(folder)
        case "anomaly_classifier":
            from models.anomaly_classifier.detector import AnomalyClassifierDetector  # noqa: PLC0415

            return AnomalyClassifierDetector.load(folder)
        case "ensemble":
            from models.ensemble.detector import EnsembleDetector  # noqa: PLC0415

            return EnsembleDetector.load(folder)
        case "time_of_day":
            from models.baselines.time_of_day import TimeOfDayDetector  # noqa: PLC0415

            return TimeOfDayDetector.load(folder)
        case "limits":
            from models.baselines.limits import LimitsDetector  # noqa: PLC0415

            return LimitsDetector.load(folder)
    raise DetectorError(
        f"{Path(folder) / MANIFEST_NAME} is of {name!r}, which this code does not know: use the code that made it"
    )


def detector_name(folder: Path) -> str:
    """The name of the detector that was saved in `folder`.

    Raises:
        DetectorError: the folder holds no detector.
    """
    try:
        return str(json.loads((Path(folder) / MANIFEST_NAME).read_text(encoding="utf-8"))["detector"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DetectorError(f"{folder} holds no readable {MANIFEST_NAME}: it is no saved detector") from error
