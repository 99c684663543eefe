"""Runs a set of services under supervisord, waits until each works, and stops all of them at the end."""

import configparser
import hashlib
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import uuid
import xmlrpc.client
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

import filelock
import httpx
import psutil

from orchestration.processes.collectors import EXIT_FINAL, WATCH_VARIABLE
from orchestration.processes.services import Service, ServiceError, answers
from resources.interrupts import handling
from tapewatch.store.durable import process_lock
from tapewatch.streaming.stop import Stop

#: From SIGTERM to SIGKILL for one service; supervisord stops them one after another.
STOP_SECONDS = 15
_ANSWER_S = 10
#: The supervisor of `tapewatch up`; each `tapewatch stream` has one of its own.
NAME = "supervisor"
#: How long a service may take to start before its name and log are shown.
PATIENCE_S = 30
_TAIL_LINES = 15
_SUPERVISORD = ("-X", "utf8", "-m", "orchestration.processes.supervisord", "--nodaemon", "--configuration")
#: The kernel accepts no socket path beyond 107 bytes.
_LONGEST_SOCKET_PATH = 100


class Process(NamedTuple):
    """A service's state (STARTING, RUNNING, BACKOFF, FATAL, …) and its pid, 0 if it does not run.

    EXITED is the state of a process that ended for good. supervisord also calls one EXITED that it is about to start again;
    here that is BACKOFF.
    """

    state: str
    pid: int


class Supervisor:
    """supervisord as a child of this process. A context manager, which stops every service at its end.

    Two that run in one home at the same time need different names.
    """

    def __init__(
        self, services: Sequence[Service], home: Path, environment: Mapping[str, str], *, name: str = NAME
    ) -> None:
        self.services = list(services)
        self.logs = home.absolute() / "logs"
        self._name = name
        self._run = home.absolute() / "run"
        self._environment = {**environment, WATCH_VARIABLE: uuid.uuid4().hex}
        self._socket = socket_path(home, name)
        self._console = self.logs / f"{name}.out"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        for folder in (self.logs, self._run):
            folder.mkdir(parents=True, exist_ok=True)
        path = self._run / f"{self._name}.conf"
        config = configparser.RawConfigParser()
        config.read_dict(self._config())
        with path.open("w", encoding="utf-8") as file, self._console.open("wb") as console:
            config.write(file)
            file.flush()
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, *_SUPERVISORD, str(path)],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                # In a session of its own, Ctrl-C in the terminal reaches this process alone, which then stops the rest in order.
                start_new_session=True,
                # What the services write may hold secrets, and belongs to this user.
                umask=0o077,
            )
        return self

    def __exit__(self, *_: object) -> None:
        """Stop every service, then supervisord; returns when all are gone."""
        process, self._process = self._process, None
        if process is None:
            return
        family: set[psutil.Process] = set()
        with suppress(psutil.NoSuchProcess):
            family.update(psutil.Process(process.pid).children(recursive=True))
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS * (len(self.services) + 1))
        _end_session(process.pid, family)
        process.wait()

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def expect_running(self) -> None:
        """Raise a ServiceError with supervisord's last lines if it has ended: only this process stops it, or a kill."""
        if not self.is_running:
            raise ServiceError(f"the supervisor does not run: {_tail(self._console)}")

    def log(self, service: Service) -> Path:
        return self.logs / f"{service.name}.log"

    def processes(self) -> dict[str, Process]:
        """Every service by name; empty while supervisord does not answer."""
        return processes(self._socket)

    def state(self, service: Service) -> str:
        """supervisord's state of a service; UNKNOWN while it does not answer."""
        known = self.processes().get(service.name)
        return known.state if known else "UNKNOWN"

    def is_healthy(self, service: Service) -> bool:
        """Whether the service works: it runs, and its health page answers or its probe succeeds."""
        return self.state(service) == "RUNNING" and answers(service, self._environment)

    def wait_until_healthy(
        self,
        service: Service,
        *,
        timeout_s: float,
        stopping: Stop,
        excused: Callable[[], bool] = lambda: False,
        patience_s: float = PATIENCE_S,
        complain: Callable[[str], None] = lambda _: None,
    ) -> bool:
        """Wait until a service works. False if `excused` allows it to wait, or once `stopping` is set.

        After `patience_s`, a service that has died meanwhile has failed; with one that is only slow, `complain` is called.

        Raises:
            ServiceError: it was given up, or does not work in time; the message ends with the last lines of its log.
        """
        began, pids, has_complained = time.monotonic(), set[int](), False
        while not stopping.is_set():
            asked = time.monotonic()
            if self.is_healthy(service):
                return True
            if excused():
                return False
            self.expect_running()
            state, pid = self.processes().get(service.name, Process("UNKNOWN", 0))
            pids |= {pid} - {0}
            waited = time.monotonic() - began
            if state in {"FATAL", "EXITED"} or (waited > patience_s and len(pids) > 1):
                raise ServiceError(f"{service.title} does not start: {_tail(self.log(service))}")
            late = f"{service.title} is {state.lower()} but does not answer after {waited:.0f} s"
            if waited > timeout_s:
                raise ServiceError(f"{late}: {_tail(self.log(service))}")
            if waited > patience_s and not has_complained:
                has_complained = True
                complain(f"{late}; still waiting, {_tail(self.log(service))}")
            # A probe that takes long would keep a starting service from the processor.
            stopping.wait(max(0.5, time.monotonic() - asked))
        return False

    def _config(self) -> dict[str, dict[str, object]]:
        sections: dict[str, dict[str, object]] = {
            "unix_http_server": {"file": self._socket, "chmod": "0700"},
            "rpcinterface:supervisor": {
                "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
            },
            "supervisord": {
                "logfile": self.logs / f"{self._name}.log",
                "pidfile": self._run / f"{self._name}.pid",
                "childlogdir": self.logs,
                # Root has to confirm that it stays root. By number: USER may name another user.
                **({"user": 0} if os.getuid() == 0 else {}),
            },
        }
        for place, service in enumerate(self.services, 1):
            sections[f"program:{service.name}"] = {
                "process_name": service.name,
                # The first to start is the last to stop: others depend on it.
                "priority": place,
                "command": shlex.join(service.command),
                "autorestart": "unexpected" if service.final_exit_codes else "true",
                "exitcodes": ",".join(map(str, service.final_exit_codes)) or 0,
                "startsecs": service.start_seconds,
                "startretries": service.start_retries,
                "stopwaitsecs": STOP_SECONDS,
                # A web server's workers and code servers stop with it.
                "stopasgroup": "true",
                "killasgroup": "true",
                "redirect_stderr": "true",
                "stdout_logfile": self.log(service),
                "stdout_logfile_maxbytes": "10MB",
                "stdout_logfile_backups": 3,
            }
        return sections


