"""The process of dossiers, as pages use it."""

import pickle
import select
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Final

from tapewatch.reports.dossier.dossier import Dossier

_COMMAND: Final = (sys.executable, "-m", "dashboard.dossiers")
_PATIENCE_S, _STOP_S = 120.0, 5.0


class DossierError(RuntimeError):
    """A dossier cannot be built; the message says why."""


class DossierProcess:
    """Starts with the first use, and again after it ended. Safe to share between threads: dossiers are built in turn.

    `multiprocessing` would run the script of the page in the new process: Streamlit puts it in the place of `__main__`.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def warm(self) -> None:
        """Start it, if it does not run, without waiting until it is ready."""
        if self._lock.acquire(blocking=False):
            try:
                self._running()
            finally:
                self._lock.release()

    def of(self, alert_id: str) -> Dossier:
        """The dossier of an event.

        Raises:
            DossierError: it cannot be built.
        """
        with self._lock:
            process = self._running()
            try:
                answer = _asked(process, alert_id)
            except (OSError, EOFError, pickle.UnpicklingError) as error:
                self._end()
                raise DossierError(f"the process that builds dossiers ended ({error}): load the page again") from error
        if isinstance(answer, Dossier):
            return answer
        raise DossierError(str(answer))

    def close(self) -> None:
        """End it."""
        with self._lock:
            self._end()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(_COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603 - our module
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None or process.stdin is None or process.stdout is None:
            return
        with suppress(OSError):
            process.stdin.close()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def _asked(process: subprocess.Popen[bytes], alert_id: str) -> object:
    if process.stdin is None or process.stdout is None:
        raise EOFError("it has no pipes")
    process.stdin.write(f"{alert_id}\n".encode())
    process.stdin.flush()
    if not select.select([process.stdout], [], [], _PATIENCE_S)[0]:
        raise EOFError(f"no answer within {_PATIENCE_S:.0f} s")
    return pickle.load(process.stdout)  # noqa: S301 - from our own process
