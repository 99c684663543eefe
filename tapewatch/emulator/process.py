"""Runs an emulator in a process of its own for the duration of a block."""

import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tapewatch.emulator import DEFAULT_SEED, DEFAULT_SPEED, LOOPBACK

_START_TIMEOUT_S = 120.0
_STOP_TIMEOUT_S = 5.0
_POLL_S = 0.05


class EmulatorError(RuntimeError):
    """The emulator did not start; the message holds its output."""


@dataclass(frozen=True, slots=True)
class RunningEmulator:
    base_url: str
    pid: int
    log: Path

    @property
    def ws_url(self) -> str:
        """The streams' address without the market."""
        return self.base_url.replace("http://", "ws://", 1)


@contextmanager
def running_emulator(
    *,
    seed: int = DEFAULT_SEED,
    flat_files: str | Path | None = None,
    key: str | None = None,
    port: int = 0,
    log: Path | None = None,
    speed: str = DEFAULT_SPEED,
    replay: str | None = None,
    faults: str | Path | None = None,
    actions: str | Path | None = None,
) -> Iterator[RunningEmulator]:
    """An emulator that is ready within the block. It ends with the block, or when this process is killed.

    Args:
        seed, flat_files, key, port, speed, replay, faults, actions: the options of `python -m tapewatch.emulator`.
        log: file for its output; by default a temporary file, removed at the end.

    Raises:
        EmulatorError: it ended, or was not ready within two minutes.
    """
    with tempfile.TemporaryDirectory(prefix="tapewatch-emulator-") as folder:
        path = log or Path(folder) / "emulator.log"
        options = {"flat-files": flat_files, "key": key, "replay": replay, "faults": faults, "actions": actions}
        command = [sys.executable, "-m", "tapewatch.emulator", "--port", str(port), "--seed", str(seed)]
        command += ["--speed", speed, *(f"--{name}={value}" for name, value in options.items() if value is not None)]
        # Its input stays empty and ends with this process, however that ends.
        command += ["--until-input-ends"]
        with path.open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.PIPE)  # noqa: S603 - our own program
        try:
            yield RunningEmulator(_when_ready(process, path), process.pid, path)
        finally:
            _stop(process)


def _when_ready(process: "subprocess.Popen[bytes]", log: Path) -> str:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise EmulatorError(f"the emulator ended with status {process.returncode}:\n{log.read_text()}")
        address = re.search(rf"^emulator at (http://{LOOPBACK}:\d+) ", log.read_text(), re.MULTILINE)
        if address and _answers(address[1]):
            return address[1]
        time.sleep(_POLL_S)
    raise EmulatorError(f"the emulator did not answer within {_START_TIMEOUT_S:.0f} s:\n{log.read_text()}")


def _answers(address: str) -> bool:
    directly = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with directly.open(f"{address}/emulator/v1/info", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    with process:  # closes its input and waits
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
