"""Any version of a model to score with: from BentoML's store, or downloaded from the registry."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from serving.loader import Scorer
from serving.schemas import Model
from serving.store import MODEL_NAME

#: Downloads a model by its URI for as long as the context lasts; None if there is no such version.
Download = Callable[[str], AbstractContextManager[Path | None]]


class Versions:
    """Loads each version once."""

    def __init__(self, bento_home: Path, download: Download) -> None:
        self._store, self._download = bento_home / "models" / MODEL_NAME, download
        self._loaded: dict[Model, Scorer | None] = {}

    def scorer(self, model: Model) -> Scorer | None:
        """The version to score with; None if there is none.

        Raises:
            DetectorError: this code cannot use it.
        """
        if model not in self._loaded:
            self._loaded[model] = self._load(model)
        return self._loaded[model]

    def _load(self, model: Model) -> Scorer | None:
        stored = self._store / f"{model.name}-{model.version}"
        if stored.is_dir():
            return Scorer.load(stored, name=model.name, version=model.version)
        with self._download(f"models:/{model.name}/{model.version}") as folder:
            return Scorer.load(folder, name=model.name, version=model.version) if folder else None
