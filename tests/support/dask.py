"""A Dask scheduler and its workers, each a process of its own."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.hosts import Host

_DASK = str(Path(sys.executable).parent / "dask")
_CHECKOUT = Path(__file__).resolve().parents[2]
_WAIT_S = 180


@dataclass
class DaskCluster:
    """A running scheduler; `workers` may be started and killed."""

    folder: Path
    environment: Mapping[str, str]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def _file(self) -> Path:
        return self.folder / "scheduler.json"

    @property
    def address(self) -> str:
        return str(json.loads(self._file.read_text())["address"])

    def start(self, role: str, *arguments: str, on: Host | None = None, **changes: str) -> subprocess.Popen[bytes]:
        """Start `dask ROLE`, which writes or reads the scheduler's file, here or on another host."""
        command = (_DASK, role, "--scheduler-file", str(self._file), "--no-dashboard", *arguments)
        log = (self.folder / f"{role}-{len(self.processes)}.log").open("wb")
        process = subprocess.Popen(
            on.command(*command) if on else command,
            cwd=_CHECKOUT, env={**self.environment, **changes}, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
        log.close()
        self.processes.append(process)
        return process

    def worker(self, on: Host, *, threads: int = 1, **changes: str) -> subprocess.Popen[bytes]:
        """Start a worker without a nanny, which would start a killed one again."""
        options = ("--nthreads", str(threads), "--no-nanny", "--death-timeout", "30", "--host", on.address)
        return self.start("worker", *options, on=on, **changes)


@contextmanager
def dask_cluster(folder: Path, environment: Mapping[str, str], address: str) -> Iterator[DaskCluster]:
    """A scheduler at `address`, on a port of its choice, without workers; everything that was started ends with the block."""
    folder.mkdir(parents=True, exist_ok=True)
    running = DaskCluster(folder, environment)
    try:
        running.start("scheduler", "--host", address, "--port", "0")
        deadline = time.monotonic() + _WAIT_S
        while not (folder / "scheduler.json").exists():
            if time.monotonic() > deadline or running.processes[0].poll() is not None:
                raise RuntimeError((folder / "scheduler-0.log").read_text())
            time.sleep(0.05)
        yield running
    finally:
        for process in reversed(running.processes):
            process.kill()
            process.wait()
