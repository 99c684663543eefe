"""What is logged with a model, so that it can be understood, loaded elsewhere and made again.

The package of a model holds the code that reads it, so that it loads where Tapewatch is not installed.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.data.dataset_source_registry import resolve_dataset_source
from mlflow.data.meta_dataset import MetaDataset
from mlflow.models import ModelSignature, infer_signature
from mlflow.types.schema import AnyType, ColSpec, Schema

import models
import tapewatch
from resources.code_version import code_version
from resources.model_card import PURPOSES
from tapewatch.market.instruments import Partition
from tapewatch.market.schema import Table
from tapewatch.store.lake.lake import Lake

#: Name of the artifact that holds a detector's files.
DETECTOR_FOLDER = "detector"
#: What the models may import of the library; import-linter holds it.
_LIBRARY = ("market", "features", "bars", "labels")
_TABULAR = ("numpy", "pandas", "polars", "pyarrow")
#: What loads a model, by the file that MLflow runs.
_REQUIREMENTS = {
    "detector_pyfunc.py": (*_TABULAR, "numba", "scikit-learn", "shap", "skops", "filelock", "exchange-calendars"),
    "scan_pyfunc.py": (*_TABULAR, "numba", "filelock", "exchange-calendars"),
}
#: Columns that pandas may hold as text or categories, and as times with or without a zone.
_LOOSE = ("symbol", "event_time", "known_time", "last_tick")
LOCK_FILE = Path(tapewatch.__file__).parent.parent / "uv.lock"


def log_package(folder: Path, code: str, example: pd.DataFrame, prediction: pd.DataFrame) -> str:
    """Log a saved detector with `code`, the file of this package that loads it, to the active run; returns its model URI."""
    with tempfile.TemporaryDirectory() as own, _shipped_code() as shipped:
        # A copy, since MLflow copies the rights of the file too.
        copy = Path(own) / code
        copy.write_bytes((Path(__file__).parent / code).read_bytes())
        # The folder's name becomes part of the artifact's path, and a temporary one would differ each time.
        files = Path(own) / DETECTOR_FOLDER
        shutil.copytree(folder, files)
        info = mlflow.pyfunc.log_model(
            name=DETECTOR_FOLDER,
            python_model=str(copy),
            artifacts={DETECTOR_FOLDER: str(files)},
            code_paths=[str(path) for path in shipped],
            signature=_signature(example, prediction),
            input_example=example,
            pip_requirements=[
                f"mlflow=={version('mlflow')}",
                *(f"{name}=={version(name)}" for name in _REQUIREMENTS[code]),
            ],
        )
    return str(info.model_uri)


def log_inputs(lake: Lake, table: Table, days: Mapping[str, Sequence[str]], further: Sequence[Table] = ()) -> None:
    """Log the partitions of a training, with the hash of each file, and the datasets that they make up, to the active run.

    Args:
        days: partition keys of `table` by purpose: `train` and `validation`.
        further: other tables of which the detector was fitted on the training days, as far as the lake has them.
    """
    for other in further:
        present = [key for key in days["train"] if lake.exists(other, Partition.parse(key))]
        if present:
            _log_inputs(lake, other, {"train": present}, f"inputs_{other.name}.json")
    _log_inputs(lake, table, days, "inputs.json")


def _log_inputs(lake: Lake, table: Table, days: Mapping[str, Sequence[str]], file: str) -> None:
    hashed = {purpose: {key: _partition(lake, table, key) for key in keys} for purpose, keys in days.items()}
    mlflow.log_dict({"table": f"{table.group}/{table.name}", **hashed}, file)
    for purpose, found in hashed.items():
        digest = hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()[:36]
        source = resolve_dataset_source(str(lake.root / table.group / table.name))
        name = f"{table.name} {_span(list(found))}"
        mlflow.log_input(MetaDataset(source, name=name, digest=digest, schema=_columns(table)), context=purpose)


def provenance(seed: int) -> dict[str, str]:
    """Tags of a run by which it can be made again: code version, seed, and the hash of the lock file."""
    return {"code_version": code_version(), "seed": str(seed), "lock_file_sha256": lock_file_hash()}


def lock_file_hash() -> str:
    """SHA-256 of `uv.lock`, which pins every library; `none` where Tapewatch was installed without it."""
    return hashlib.sha256(LOCK_FILE.read_bytes()).hexdigest() if LOCK_FILE.is_file() else "none"


def run_name(name: str, days: Mapping[str, Sequence[str]]) -> str:
    """A name for a person: the detector and the days that it is fitted on."""
    return f"{name}, fitted on {_span(days.get('train', ()))}"


def description(name: str, days: Mapping[str, Sequence[str]]) -> str:
    """What a run trains and on what, in Markdown."""
    learnt, judged = days.get("train", ()), days.get("validation", ())
    markets = ", ".join(sorted({Partition.parse(key).market for key in learnt}))
    return (
        f"{PURPOSES.get(name, 'Finds anomalies.')}\n\nFitted on {len(learnt)} market days ({_span(learnt)}; {markets}), to be judged on "
        f"{len(judged)} ({_span(judged)}). `inputs.json` names each partition with its SHA-256; code version, seed and the hash of "
        "the lock file are tags."
    )


def _span(keys: Sequence[str]) -> str:
    dates = sorted({Partition.parse(key).date for key in keys})
    return "no day" if not dates else str(dates[0]) if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"


def _partition(lake: Lake, table: Table, key: str) -> dict[str, Any]:
    partition = Partition.parse(key)
    return {
        "path": str(lake.path(table, partition)),
        "sha256": lake.digest(table, partition),
        "rows": lake.rows(table, partition),
    }


def _columns(table: Table) -> Schema:
    return Schema(
        [ColSpec("double" if column.dtype.is_float() else AnyType(), column.name) for column in table.columns]
    )


def _signature(example: pd.DataFrame, prediction: pd.DataFrame) -> ModelSignature:
    inferred = infer_signature(example, prediction)
    loose = [ColSpec(AnyType(), spec.name) if spec.name in _LOOSE else spec for spec in inferred.inputs.inputs]
    return ModelSignature(Schema(loose), inferred.outputs)


@contextmanager
def _shipped_code() -> Iterator[list[Path]]:
    """Copies of the packages that a model needs, for as long as the context lasts."""
    ours, detectors = Path(tapewatch.__file__).parent, Path(models.__file__).parent
    with tempfile.TemporaryDirectory() as own:
        library = Path(own) / ours.name
        library.mkdir(mode=0o700)
        shutil.copyfile(ours / "__init__.py", library / "__init__.py")
        for package in _LIBRARY:
            _copy_plain(ours / package, library / package)
        _copy_plain(detectors, Path(own) / detectors.name)
        yield [library, Path(own) / detectors.name]


def _copy_plain(source: Path, target: Path) -> None:
    """Copy a package for its owner alone: the checkout's rights would reach the artifacts, which others must not read."""
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    shutil.copytree(source, target, ignore=ignored, copy_function=shutil.copyfile)
    for path in (target, *target.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
