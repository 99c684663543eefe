"""Reads BentoML's store of Bentos and models without importing BentoML."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import yaml

BENTO_NAME = "tapewatch_scoring"
#: The name of every model in BentoML's store; its versions are `NAME-VERSION` of the registered model.
MODEL_NAME = "tapewatch_detector"
#: The alias of a Bento's one model in its manifest.
MODEL_ALIAS = "detector"


class StoreError(RuntimeError):
    """A Bento cannot be read; the message says how to build one."""


@dataclass(frozen=True)
class StoredBento:
    """A built Bento: its tag, its folder, the folder of its detector, the name and version of the model, and its origin."""

    tag: str
    folder: Path
    model_folder: Path
    model_name: str
    model_version: str
    lineage: dict[str, str] = field(default_factory=dict)

    @staticmethod
    def latest_tag(bento_home: Path) -> str | None:
        """The tag of the Bento built last, from its pointer alone; None if there is none."""
        try:
            return f"{BENTO_NAME}:{_pointer(bento_home).read_text(encoding='utf-8').strip()}"
        except FileNotFoundError:
            return None

    @classmethod
    def latest(cls, bento_home: Path) -> Self | None:
        """The Bento built last, or None if there is none. Raises StoreError if its model is not in the store."""
        tag = cls.latest_tag(bento_home)
        if tag is None:
            return None
        folder = _pointer(bento_home).with_name(tag.partition(":")[2])
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
                    facts = {str(key): str(value) for key, value in metadata.items()}
                    return cls(tag, folder, model_folder, facts.pop("name"), facts.pop("version"), facts)
        raise StoreError(f"{tag} in {bento_home} has lost its model: materialize serving/anomaly_bento again")


def _pointer(bento_home: Path) -> Path:
    return bento_home / "bentos" / BENTO_NAME / "latest"


def _yaml(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")))
