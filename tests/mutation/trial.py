"""Holds a change against its room's tests, in a copy of the checkout."""

import ast
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
_COMPILED = "njit"


def room_folder(room: str) -> str:
    """The library folder of a room, from the top of the checkout."""
    return room if room in _TOP_LEVEL else f"tapewatch/{room}"


def room_files(room: str) -> list[str]:
    """The library files of a room, from the top of the checkout."""
    folder = CHECKOUT / room_folder(room)
    return sorted(str(path.relative_to(CHECKOUT)) for path in folder.rglob("*.py"))


class Copy:
    """A copy of the checkout in a temporary folder: the checkout itself is never changed.

    Compiled code does not always notice an edit in another file. A file that compiled code may depend on is therefore
    tried with an empty cache of compiled code; the others share one.
    """

    def __init__(self) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="tapewatch-mutation-"))
        self._tree = self._home / "checkout"
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=CHECKOUT, check=True, capture_output=True, text=True,
        )  # fmt: skip
        for name in filter(None, listed.stdout.split("\0")):
            if (CHECKOUT / name).is_file():
                (self._tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(CHECKOUT / name, self._tree / name)
        self._behind_kernels = _imported_by_kernels(self._tree)

    def close(self) -> None:
        """Remove the copy."""
        shutil.rmtree(self._home, ignore_errors=True)

    def seconds_unchanged(self, room: str) -> float:
        """How long the room's tests take without a change.

        Raises:
            RuntimeError: they fail.
        """
        started = time.monotonic()
        if failures := self._run(room, self._home / "numba", timeout_s=1800):
            raise RuntimeError(f"the fast tests of {room} fail without any change:\n{failures}")
        return time.monotonic() - started

    def is_noticed(self, room: str, change: Change, timeout_s: float) -> bool:
        """Whether the room's tests fail with the change, or do not end within `timeout_s`."""
        path = self._tree / change.file
        source, stamp = path.read_bytes(), path.stat()
        cache = Path(tempfile.mkdtemp(dir=self._home))
        try:
            path.write_bytes(change.apply(source))
            is_compiled = change.file in self._behind_kernels
            return bool(self._run(room, cache if is_compiled else self._home / "numba", timeout_s))
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


def _imported_by_kernels(tree: Path) -> set[str]:
    """Files with compiled functions, and all that these import, directly or not."""
    sources = {path: path.read_text(encoding="utf-8") for path in (tree / "tapewatch").rglob("*.py")}
    sources |= {path: path.read_text(encoding="utf-8") for path in (tree / "models").rglob("*.py")}
    waiting = [path for path, source in sources.items() if _COMPILED in source]
    found: set[Path] = set()
    while waiting:
        path = waiting.pop()
        if path in found or path not in sources:
            continue
        found.add(path)
        for node in ast.walk(ast.parse(sources[path])):
            if isinstance(node, ast.ImportFrom) and node.module:
                module = tree.joinpath(*node.module.split("."))
                waiting += [module.with_suffix(".py"), *(module / f"{alias.name}.py" for alias in node.names)]
    return {str(path.relative_to(tree)) for path in found}
