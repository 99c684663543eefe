"""Models that collectors use: each is one file, replaced as a whole, that needs no MLflow to be read."""

import logging
import tempfile
import threading
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, Protocol, TypeVar

from models.base import DetectorError
from models.scan.detector import ScanDetector
from tapewatch.store.durable import make_folder, write_whole

_log = logging.getLogger(__name__)
_NAME = "model.txt"
_LOOK_S = 60.0
#: Files of the champion of minutes and of its challenger, in the folder of all champions.
MINUTES: Final = "minutes"
CHALLENGER: Final = "minutes_challenger"

D = TypeVar("D")


class Saved(Protocol):
    """A detector that writes itself into a folder."""

    def save(self, folder: Path) -> None:
        """Write state and manifest into `folder`."""


@dataclass(frozen=True)
class Champion(Generic[D]):
    """A detector, and its name and version, such as `scan/3`."""

    model: str
    detector: D


def file_of(folder: Path, name: str) -> Path:
    """The file of the champion `name` in the folder of all champions."""
    return folder / f"{name}.zip"


def publish(detector: Saved, model: str, path: Path) -> None:
    """Put a detector in the place of the one in `path`, whole or not at all.

    Raises:
        OSError: the file cannot be written.
    """
    with tempfile.TemporaryDirectory() as folder:
        detector.save(Path(folder))
        publish_folder(Path(folder), model, path)


def publish_folder(folder: Path, model: str, path: Path) -> None:
    """The same for a detector that was saved in `folder`."""
    make_folder(path.parent)

    def write(stream: object) -> None:
        # The arrays are compressed already.
        with zipfile.ZipFile(stream, "w") as archive:  # type: ignore[call-overload]
            archive.writestr(_NAME, model)
            for file in sorted(file for file in folder.rglob("*") if file.is_file()):
                archive.write(file, file.relative_to(folder).as_posix())

    write_whole(path, write, is_shared=True)


def published_model(path: Path) -> str | None:
    """Name and version of the model in `path`; None without one that can be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(_NAME).decode()
    except (OSError, KeyError, UnicodeDecodeError, zipfile.BadZipFile):
        return None


def read_champion(path: Path, load: Callable[[Path], Any] = ScanDetector.load) -> Champion[Any]:
    """The model in `path`, as `load` reads the folder of its files; by default a scan.

    Raises:
        DetectorError: the file is none of such a model, or it was altered.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            with zipfile.ZipFile(path) as archive:
                archive.extractall(folder)
            model = (Path(folder) / _NAME).read_text(encoding="utf-8")
        except (OSError, ValueError, NotImplementedError, RuntimeError, zipfile.BadZipFile) as error:
            raise DetectorError(f"{path} is no file of a model: {error}. `tapewatch run` writes it anew") from error
        return Champion(model, load(Path(folder)))


class Champions(Generic[D]):
    """The model in a file, read again when the file changes. `current` is None without one that can be used.

    A file that cannot be used, or is gone, is logged, and the model before it stays.

    Args:
        path: written by `publish`; it may be missing.
        load: reads the folder of the model's files.
        what: the model's part, for the log.
        may_go: where the file is gone there is no model any more.

    Attributes:
        is_stale: whether `current` is not what the file holds, since that cannot be read.
    """

    def __init__(
        self,
        path: Path,
        load: Callable[[Path], D],
        *,
        what: str = "scan",
        may_go: bool = False,
        every_s: float = _LOOK_S,
    ) -> None:
        self.current: Champion[D] | None = None
        self.is_stale = False
        self._path, self._every_s = path, every_s
        self._load, self._what, self._may_go = load, what, may_go
        self._seen: tuple[int, int, int] | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._look_until_closed, name=f"champion-{what}", daemon=True)

    def look(self) -> None:
        """Read the file if it changed since the last look."""
        try:
            found = self._path.stat()
        except OSError as error:
            self._note_gone(error)
            return
        seen = (found.st_mtime_ns, found.st_size, found.st_ino)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self.current = read_champion(self._path, self._load)
        except Exception as error:  # noqa: BLE001 - whatever is in the file, the collector goes on
            self.is_stale = True
            _log.warning("the %s is not used: %s", self._what, error)
        else:
            self.is_stale = False
            _log.info("the %s is %s", self._what, self.current.model)

    def start(self) -> None:
        """Look again every minute, in a thread."""
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def _note_gone(self, error: OSError) -> None:
        """The file is away. Without a model that is no news."""
        self._seen = None
        if self.current is None:
            return
        if self._may_go:
            _log.info("the %s %s is withdrawn", self._what, self.current.model)
            self.current = None
        elif not self.is_stale:
            self.is_stale = True
            _log.warning("the %s cannot be read (%s): %s stays in use", self._what, error, self.current.model)

    def _look_until_closed(self) -> None:
        while not self._closing.wait(self._every_s):
            self.look()
