"""Builds the Bento of a registered model from its artifact folder, offline.

`build_bento` runs this module in a process of its own, because BentoML reads its home folder once per process.
"""

import ast
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from models.base import DetectorError
from models.served.loading import write_graphs
from serving.store import BENTO_NAME, CHAMPION, MODEL_ALIAS, MODEL_NAME, point, tag_of
from tapewatch.store.database.migrations import VERSIONS

SERVICE = "serving.service:TapewatchScoring"
#: The folder of what serving needs beside the saved detector, until it is in BentoML's store.
_GRAPHS = ".graphs"
_OWN_PACKAGES = frozenset({"tapewatch", "models", "serving"})
#: What training alone imports, within functions.
_TRAINING_ONLY = frozenset({"keras", "tensorflow"})
#: Packages that several distributions share: the one that needs the others.
_NAMED_BY_HAND = {"opentelemetry": "opentelemetry-exporter-otlp-proto-http"}
_ENTRY = "serving.service"
_REVISIONS = "tapewatch.store.database.migrations.versions"


class BentoError(RuntimeError):
    """A Bento cannot be built; the message ends with the builder's output."""


def build_bento(model_dir: Path, *, name: str, version: str, metadata: Mapping[str, str], bento_home: Path) -> str:
    """Build the Bento of one registered model, make that model the champion of the store, and return the Bento's tag.

    The tag is `tapewatch_scoring:<name>-<version>`. The Bento holds the saved detector, the modules that the service imports, and
    the installed versions of the packages that these import. Building the same model with the same code again changes nothing and
    returns the same tag.

    Args:
        model_dir: folder that a detector's `save` wrote.
        name, version: those of the registered model.
        metadata: further facts for the Bento, such as the run that made the model.
        bento_home: BentoML's store; created if absent.

    Raises:
        BentoError: the build failed.
    """
    tag = _run(model_dir, name, version, metadata, bento_home, is_bento=True)
    point(bento_home, CHAMPION, tag_of(name, version))
    return tag


def store_model(model_dir: Path, *, name: str, version: str, metadata: Mapping[str, str], bento_home: Path) -> str:
    """Put a registered model into the store without a Bento, and return its tag, `<name>-<version>`; otherwise as `build_bento`.

    It gets no role by that. A service that runs can shadow it, and serve it at once.

    Raises:
        BentoError: the model cannot be stored.
    """
    return _run(model_dir, name, version, metadata, bento_home, is_bento=False)


