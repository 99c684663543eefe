"""The scoring service's application in this process, for tests."""

import functools
import shutil
import tempfile
from pathlib import Path
from typing import Any

import yaml

from models.isolation_forest.detector import IsolationForestDetector
from models.served.loading import write_graphs
from serving.deployment import Deployment
from serving.loader import Scorer
from serving.store import CHAMPION, MODEL_NAME, StoredModel, point, tag_of
from serving.swap import Slot, load_stored
from tapewatch.settings import Settings
from tests.support.detectors import fitted


def save_detector(folder: Path) -> Path:
    """A saved detector with its graph."""
    _fitted().save(folder)
    write_graphs(folder, folder)
    return folder


def deployment_of(model: Path, home: Path | None = None, **settings: Any) -> Deployment:
    """A deployment that serves the detector saved in `model`, with its keys read."""
    scorer = Scorer.load(model, name="isolation_forest", version="3")
    made = Deployment.of(Settings(home=home or model, _env_file=None, **settings), Slot(scorer))
    made.read_keys()
    return made


_fitted = functools.cache(fitted)


@functools.cache
def _saved() -> tempfile.TemporaryDirectory[str]:
    folder = tempfile.TemporaryDirectory(prefix="tapewatch-detector-")
    save_detector(Path(folder.name))
    return folder


def put_model(bento_home: Path, version: str, detector: IsolationForestDetector | None = None) -> StoredModel:
    """A version of the forest in a store, as `serving.bento.store_model` lays it out."""
    folder = bento_home / "models" / MODEL_NAME / tag_of("isolation_forest", version)
    if detector is None:
        shutil.copytree(_saved().name, folder)
    else:
        detector.save(folder)
        write_graphs(folder, folder)
    facts = {"name": "isolation_forest", "version": version, "mlflow_run": f"run-{version}"}
    (folder / "model.yaml").write_text(yaml.safe_dump({"metadata": facts}))
    found = StoredModel.find(bento_home, folder.name)
    assert found is not None
    return found


def deployment_in(bento_home: Path, version: str = "3", **settings: Any) -> Deployment:
    """A deployment that serves a version of a store, and follows the store's roles."""
    stored = put_model(bento_home, version)
    point(bento_home, CHAMPION, stored.tag)
    slot = Slot(load_stored(stored), stored.lineage, bento_home, stored.tag)
    made = Deployment.of(Settings(home=bento_home.parent, _env_file=None, scoring_log_requests=False, **settings), slot)
    made.read_keys()
    return made
