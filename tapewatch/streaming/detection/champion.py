"""The scan that collectors use: one file, replaced as a whole, that needs no MLflow to be read."""

import logging
import tempfile
import threading
import zipfile
from dataclasses import dataclass
from pathlib import Path

from models.base import DetectorError
from models.scan.detector import ScanDetector
from tapewatch.store.durable import make_folder, write_whole

_log = logging.getLogger(__name__)
_NAME = "model.txt"
_LOOK_S = 60.0


@dataclass(frozen=True)
class Champion:
    """A scan, and its name and version, such as `scan/3`."""

    model: str
    detector: ScanDetector


def file_of(folder: Path, name: str) -> Path:
    """The file of the champion `name` in the folder of all champions."""
    return folder / f"{name}.zip"


def publish(detector: ScanDetector, model: str, path: Path) -> None:
    """Put a scan in the place of the one in `path`, whole or not at all.

    Raises:
        OSError: the file cannot be written.
    """
    make_folder(path.parent)
    with tempfile.TemporaryDirectory() as folder:
        detector.save(Path(folder))

        def write(stream: object) -> None:
            # The arrays are compressed already.
            with zipfile.ZipFile(stream, "w") as archive:  # type: ignore[call-overload]
                archive.writestr(_NAME, model)
                for file in sorted(Path(folder).iterdir()):
                    archive.write(file, file.name)

        write_whole(path, write, is_shared=True)


def published_model(path: Path) -> str | None:
    """Name and version of the scan in `path`; None without one that can be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(_NAME).decode()
    except (OSError, KeyError, UnicodeDecodeError, zipfile.BadZipFile):
        return None


def read_champion(path: Path) -> Champion:
    """The scan in `path`.

    Raises:
        DetectorError: the file is none of a scan, or it was altered.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            with zipfile.ZipFile(path) as archive:
                archive.extractall(folder)
            model = (Path(folder) / _NAME).read_text(encoding="utf-8")
        except (OSError, ValueError, NotImplementedError, RuntimeError, zipfile.BadZipFile) as error:
            raise DetectorError(f"{path} is no file of a scan: {error}. `tapewatch run` writes it anew") from error
        return Champion(model, ScanDetector.load(Path(folder)))


class Champions:
    """The scan in a file, read again when the file changes. `current` is None without one that can be used.

    A file that cannot be used is logged, and the scan before it stays.

    Args:
        path: written by `publish`; it may be missing.
    """

    def __init__(self, path: Path, *, every_s: float = _LOOK_S) -> None:
        self.current: Champion | None = None
        self._path, self._every_s = path, every_s
        self._seen: tuple[int, int, int] | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._look_until_closed, name="champion", daemon=True)

    def look(self) -> None:
        """Read the file if it changed since the last look."""
        try:
            found = self._path.stat()
        except OSError:
            return
        seen = (found.st_mtime_ns, found.st_size, found.st_ino)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self.current = read_champion(self._path)
        except Exception as error:  # noqa: BLE001 - whatever is in the file, the collector goes on
            _log.warning("the scan is not used: %s", error)
        else:
            _log.info("the scan is %s", self.current.model)

    def start(self) -> None:
        """Look again every minute, in a thread."""
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def _look_until_closed(self) -> None:
        while not self._closing.wait(self._every_s):
            self.look()
