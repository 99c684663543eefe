"""Files written aside and renamed once they are complete, and locks between processes."""

import fcntl
import hashlib
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import filelock
from upath import UPath

#: Below this, a volume counts as full: databases and staged files of the lake need some room for every change.
LEAST_FREE_BYTES = 256 * 1024 * 1024
#: An empty staged file that is older belongs to a writer that was killed as it began.
_EMPTY_S = 3600


class WriteError(RuntimeError):
    """A file cannot be written: the disk is full, read-only or gone."""


def is_local(path: UPath) -> bool:
    """Whether a path is in this machine's file system."""
    return path.protocol in ("", "file")


def is_of_object_store(error: BaseException) -> bool:
    """Whether an error is one that a client of an object store raises: its own classes derive from no common one."""
    return type(error).__module__.startswith(("aiohttp.", "botocore."))


def write_whole(
    path: Path, content: str | bytes | Callable[[BinaryIO], object], *, is_synced: bool = True, is_shared: bool = False
) -> int:
    """Write a file in the folder of `path`, then rename it to `path`; on an error nothing is left. Returns its bytes.

    Args:
        path: replaced where it exists; its folder must exist.
        content: text, bytes, or a function that writes to a binary stream.
        is_synced: put the content on disk before the rename: after a power cut there is the old file or the new one.
        is_shared: other processes may write the same file at the same time.
    """
    staged = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp" if is_shared else f".{path.name}.tmp")
    stream = staged.open("wb")
    try:
        with stream:
            if callable(content):
                content(stream)
            else:
                stream.write(content.encode() if isinstance(content, str) else content)
            stream.flush()
            if is_synced:
                os.fsync(stream.fileno())
        size = staged.stat().st_size
        staged.replace(path)
    except BaseException:
        staged.unlink(missing_ok=True)
        raise
    return size


def sync_folder(folder: Path) -> None:
    """Put the names of a folder's files on disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Make a folder and its parents where they are missing, each with its name on disk."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in missing:
        sync_folder(made.parent)


def expect_room(home: Path) -> None:
    """Raise a WriteError if the data folder cannot be written, or its volume is full. The folder need not exist, and is not made."""
    home = home.absolute()
    try:
        place = next(path for path in (home, *home.parents) if path.exists())
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise WriteError(
            f"{home} cannot be written ({error.strerror}): mount a volume that this user can write, or set TAPEWATCH_HOME to "
            "another folder"
        ) from error
    free = shutil.disk_usage(place).free
    if free < LEAST_FREE_BYTES:
        raise WriteError(
            f"the volume of {home} is full: {free / 2**20:,.0f} MiB are free, {LEAST_FREE_BYTES / 2**20:,.0f} MiB are needed; "
            "enlarge it, or delete what is no longer needed (`tapewatch db retain`, old days of the lake)"
        )


def process_lock(path: Path) -> filelock.BaseFileLock:
    """A lock that one process holds at a time, until it is released or the process ends; its folder is made.

    `with process_lock(path):` waits for it; `acquire(timeout=0)` raises `filelock.Timeout` where another holds it. Any
    thread may release it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    return filelock.FileLock(path, thread_local=False)


class Staging:
    """Context manager for one write to `target`: fill `path`, then `swap_in()`. Without it nothing is left.

    The staged file is locked until its writer ends. The next writer of the same target removes the unlocked file of a
    writer that was killed.

    Args:
        target: the file to replace; its folder is made.
        beside: a path on the target's disk in whose folder, and under whose name, the staged file lies; by default the target.
            Ignored for an object store, whose staged files are in this machine's folder for temporary files.

    Raises:
        WriteError: the folder cannot be written.
    """

    def __init__(self, target: UPath, beside: Path | None = None) -> None:
        self._target = target
        if is_local(target):
            beside = beside or Path(target.path)
            self._folder, self._stem = beside.parent, f".{beside.name}."
        else:
            self._folder = Path(tempfile.gettempdir())
            self._stem = f".tapewatch-{hashlib.sha256(str(target).encode()).hexdigest()[:16]}."
        self.path = self._folder / f"{self._stem}{uuid.uuid4().hex}.tmp"
        self._lock = -1

    def __enter__(self) -> Self:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._remove_stale()
            self._lock = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644)
            # Another writer that looks for stale files may hold it for a moment; it does not remove an empty file.
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        except OSError as error:
            raise WriteError(error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.path.unlink(missing_ok=True)
        os.close(self._lock)

    def swap_in(self) -> int:
        """Make the staged file durable and put it in the target's place; returns its size in bytes."""
        try:
            os.fsync(self._lock)
            size = os.fstat(self._lock).st_size
            if is_local(self._target):
                home = Path(self._target.path).parent
                make_folder(home)
                self.path.replace(self._target.path)
                sync_folder(home)
            else:
                # An object store shows an upload only once it is complete.
                self._target.fs.put_file(str(self.path), self._target.path)
        except OSError as error:
            raise WriteError(error) from error
        return size

    def _remove_stale(self) -> None:
        for path in self._folder.glob(f"{self._stem}*.tmp"):
            with suppress(FileNotFoundError):
                lock = os.open(path, os.O_RDWR)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    # An empty file may belong to a writer that has created it and not locked it yet; no longer once it is old.
                    state = os.fstat(lock)
                    if state.st_size or time.time() - state.st_mtime > _EMPTY_S:
                        path.unlink()
                except BlockingIOError:
                    continue
                finally:
                    os.close(lock)