@contextmanager
def claimed(home: Path, name: str, command: str) -> Iterator[None]:
    """Keep other processes from running a supervisor of that name in a home; `command` is what starts one.

    Raises:
        ServiceError: another process runs it.
    """
    run = home.absolute() / "run"
    lock = process_lock(run / f"{name}.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        owner = ""
        with suppress(OSError, ValueError, psutil.Error):
            owner = f" (process {psutil.Process(int((run / f'{name}.pid').read_text())).ppid()})"
        raise ServiceError(
            f"`{command}` runs on {home.absolute()} already{owner}: stop it first, or set TAPEWATCH_HOME to another folder"
        ) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def stop_signals() -> Iterator[Stop]:
    """A `Stop` that SIGINT and SIGTERM set, for as long as the context lasts.

    A background job of a non-interactive shell inherits SIGINT ignored, and Python then installs no handler of its own.
    """
    stop = Stop()
    with handling(lambda *_: stop.set(), signal.SIGINT, signal.SIGTERM):
        yield stop


def processes(listening: Path) -> dict[str, Process]:
    """State and pid of each service of the supervisord that listens on a socket, by name; empty if none answers."""
    question = xmlrpc.client.dumps((), "supervisor.getAllProcessInfo").encode()
    try:
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(listening), verify=False), timeout=_ANSWER_S) as client:
            answer = client.post("http://supervisor/RPC2", content=question, headers={"Content-Type": "text/xml"})
        found: Any = xmlrpc.client.loads(answer.raise_for_status().content)[0][0]
    except (httpx.HTTPError, xmlrpc.client.Error):
        return {}
    return {process["name"]: Process(_state(process), process["pid"]) for process in found}


def _state(process: Mapping[str, Any]) -> str:
    """The state in an answer of supervisord; BACKOFF for a process that has just ended and starts again."""
    state: str = process["statename"]
    return "BACKOFF" if state == "EXITED" and process["exitstatus"] != EXIT_FINAL else state


def socket_path(home: Path, name: str) -> Path:
    """The socket on which the supervisor of that name listens."""
    path = home.absolute() / "run" / f"{name}.sock"
    if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH:
        return path
    return Path(tempfile.gettempdir()) / f"tapewatch-{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}.sock"


def _end_session(leader: int, family: set[psutil.Process]) -> None:
    """End what is left of a session: by SIGTERM, and after STOP_SECONDS by SIGKILL.

    supervisord waits for its services alone. Their workers may have left the process group, or started last; and a killed
    supervisord leaves all of them.
    """
    for number in (signal.SIGTERM, signal.SIGKILL):
        asked: set[psutil.Process] = set()
        late = time.monotonic() + STOP_SECONDS
        while (left := _living(leader, family)) and time.monotonic() < late:
            for process in left - asked:
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(number)
            asked |= left
            time.sleep(0.1)


def _living(leader: int, family: set[psutil.Process]) -> set[psutil.Process]:
    """The processes of a session, and of a family that may have left it, that have not ended."""
    found = set()
    for process in psutil.process_iter():
        with suppress(OSError, psutil.NoSuchProcess):  # it has ended meanwhile
            is_ours = process in family or os.getsid(process.pid) == leader
            if is_ours and process.status() != psutil.STATUS_ZOMBIE:
                found.add(process)
    return found


def _tail(path: Path) -> str:
    """The path of a log, and its last lines."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:] if path.exists() else []
    return "\n".join([f"see {path}", *lines])
