"""Keeps a set of services running under supervisord, waits until each works, and stops all of them with this process."""

import configparser
import ctypes
import hashlib
import http.client
import io
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import xmlrpc.client
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NamedTuple, Self, cast

import httpx
import psutil
from supervisor.xmlrpc import SupervisorTransport

from orchestration.processes.services import Service, ServiceError
from tapewatch.streaming.stop import Stop

#: From SIGTERM to SIGKILL for one service; supervisord stops them one after another.
STOP_SECONDS = 15
#: How long a question may take: who waits for an answer does not hear that it is to stop.
_ANSWER_S, _PROBE_S = 10, 60
_LOOK_S = 0.1
#: The supervisor of `tapewatch up`; each of `tapewatch stream` has one of its own.
NAME = "supervisor"
_TAIL_LINES = 15
_SHORT_SOCKET_PATH = 100
_PARENT_DEATH_SIGNAL = 1
#: Found before any fork: to look for it takes a lock, which a thread may hold that the child does not have.
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None
_UNREACHABLE = (httpx.TransportError, httpx.InvalidURL)
_GONE = (OSError, http.client.HTTPException, xmlrpc.client.Error)


class Supervisor:
    """supervisord as a child of this process; use as a context manager, which always stops every service.

    Two that run in one home at the same time have different names.
    """

    def __init__(
        self, services: Sequence[Service], home: Path, environment: Mapping[str, str], *, name: str = NAME
    ) -> None:
        self.services = list(services)
        self._name = name
        self.logs = home.absolute() / "logs"
        self._run = home.absolute() / "run"
        self._environment = dict(environment)
        self._socket = socket_path(home, name)
        self._console = self.logs / f"{name}.out"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.logs.mkdir(parents=True, exist_ok=True)
        self._run.mkdir(parents=True, exist_ok=True)
        config = self._run / f"{self._name}.conf"
        config.write_text(self._config(), encoding="utf-8")
        with self._console.open("wb") as console:
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", "supervisor.supervisord", "--nodaemon", "--configuration", str(config)],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                # Its own session: Ctrl-C in the terminal reaches this process alone, which then stops the rest in order.
                start_new_session=True,
                preexec_fn=_prepare_child,  # noqa: PLW1509 - takes no lock that a thread of this process may hold
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def is_running(self) -> bool:
        """Whether supervisord lives."""
        return self._process is not None and self._process.poll() is None

    def expect_running(self) -> None:
        """Nobody but this process ends supervisord, except by killing it.

        Raises:
            ServiceError: it does not live; the message ends with its last lines.
        """
        if not self.is_running:
            raise ServiceError(f"the supervisor does not run: {_tail(self._console)}")

    def log(self, service: Service) -> Path:
        """Where a service's output goes."""
        return self.logs / f"{service.name}.log"

    def state(self, service: Service) -> str:
        """supervisord's word for a service: STARTING, RUNNING, BACKOFF, FATAL, …; UNKNOWN before it answers."""
        return states(self._socket).get(service.name, "UNKNOWN")

    def all_states(self) -> dict[str, str]:
        """The same of every service, by name, in one question; empty before it answers."""
        return states(self._socket)

    def all_pids(self) -> dict[str, int]:
        """The process of every service that has one at this moment, by name."""
        return {name: known.pid for name, known in processes(self._socket).items() if known.pid}

    def is_healthy(self, service: Service) -> bool:
        """Whether the service does its work: its health page answers, or its probe succeeds."""
        if self.state(service) != "RUNNING":
            return False
        if service.health:
            try:
                return httpx.get(service.health, timeout=5).is_success
            except _UNREACHABLE:
                return False
        if service.probe:
            try:
                probed = subprocess.run(  # noqa: S603
                    service.probe,
                    env=self._environment,
                    capture_output=True,
                    check=False,
                    start_new_session=True,
                    timeout=_PROBE_S,
                )
            except subprocess.TimeoutExpired:
                return False
            return probed.returncode == 0
        return True

    def wait_until_healthy(
        self,
        service: Service,
        *,
        timeout_s: float,
        stopping: Stop,
        excused: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Wait for a service; False where `excused` says that it has nothing to do yet, or `stopping` was set.

        Raises:
            ServiceError: it gave up, or did not work in time; the message ends with the last lines of its log.
        """
        deadline = time.monotonic() + timeout_s
        while not stopping.is_set():
            if self.is_healthy(service):
                return True
            if excused():
                return False
            self.expect_running()
            state = self.state(service)
            if state == "FATAL" or (state == "EXITED" and service.final_exit_codes):
                raise ServiceError(f"{service.title} does not start: {_tail(self.log(service))}")
            if time.monotonic() > deadline:
                raise ServiceError(
                    f"{service.title} is {state.lower()} but does not work after {timeout_s:.0f} s: "
                    f"{_tail(self.log(service))}"
                )
            stopping.wait(0.5)
        return False

    def stop(self) -> None:
        """Stop every service, then supervisord; returns when all are gone."""
        process, self._process = self._process, None
        if process is None:
            return
        family = _descendants(process.pid) if process.poll() is None else []
        process.terminate()
        try:
            process.wait(STOP_SECONDS * (len(self.services) + 1))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _end_the_rest(process.pid, family)

    def _config(self) -> str:
        config = configparser.RawConfigParser()
        config["unix_http_server"] = {"file": _literal(str(self._socket)), "chmod": "0700"}
        config["rpcinterface:supervisor"] = {
            "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
        }
        config["supervisord"] = {
            "logfile": _literal(str(self.logs / f"{self._name}.log")),
            "pidfile": _literal(str(self._run / f"{self._name}.pid")),
            "childlogdir": _literal(str(self.logs)),
            # It wants to be told where it is to keep root's rights. By number: USER may name somebody else.
            **({"user": "0"} if os.getuid() == 0 else {}),
            # Its own would be 022, and open to everybody what a stricter user keeps to himself.
            "umask": f"{_umask():03o}",
        }
        for place, service in enumerate(self.services, 1):
            config[f"program:{service.name}"] = {
                # The first to start is the last to stop: what others live on is there to the end.
                "priority": str(place),
                "command": _literal(shlex.join(service.command)),
                "autorestart": "unexpected" if service.final_exit_codes else "true",
                "exitcodes": ",".join(map(str, service.final_exit_codes)) or "0",
                "startsecs": str(service.start_seconds),
                "startretries": str(service.start_retries),
                "stopwaitsecs": str(STOP_SECONDS),
                # A web server has workers and code servers of its own: they go with it.
                "stopasgroup": "true",
                "killasgroup": "true",
                "redirect_stderr": "true",
                # supervisord expands this one twice.
                "stdout_logfile": _literal(_literal(str(self.log(service)))),
                "stdout_logfile_maxbytes": "10MB",
                "stdout_logfile_backups": "3",
            }
        text = io.StringIO()
        config.write(text)
        return text.getvalue()


class StopSignals:
    """Turns SIGINT and SIGTERM into a `Stop`, for as long as the context lasts.

    A background job of a non-interactive shell inherits SIGINT ignored, and Python then installs no handler of its own.
    """

    def __init__(self) -> None:
        self.received = Stop()

    def __enter__(self) -> Stop:
        self._before = {number: signal.signal(number, self._receive) for number in (signal.SIGINT, signal.SIGTERM)}
        return self.received

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.received.set()


def _prepare_child() -> None:
    """In the child before exec: signals as a terminal would give them, and on Linux an end when this process ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    if _prctl is not None:
        _prctl(_PARENT_DEATH_SIGNAL, signal.SIGTERM)


def _umask() -> int:
    """The files that this process makes lack these rights; the kernel tells only in exchange for a new mask."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return list(psutil.Process(pid).children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def _end_the_rest(leader: int, family: Iterable[psutil.Process]) -> None:
    """End what outlives the supervisor of a session.

    That waits for its services alone: a worker may have left its service's process group, or have been started when the
    service was told to stop. And killed, it told nobody.
    """
    asked: set[psutil.Process] = set()
    late = time.monotonic() + STOP_SECONDS
    while left := {process for process in (*family, *_session(leader)) if _lives(process)}:
        now = time.monotonic()
        if now > late + STOP_SECONDS:
            return
        for process in left if now > late else left - asked:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL if now > late else signal.SIGTERM)
        asked |= left
        time.sleep(_LOOK_S)


def _session(leader: int) -> list[psutil.Process]:
    """Every process of a session: one whose parent is gone is nobody's descendant any more."""
    found = []
    for process in psutil.process_iter():
        with suppress(OSError):  # it has ended meanwhile
            if os.getsid(process.pid) == leader:
                found.append(process)
    return found


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _tail(path: Path) -> str:
    """Where a log is, and its last lines."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:] if path.exists() else []
    return "\n".join([f"see {path}", *lines])


class Process(NamedTuple):
    """What supervisord knows of a service: its word for how it is, and its pid, 0 where it does not run."""

    state: str
    pid: int


class _Connection(http.client.HTTPConnection):
    """To a socket in the file system."""

    def __init__(self, listening: Path) -> None:
        super().__init__("localhost", timeout=_ANSWER_S)
        self._listening = listening

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._listening))


def states(listening: Path) -> dict[str, str]:
    """supervisord's word for each of its services, by name; empty where none answers at that socket."""
    return {name: process.state for name, process in processes(listening).items()}


def processes(listening: Path) -> dict[str, Process]:
    """State and pid of each service of the supervisord at that socket, by name; empty where none answers."""
    transport = SupervisorTransport(None, None, f"unix://{listening}")
    # Its own would wait for an answer for ever.
    transport._get_connection = lambda: _Connection(listening)
    try:
        with xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport) as proxy:
            found = cast("list[dict[str, Any]]", proxy.supervisor.getAllProcessInfo())
    except _GONE:
        return {}
    return {process["name"]: Process(process["statename"], process["pid"]) for process in found}


def socket_path(home: Path, name: str) -> Path:
    """Where the supervisor of that name listens."""
    path = home.absolute() / "run" / f"{name}.sock"
    if len(os.fsencode(path)) <= _SHORT_SOCKET_PATH:
        return path
    # The kernel takes no socket path beyond 107 bytes.
    name = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"tapewatch-{name}.sock"


def _literal(text: str) -> str:
    """`text` where supervisord would expand `%(name)s`."""
    return text.replace("%", "%%")
