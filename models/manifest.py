"""The manifest of a saved detector, and the checks before one is loaded."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Self

import polars as pl

from models.base import DetectorError
from tapewatch.features.catalog import BY_NAME, CATALOG_VERSION
from tapewatch.market.tables.tape import MICROSTRUCTURE

MANIFEST_NAME = "manifest.json"
#: Increases when the files of a saved detector change their meaning.
FORMAT = 1
#: Another minor version of these may score differently or fail to load a forest.
_BINDING = ("scikit-learn",)
_RECORDED = (*_BINDING, "numpy", "polars", "skops", "shap")


@dataclass(frozen=True)
class Manifest:
    """The origin of a detector. `fit_window` is the first and last known_time of its training rows, ISO UTC."""

    detector: str
    features: list[str]
    catalog_version: int
    schema_hash: str
    fit_window: list[str]
    rows: int
    partitions: list[str]
    threshold: float
    alert_budget: float
    seed: int
    parameters: dict[str, float]
    libraries: dict[str, str]
    files: dict[str, str]
    format: int = FORMAT

    def write(self, folder: Path) -> None:
        """Write `manifest.json`."""
        (folder / MANIFEST_NAME).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path, *, detector: str) -> Self:
        """The manifest in `folder`, after checking that this code may use the files there.

        Raises:
            DetectorError: the manifest is missing, unreadable, or of another detector, catalog, schema or library version; or
                a file beside it is missing or changed.
        """
        path = folder / MANIFEST_NAME
        try:
            manifest = cls(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError as error:
            raise DetectorError(f"{folder} holds no {MANIFEST_NAME}: it is no saved detector") from error
        except (json.JSONDecodeError, TypeError) as error:
            raise DetectorError(f"{path} is no manifest of format {FORMAT}: {error}") from error
        faults = list(manifest._faults(detector, folder))
        if faults:
            raise DetectorError(f"{folder} cannot be used: {'; '.join(faults)}. Train the detector again")
        return manifest

    def _faults(self, detector: str, folder: Path) -> list[str]:
        found: list[tuple[str, object, object]] = [
            ("format", self.format, FORMAT),
            ("detector", self.detector, detector),
            ("feature catalog", self.catalog_version, CATALOG_VERSION),
        ]
        unknown = [name for name in self.features if name not in BY_NAME]
        if unknown:
            return [f"the catalog has no feature {', '.join(unknown)}"]
        found.append(("schema", self.schema_hash, schema_hash(self.features)))
        found += [(name, _minor(self.libraries.get(name, "none")), _minor(version(name))) for name in _BINDING]
        found += [(name, digest, file_hash(folder / name)) for name, digest in self.files.items()]
        return [f"{name} is {was}, here it is {now}" for name, was, now in found if was != now]


def described(
    detector: str,
    features: Sequence[str],
    rows: pl.DataFrame,
    partitions: Sequence[str],
    *,
    threshold: float,
    alert_budget: float,
    seed: int,
    parameters: Mapping[str, float],
    libraries: Mapping[str, str] | None = None,
) -> Manifest:
    """The manifest of a detector that was just fitted on `rows`, without files yet."""
    known = rows["known_time"]
    ends = (known.arg_min() or 0, known.arg_max() or 0)
    return Manifest(
        detector=detector,
        features=list(features),
        catalog_version=CATALOG_VERSION,
        schema_hash=schema_hash(features),
        fit_window=[known.dt.strftime("%Y-%m-%dT%H:%M:%SZ")[int(at)] for at in ends],
        rows=rows.height,
        partitions=list(partitions),
        threshold=threshold,
        alert_budget=alert_budget,
        seed=seed,
        parameters=dict(parameters),
        libraries={**library_versions(), **(libraries or {})},
        files={},
    )


def schema_hash(features: Sequence[str]) -> str:
    """A digest of the features' types and of their entries in the catalog."""
    described = [
        (name, str(MICROSTRUCTURE.schema[name]), BY_NAME[name].transform, BY_NAME[name].high, BY_NAME[name].low)
        for name in features
    ]
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()


def file_hash(path: Path) -> str:
    """SHA-256 of a file, or `missing`."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "missing"


def library_versions() -> Mapping[str, str]:
    """Versions of the libraries that a detector's state depends on."""
    return {name: version(name) for name in _RECORDED}


def _minor(text: str) -> str:
    return ".".join(text.split(".")[:2])