def _run(
    model_dir: Path, name: str, version: str, metadata: Mapping[str, str], bento_home: Path, *, is_bento: bool
) -> str:
    bento_home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tapewatch-bento-") as staging:
        context = Path(staging)
        modules = service_modules()
        for module, source in modules.items():
            _stage(module, source, context)
        graphs = context / _GRAPHS
        graphs.mkdir()
        try:
            write_graphs(model_dir, graphs)
        except DetectorError as error:
            raise BentoError(f"building the Bento of {name} {version} failed: {error}") from error
        job = {
            "model_dir": str(model_dir.resolve()),
            "graphs": str(graphs),
            "metadata": {**metadata, "name": name, "version": version},
            "version": tag_of(name, version),
            "packages": pinned_requirements(modules),
            "digest": _digest(context, model_dir),
            "model_digest": _digest(graphs, model_dir),
            "is_bento": is_bento,
        }
        environment = os.environ | {"BENTOML_HOME": str(bento_home.resolve()), "BENTOML_DO_NOT_TRACK": "true"}
        done = subprocess.run(
            [sys.executable, "-m", "serving.bento"],
            cwd=context,
            env=environment,
            input=json.dumps(job),
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise BentoError(f"building the Bento of {name} {version} failed:\n{done.stderr[-2000:]}")
    return done.stdout.strip().splitlines()[-1]


@cache
def service_modules() -> dict[str, Path]:
    """Every module of ours that the service imports, directly or not, also within functions, and its file."""
    found: dict[str, Path] = {}
    waiting = [_ENTRY, "serving.bento", *_revisions()]
    while waiting:
        module = waiting.pop()
        if module in found or module.partition(".")[0] not in _OWN_PACKAGES:
            continue
        source = _source_of(module)
        if source is None:
            continue
        found[module] = source
        package, _, _ = module.rpartition(".")
        waiting.extend([package] if package else [])
        waiting.extend(_imports(source))
    return dict(sorted(found.items()))


def _revisions() -> list[str]:
    """The database's revisions, which are found by their files and imported by none."""
    return [f"{_REVISIONS}.{path.stem}" for path in VERSIONS.glob("r[0-9]*.py")]


def pinned_requirements(modules: Mapping[str, Path]) -> list[str]:
    """The installed version of each distribution that `modules` import, as `name==version`."""
    distributions = importlib.metadata.packages_distributions()
    tops = {name.partition(".")[0] for source in modules.values() for name in _imports(source)}
    found = {top: distributions[top][0] for top in tops - _OWN_PACKAGES - _TRAINING_ONLY if top in distributions}
    names = set((found | {top: name for top, name in _NAMED_BY_HAND.items() if top in found}).values())
    return sorted(f"{name}=={importlib.metadata.version(name)}" for name in names)


@cache
def _imports(source: Path) -> tuple[str, ...]:
    """What a file imports: modules, and each name that may be a module of a package."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.extend(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.append(node.module)
            found.extend(f"{node.module}.{alias.name}" for alias in node.names)
    return tuple(found)


def _source_of(module: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        return None
    return Path(spec.origin) if spec is not None and spec.origin else None


def _stage(module: str, source: Path, context: Path) -> None:
    target = context.joinpath(*module.split("."))
    target = target / source.name if source.name == "__init__.py" else target.with_suffix(".py")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _digest(*folders: Path) -> str:
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            digest.update(str(path.relative_to(folder)).encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:32]


def _build(job: dict[str, Any]) -> str:
    import bentoml  # noqa: PLC0415 - the parent imports this module, and must not fix BentoML's home
    from bentoml.exceptions import NotFound  # noqa: PLC0415

    if not job["is_bento"]:
        _store(job)
        return str(job["version"])
    tag = f"{BENTO_NAME}:{job['version']}"
    with suppress(NotFound):
        known = bentoml.get(tag)
        if known.info.labels.get("digest") == job["digest"]:
            # An older champion may become champion again: the Bento requested last is served.
            Path(known.path).parent.joinpath("latest").write_text(job["version"], encoding="utf-8")
            return tag
        bentoml.delete(tag)
    model_tag = _store(job)
    shutil.rmtree(job["graphs"])
    built = bentoml.build(
        SERVICE,
        name=BENTO_NAME,
        version=job["version"],
        labels={"digest": job["digest"], "platform": "tapewatch"},
        include=["*"],
        models=[{"tag": model_tag, "alias": MODEL_ALIAS}],
        python={"packages": job["packages"], "lock_packages": False},
        build_ctx=str(Path.cwd()),
    )
    for path in Path(built.path).rglob("*"):
        # BentoML copies files of its own with the rights of its installation.
        path.chmod(path.stat().st_mode & 0o700)
    return tag


def _store(job: dict[str, Any]) -> str:
    """Store the model of a job; one of the same content stays, since workers may be reading it."""
    import bentoml  # noqa: PLC0415 - as above
    from bentoml.exceptions import NotFound  # noqa: PLC0415

    tag = f"{MODEL_NAME}:{job['version']}"
    with suppress(NotFound):
        known = bentoml.models.get(tag)
        facts = {str(name): str(value) for name, value in known.info.metadata.items()}
        if known.info.labels.get("digest") == job["model_digest"] and facts == job["metadata"]:
            return tag
        bentoml.models.delete(tag)
    with bentoml.models.create(tag, metadata=job["metadata"], labels={"digest": job["model_digest"]}) as stored:
        for folder in (job["model_dir"], job["graphs"]):
            shutil.copytree(folder, stored.path, dirs_exist_ok=True)
    return tag


if __name__ == "__main__":
    sys.stdout.write(_build(json.load(sys.stdin)) + "\n")
