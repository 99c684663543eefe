"""The scoring service's application in this process, for tests."""

import functools
from pathlib import Path
from typing import Any

from models.served.loading import write_graphs
from serving.deployment import Deployment
from serving.loader import Scorer
from serving.swap import Slot
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
