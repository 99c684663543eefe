"""Reads BentoML's store of Bentos and models without importing BentoML."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import yaml

BENTO_NAME = "tapewatch_scoring"
#: The alias of a Bento's one model in its manifest.
MODEL_ALIAS = "detector"


class StoreError(RuntimeError):
    """A Bento cannot be read; the message says how to build one."""


@dataclass(frozen=True)
class StoredBento:
    """A built Bento: its tag, its folder, the folder of its detector, and the name and version of the model."""

    tag: str
    folder: Path
    model_folder: Path
    model_name: str
    model_version: str

    @classmethod
    def latest(cls, bento_home: Path) -> Self | None:
        """The Bento built last, or None if there is none. Raises StoreError if its model is not in the store."""
        store = bento_home / "bentos" / BENTO_NAME
        pointer = store / "latest"
        if not pointer.is_file():
            return None
        folder = store / pointer.read_text(encoding="utf-8").strip()
        return cls._read(folder, bento_home) if (folder / "bento.yaml").is_file() else None

    @classmethod
    def _read(cls, folder: Path, bento_home: Path) -> Self:
        manifest = _yaml(folder / "bento.yaml")
        tag = f"{BENTO_NAME}:{folder.name}"
        for entry in manifest.get("models") or []:
            if entry.get("alias") == MODEL_ALIAS:
                name, _, version = str(entry["tag"]).partition(":")
                model_folder = bento_home / "models" / name / version
                if (model_folder / "model.yaml").is_file():
                    metadata = _yaml(model_folder / "model.yaml")["metadata"]
                    return cls(tag, folder, model_folder, str(metadata["name"]), str(metadata["version"]))
        raise StoreError(f"{tag} in {bento_home} has lost its model: materialize serving/anomaly_bento again")


def _yaml(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")))
