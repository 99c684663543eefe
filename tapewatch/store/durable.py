"""A file that is written aside and swapped in whole."""

import fcntl
import hashlib
import os
import tempfile
import uuid
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from upath import UPath


class WriteError(RuntimeError):
    """The file system refuses: full, read-only, gone."""


def is_local(path: UPath) -> bool:
    """Whether a path lies in the machine's own file system."""
    return path.protocol in ("", "file")


class Staging:
    """Context manager for one write to `target`: fill `path`, then `swap_in()`; left without, it leaves no trace.

    The staged file is locked while its writer lives. A writer that was killed leaves a file without a lock, which the
    next writer of the same target removes.

    Raises:
        WriteError: the folder cannot be written.
    """

    def __init__(self, target: UPath) -> None:
        self._target = target
        if is_local(target):
            self._folder = Path(target.path).parent
            self._stem = f".{target.name}."
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
            # Another writer that looks for stale files may hold it for a moment: that one lets an empty file be.
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
                self.path.replace(self._target.path)
                _sync_folder(self._folder)
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
                    # Between its creation and its lock a file is empty: it may belong to a writer that just began.
                    if os.fstat(lock).st_size:
                        path.unlink()
                except BlockingIOError:
                    continue
                finally:
                    os.close(lock)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
