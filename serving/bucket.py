"""Bentos in an object store: a run publishes them, and scoring services on other machines fetch them.

Each Bento and each model is one object, a ZIP named by its content, and `current.json` names those that count. A publisher that is
killed leaves the old `current.json`; a reader gets the old state or the new one.
"""

import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import filelock
from upath import UPath

from serving.store import BENTO_NAME, CHALLENGER, CHAMPION, MODEL_NAME, StoredBento, point, pointed
from tapewatch.store.durable import is_local, is_of_object_store, make_folder, process_lock, write_whole

_CURRENT: Final = "current.json"
#: What of the bucket this store has, in the store.
_FETCHED: Final = ".fetched.json"
_LOCK: Final = ".fetching.lock"
_ROLES: Final = (CHAMPION, CHALLENGER)
#: Of every file in an archive, so that the same content gives the same object.
_TIME: Final = (1980, 1, 1, 0, 0, 0)


class BucketError(RuntimeError):
    """The place of the Bentos cannot be read or written, or holds something else; the message names it and the way out."""


@dataclass(frozen=True)
class BentoBucket:
    """A folder or fsspec URL, such as `s3://bucket/bentos`, that several stores share."""

    url: str

    def publish(self, bento_home: Path) -> bool:
        """Put the store's newest Bento and the models that have a role there; returns whether anything is new.

        Raises:
            BucketError: it cannot be written.
            StoreError: the Bento cannot be read.
        """
        bento = StoredBento.latest(bento_home)
        roles = {role: pointed(bento_home, role) for role in _ROLES}
        models = {tag for tag in roles.values() if tag} | ({bento.model_folder.name} if bento else set())
        folders = {f"models/{MODEL_NAME}/{tag}" for tag in models}
        folders |= {f"bentos/{BENTO_NAME}/{bento.folder.name}"} if bento else set()
        # A service that shares this store fetches nothing meanwhile.
        with process_lock(bento_home / _LOCK), self._answering("written"):
            objects = {name: self._put(bento_home / name, name) for name in sorted(folders)}
            current = {"bento": bento.folder.name if bento else "", "roles": roles, "objects": objects}
            if current == self._current():
                return False
            self._write(_CURRENT, json.dumps(current, indent=1).encode())
            # It has this state already.
            for name, key in objects.items():
                write_whole(_mark(bento_home / name), key, is_shared=True)
            write_whole(bento_home / _FETCHED, json.dumps(current), is_shared=True)
        return True

    def fetch(self, bento_home: Path) -> bool:
        """Bring the store to what was published last; returns whether that changed it.

        What another process fetches at this moment is left to it. A role that was changed here since the last publication stays.

        Raises:
            BucketError: it cannot be read, or an object is damaged; the store stays as it was.
        """
        make_folder(bento_home)
        try:
            with process_lock(bento_home / _LOCK).acquire(timeout=0), self._answering("read"):
                current = self._current()
                if current is None or current == _json(bento_home / _FETCHED):
                    return False
                for name, key in current["objects"].items():
                    self._get(bento_home, name, key)
                _follow(bento_home, current)
                return True
        except filelock.Timeout:
            return False

    @property
    def _root(self) -> UPath:
        return UPath(self.url)

    def _current(self) -> dict[str, Any] | None:
        try:
            return dict(json.loads(self._read(_CURRENT)))
        except FileNotFoundError:
            return None

    def _put(self, folder: Path, name: str) -> str:
        content = _packed(folder)
        key = f"{name}-{hashlib.sha256(content).hexdigest()[:16]}.zip"
        if not (self._root / key).exists():
            self._write(key, content)
        return key

    def _read(self, key: str) -> bytes:
        # In one request: an object that is opened first may be another by the time it is read.
        path = self._root / key
        return bytes(path.fs.cat_file(path.path))

    def _write(self, key: str, content: bytes) -> None:
        path = self._root / key
        if is_local(path):
            make_folder(Path(path.path).parent)
            write_whole(Path(path.path), content, is_shared=True)
        else:
            path.write_bytes(content)

    def _get(self, bento_home: Path, name: str, key: str) -> None:
        """Put an object's folder into the store, as a whole, unless it has just this one."""
        target = bento_home / name
        mark = _mark(target)
        if target.is_dir() and mark.is_file() and mark.read_text("utf-8") == key:
            return
        content = self._read(key)
        if hashlib.sha256(content).hexdigest()[:16] != key.removesuffix(".zip").rpartition("-")[2]:
            raise BucketError(f"{self.url}/{key} is damaged: materialize serving/anomaly_bento again")
        staged, old = (target.with_name(f".{target.name}.{kind}") for kind in ("new", "old"))
        for path in (staged, old):
            shutil.rmtree(path, ignore_errors=True)
        staged.mkdir(parents=True)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            archive.extractall(staged)
        if target.exists():
            target.rename(old)
        staged.rename(target)
        shutil.rmtree(old, ignore_errors=True)
        write_whole(mark, key, is_shared=True)

    @contextmanager
    def _answering(self, done: str) -> Iterator[None]:
        """Turn what a client of an object store or the system raises into a BucketError."""
        try:
            yield
        except Exception as error:
            if not is_of_object_store(error) and not isinstance(error, OSError | ValueError | ImportError):
                raise
            raise BucketError(
                f"TAPEWATCH_BENTOS_URL: {self.url} cannot be {done} ({error}): check the address, for a bucket AWS_ENDPOINT_URL and "
                "the credentials too"
            ) from error


def _follow(bento_home: Path, current: dict[str, Any]) -> None:
    """Point the store to what was fetched, and note it last: after a kill it is fetched again."""
    for role, tag in current["roles"].items():
        if tag != pointed(bento_home, role):
            point(bento_home, role, tag)
    if current["bento"]:
        write_whole(bento_home / "bentos" / BENTO_NAME / "latest", current["bento"], is_shared=True)
    write_whole(bento_home / _FETCHED, json.dumps(current), is_shared=True)


def _mark(folder: Path) -> Path:
    """The file that names the object of which a folder of the store is the content."""
    return folder.with_name(f".{folder.name}.object")


def _packed(folder: Path) -> bytes:
    """A ZIP of a folder; the same content gives the same bytes."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(str(path.relative_to(folder)), _TIME)
            entry.external_attr = (path.stat().st_mode & 0o777) << 16
            archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
    return made.getvalue()


def _json(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
