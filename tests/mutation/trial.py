"""Holds a change against its room's tests, in a copy of the checkout."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.mutation.changes import Change

CHECKOUT = Path(__file__).resolve().parents[2]
_TOP_LEVEL = ("models", "assets", "resources", "orchestration", "serving")


def room_folder(room: str) -> str:
    """The library folder of a room, from the top of the checkout."""
    return room if room in _TOP_LEVEL else f"tapewatch/{room}"


def room_files(room: str) -> list[str]:
    """The library files of a room, from the top of the checkout."""
    folder = CHECKOUT / room_folder(room)
    return sorted(str(path.relative_to(CHECKOUT)) for path in folder.rglob("*.py"))


class Copy:
    """A copy of the checkout in a temporary folder, with a cache of compiled code: the checkout itself is never changed."""

    def __init__(self) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="tapewatch-mutation-"))
        self._tree = self._home / "checkout"
        self._kernels = self._home / "kernels"
        kept = CHECKOUT / "tapewatch" / "__pycache__" / "kernels"
        if kept.is_dir():
            shutil.copytree(kept, self._kernels)
        else:
            self._kernels.mkdir()
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=CHECKOUT, check=True, capture_output=True, text=True,
        )  # fmt: skip
        for name in filter(None, listed.stdout.split("\0")):
            if (CHECKOUT / name).is_file():
                (self._tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(CHECKOUT / name, self._tree / name)

    def close(self) -> None:
        """Remove the copy."""
        shutil.rmtree(self._home, ignore_errors=True)

    def seconds_unchanged(self, room: str) -> float:
        """How long the room's tests take without a change.

        Raises:
            RuntimeError: they fail.
        """
        started = time.monotonic()
        if failures := self._run(room, self._kernels, timeout_s=1800):
            raise RuntimeError(f"the fast tests of {room} fail without any change:\n{failures}")
        return time.monotonic() - started

    def is_noticed(self, room: str, change: Change, timeout_s: float) -> bool:
        """Whether the room's tests fail with the change, or do not end within `timeout_s`."""
        path = self._tree / change.file
        source, stamp = path.read_bytes(), path.stat()
        # Code compiled for the change would take the place of the unchanged code.
        cache = self._home / "changed"
        shutil.copytree(self._kernels, cache, copy_function=os.link)
        try:
            path.write_bytes(change.apply(source))
            return bool(self._run(room, cache, timeout_s))
        finally:
            path.write_bytes(source)
            os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
            shutil.rmtree(cache, ignore_errors=True)

    def _run(self, room: str, cache: Path, timeout_s: float) -> str:
        """The last lines of the tests where they failed; empty where they passed."""
        recorded = os.environ.get("TAPEWATCH_MARKET_DATA") or CHECKOUT.parent / "shared" / "market-data"
        environment = {
            **os.environ,
            "NUMBA_CACHE_DIR": str(cache),
            "PYTHONPATH": str(self._tree),
            "PYTHONDONTWRITEBYTECODE": "1",
            "TAPEWATCH_MARKET_DATA": str(recorded),
        }
        command = [
            sys.executable,
            "-m",
            "pytest",
            f"tests/{room}",
            "-m",
            "not slow",
            "-x",
            "-q",
            "-p",
            "no:cacheprovider",
        ]
        with subprocess.Popen(
            command, cwd=self._tree, env=environment, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        ) as tests:  # fmt: skip
            try:
                output, _ = tests.communicate(timeout=timeout_s)
            except subprocess.TimeoutExpired:
                os.killpg(tests.pid, signal.SIGKILL)
                return f"no end within {timeout_s:.0f} s"
        return "" if tests.returncode == 0 else output[-3000:]
