"""Reads BentoML's store of Bentos and models without importing BentoML."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import yaml

from tapewatch.store.durable import write_whole

BENTO_NAME = "tapewatch_scoring"
#: The name of every model in BentoML's store; its versions are `NAME-VERSION` of the registered model.
MODEL_NAME = "tapewatch_detector"
#: The alias of a Bento's one model in its manifest.
MODEL_ALIAS = "detector"


#: What a model of the store is for: the one that answers, and the one that scores beside it in shadow.
CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"


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


@dataclass(frozen=True)
class StoredModel:
    """A model of the store: its tag, its folder, its registered name and version, and its origin."""

    tag: str
    folder: Path
    name: str
    version: str
    lineage: dict[str, str] = field(default_factory=dict)

    @classmethod
    def find(cls, bento_home: Path, tag: str) -> Self | None:
        """The model `tag`, or None if it is not in the store."""
        folder = bento_home / "models" / MODEL_NAME / tag
        if not tag or not (folder / "model.yaml").is_file():
            return None
        facts = {str(key): str(value) for key, value in _yaml(folder / "model.yaml")["metadata"].items()}
        return cls(tag, folder, facts.pop("name"), facts.pop("version"), facts)


def tag_of(name: str, version: str) -> str:
    """The tag of a registered model in the store."""
    return re.sub(r"[^a-z0-9._-]+", "-", f"{name}-{version}".lower()).strip("-._")


def pointed(bento_home: Path, role: str) -> str:
    """The tag of the model in a role; empty if there is none. Without a pointer the champion is that of the Bento built last."""
    try:
        return (bento_home / "roles" / role).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        bento = StoredBento.latest_tag(bento_home) if role == CHAMPION else None
        return bento.partition(":")[2] if bento else ""


def point(bento_home: Path, role: str, tag: str) -> None:
    """Let a role point to a model, or to none by an empty tag; every worker follows."""
    (bento_home / "roles").mkdir(parents=True, exist_ok=True)
    write_whole(bento_home / "roles" / role, f"{tag}\n", is_shared=True)


def _pointer(bento_home: Path) -> Path:
    return bento_home / "bentos" / BENTO_NAME / "latest"


def _yaml(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")))
