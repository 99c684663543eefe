"""An environment of its own, with Python 3.12, for libraries that cannot be installed beside this platform's."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

_CHECKOUT = Path(__file__).resolve().parents[1]
_FOLDER = _CHECKOUT / "build" / "oracles"
_VERSION = "import sys; sys.exit(sys.version_info[:2] != (3, 12))"
#: Peers of the trading engine and of the statistics.
PEERS = ("nautilus_trader>=1.231,<2", "ml4t-backtest>=0.2,<0.3", "ml4t-diagnostic==0.2.0")
#: Peers of the labels: one needs an older NumPy, the others a newer pandas.
MLFINPY = ("mlfinpy==0.1.2", "scikit-learn<1.6", "matplotlib", "statsmodels")
PURGING = ("skfolio>=1.12,<2", "ml4t-engineer==0.2.1")


class IsolationError(RuntimeError):
    """There is no such environment; the message says what is missing."""


def python_312() -> str:
    """A Python 3.12: of PYTHON312, of the path, of pyenv, or one that uv finds or may download.

    Raises:
        IsolationError: there is none.
    """
    for candidate in _candidates():
        if candidate and subprocess.run([candidate, "-c", _VERSION], capture_output=True, check=False).returncode == 0:
            return candidate
    raise IsolationError("Python 3.12 is needed and none was found: install one, or set PYTHON312=/path/to/python3.12")


def _candidates() -> Iterator[str | None]:
    yield os.environ.get("PYTHON312")
    yield shutil.which("python3.12")
    yield from map(str, sorted((Path.home() / ".pyenv" / "versions").glob("3.12*/bin/python")))
    found = subprocess.run([_uv(), "python", "find", "3.12"], capture_output=True, text=True, check=False)
    yield found.stdout.strip() or None


def _uv() -> str:
    """The uv of the path, of the environment, or of `make install`."""
    local = (_CHECKOUT / ".bootstrap" / "bin" / "uv", _CHECKOUT / ".venv" / "bin" / "uv")
    found = shutil.which("uv") or next((str(path) for path in local if path.is_file()), None)
    if found is None:
        raise IsolationError("uv is needed: `make install` provides it")
    return found


def environment(name: str = "peers", requirements: Sequence[str] = PEERS) -> str:
    """The Python of an environment under `build/oracles` with these packages; made once, and again when they change.

    Raises:
        IsolationError: there is no Python 3.12, or the packages cannot be installed.
    """
    folder = _FOLDER / name
    python, stamp = folder / "bin" / "python", folder / "requirements"
    wanted = "\n".join(requirements)
    if stamp.is_file() and stamp.read_text() == wanted and python.is_file():
        return str(python)
    for command in (
        [_uv(), "venv", "--quiet", "--clear", "--python", python_312(), str(folder)],
        [_uv(), "pip", "install", "--quiet", "--python", str(python), *requirements],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise IsolationError(f"{' '.join(command[1:3])} failed: {done.stderr.strip()}")
    stamp.write_text(wanted)
    return str(python)
