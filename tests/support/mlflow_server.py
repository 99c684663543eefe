"""MLflow's server, as `tapewatch up` runs it, in a process that tests may kill and start again."""

import os
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from tests.support import ask
from tests.support.ports import free_port

_PATIENCE_S = 180


class MlflowServer:
    """A server over a folder, at an address that it keeps when it starts again."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._port = folder, free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Start it unless it runs, and wait until it answers."""
        if self._process is not None:
            return
        environment = {
            **os.environ,
            "TAPEWATCH_HOME": str(self.folder),
            "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{self.folder}/mlflow.db",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
        place = [
            "--host",
            "127.0.0.1",
            "--port",
            str(self._port),
            "--artifacts-destination",
            str(self.folder / "artifacts"),
        ]
        with (self.folder / "mlflow.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "orchestration.processes.mlflow_server", *place],
                env=environment, stdout=log, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + _PATIENCE_S
        while not self._answers():
            assert self._process.poll() is None, (self.folder / "mlflow.log").read_text()
            assert time.monotonic() < deadline, "MLflow's server did not answer"
            time.sleep(0.1)

    def kill(self) -> None:
        """End it at once, as a lost machine would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            return ask.get(f"{self.address}/health", timeout=30).is_success
        except httpx.TransportError:
            return False
