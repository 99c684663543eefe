"""The supervisor with small stand-in services: health, restarts, and the end of all processes."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from orchestration.processes import services, supervision
from orchestration.processes.collectors import EXIT_FINAL, QUICK_DEATHS, QUICK_S
from orchestration.processes.services import Service, ServiceError
from orchestration.processes.supervision import Supervisor, claimed, stop_signals
from tests.support.ports import free_port

STUBBORN = Path(__file__).parents[2] / "support" / "stubborn_service.py"
pytestmark = pytest.mark.slow


def web_service(port: int, name: str = "web") -> Service:
    return Service(
        name=name,
        title="Web service",
        command=(sys.executable, str(STUBBORN), str(port)),
        url=f"http://127.0.0.1:{port}",
        port=port,
        setting="TAPEWATCH_PORT_WEB",
        health=f"http://127.0.0.1:{port}/",
    )


def eventually(condition: Callable[[], bool], seconds: float = 180) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.2)
    return condition()


def family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def supervisord_of(pid: int) -> psutil.Process:
    return next(p for p in psutil.Process(pid).children() if "supervisord" in " ".join(p.cmdline()))


def test_a_service_starts_and_stops_with_its_workers(tmp_path: Path) -> None:
    service = web_service(free_port())
    # supervisord must neither expand the percent sign in the folder's name, nor take its end for a comment.
    home = tmp_path / "my 100% home #1 ;é"
    with stop_signals() as stopping, Supervisor([service], home, dict(os.environ)) as supervisor:
        assert supervisor.wait_until_healthy(service, timeout_s=120, stopping=stopping)
        running = family(supervisord_of(os.getpid()).pid)
        assert len(running) == 3, "supervisord, the service and its worker"
    gone, alive = psutil.wait_procs(running, timeout=180)
    assert not alive
    assert len(gone) == 3
    assert not supervisor.is_running
    assert {path.name for path in home.iterdir()} == {"logs", "run"}
    assert [path.name for path in tmp_path.iterdir()] == [home.name]


def test_a_final_error_within_the_first_seconds_is_final(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    program = f"open({str(starts)!r}, 'a').write('x'); from orchestration.processes.collectors import exit_finally; exit(exit_finally())"
    service = Service(
        "collector",
        "Collector",
        (sys.executable, "-c", program),
        start_seconds=QUICK_S,
        start_retries=QUICK_DEATHS,
        final_exit_codes=(EXIT_FINAL,),
    )
    with Supervisor([service], tmp_path, dict(os.environ)) as supervisor:
        assert eventually(lambda: supervisor.state(service) in ("EXITED", "FATAL"))
        assert supervisor.state(service) == "EXITED"
    assert starts.read_text() == "x"


def test_a_killed_service_is_restarted(tmp_path: Path) -> None:
    service = web_service(free_port())
    with stop_signals() as stopping, Supervisor([service], tmp_path, dict(os.environ)) as supervisor:
        assert supervisor.wait_until_healthy(service, timeout_s=120, stopping=stopping)
        first, *rest = supervisord_of(os.getpid()).children()
        orphans = first.children()
        first.kill()
        assert eventually(
            lambda: (
                supervisor.is_healthy(service)
                and first.pid not in [p.pid for p in supervisord_of(os.getpid()).children()]
            )
        )
        for orphan in orphans:
            orphan.kill()
    assert not rest


def test_a_process_that_is_about_to_be_started_again_has_not_ended(tmp_path: Path) -> None:
    command = (sys.executable, "-c", "import time; time.sleep(600)")
    service = Service("collector", "Collector", command, start_seconds=0, final_exit_codes=(EXIT_FINAL,))
    with Supervisor([service], tmp_path, dict(os.environ)) as supervisor, ThreadPoolExecutor(1) as asking:
        for _ in range(3):
            assert eventually(lambda: supervisor.state(service) == "RUNNING")
            killed = supervisor.processes()[service.name].pid
            supervisord = supervisord_of(os.getpid())
            # supervisord finds the question and the dead process at the same moment, and answers before it starts another.
            supervisord.suspend()
            answer = asking.submit(supervisor.processes)
            time.sleep(0.3)  # the question is on its way; a later one would only make the test weaker
            os.kill(killed, signal.SIGKILL)
            supervisord.resume()
            assert answer.result()[service.name].state not in {"EXITED", "FATAL"}
            assert eventually(lambda killed=killed: supervisor.processes()[service.name].pid not in (0, killed))


def test_the_error_of_a_service_that_cannot_start_ends_with_its_log(tmp_path: Path) -> None:
    # Longer than the interpreter takes to start on a busy machine.
    command = (sys.executable, "-c", "raise SystemExit('no such market')")
    broken = Service("broken", "Broken service", command, start_seconds=600)
    with (
        stop_signals() as stopping,
        Supervisor([broken], tmp_path, dict(os.environ)) as supervisor,
        pytest.raises(ServiceError, match=r"Broken service does not start[\s\S]*no such market"),
    ):
        supervisor.wait_until_healthy(broken, timeout_s=120, stopping=stopping)


def test_a_service_that_dies_again_and_again_is_an_error(tmp_path: Path) -> None:
    # Longer than `start_seconds`: the supervisor starts it again for ever.
    code = "import time; time.sleep(2); raise SystemExit('no such table')"
    dying = Service(
        "dying", "Dying service", (sys.executable, "-c", code), start_seconds=0, health="http://127.0.0.1:1/"
    )
    with (
        stop_signals() as stopping,
        Supervisor([dying], tmp_path, dict(os.environ)) as supervisor,
        pytest.raises(ServiceError, match=r"Dying service does not start[\s\S]*no such table"),
    ):
        supervisor.wait_until_healthy(dying, timeout_s=600, patience_s=0, stopping=stopping)


def test_a_slow_service_is_named_once_with_its_log(tmp_path: Path) -> None:
    code = "import time; print('still migrating', flush=True); time.sleep(600)"
    slow = Service("slow", "Slow service", (sys.executable, "-c", code), health="http://127.0.0.1:1/")
    said: list[str] = []
    with stop_signals() as stopping, Supervisor([slow], tmp_path, dict(os.environ)) as supervisor:
        assert eventually(
            lambda: supervisor.state(slow) == "RUNNING" and "migrating" in supervisor.log(slow).read_text()
        )
        with pytest.raises(ServiceError, match="Slow service is running but does not answer"):
            supervisor.wait_until_healthy(slow, timeout_s=2, patience_s=0, stopping=stopping, complain=said.append)
    (only,) = said
    assert re.match(r"Slow service is running but does not answer after \d+ s; still waiting, see ", only)
    assert only.endswith("still migrating")


def test_services_write_for_their_user_alone(tmp_path: Path) -> None:
    code = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).write_text('x'); time.sleep(600)"
    file = tmp_path / "file"
    writing = Service("writing", "Writing service", (sys.executable, "-c", code, str(file)))
    before = os.umask(0o022)
    try:
        with stop_signals(), Supervisor([writing], tmp_path, dict(os.environ)) as supervisor:
            assert eventually(lambda: file.exists() and supervisor.log(writing).exists())
    finally:
        os.umask(before)
    assert file.stat().st_mode & 0o777 == 0o600
    assert supervisor.log(writing).stat().st_mode & 0o777 == 0o600


def test_a_home_has_one_supervisor_of_a_name(tmp_path: Path) -> None:
    idle = Service("idle", "Idle service", (sys.executable, "-c", IDLE))
    with (
        claimed(tmp_path, "supervisor", "tapewatch up"),
        claimed(tmp_path, "stream-crypto", "tapewatch stream"),
        stop_signals() as stopping,
        Supervisor([idle], tmp_path, dict(os.environ)) as supervisor,
    ):
        assert supervisor.wait_until_healthy(idle, timeout_s=120, stopping=stopping)
        said = rf"`tapewatch up` runs on {tmp_path} already \(process {os.getpid()}\): stop it first"
        with pytest.raises(ServiceError, match=said), claimed(tmp_path, "supervisor", "tapewatch up"):
            pass
    with claimed(tmp_path, "supervisor", "tapewatch up"):
        pass


def test_an_excused_service_may_be_unhealthy(tmp_path: Path) -> None:
    waiting = Service(
        "waiting",
        "Waiting service",
        (sys.executable, "-c", "import time; time.sleep(600)"),
        health="http://127.0.0.1:1/",
    )
    with stop_signals() as stopping, Supervisor([waiting], tmp_path, dict(os.environ)) as supervisor:
        assert not supervisor.wait_until_healthy(waiting, timeout_s=120, stopping=stopping, excused=lambda: True)


IDLE = "import time; time.sleep(600)"
_STARTS_ANOTHER_AT_ITS_END = f"""
import signal, subprocess, sys, time
from pathlib import Path

def end(*_):
    started = subprocess.Popen([sys.executable, "-c", {IDLE!r}])
    Path(sys.argv[1]).write_text(str(started.pid))
    sys.exit()

signal.signal(signal.SIGTERM, end)
Path(sys.argv[1]).touch()
time.sleep(600)
"""


def test_a_process_that_a_stopping_service_starts_is_stopped_too(tmp_path: Path) -> None:
    script, pid_file = tmp_path / "late.py", tmp_path / "pid"
    script.write_text(_STARTS_ANOTHER_AT_ITS_END)
    late = Service("late", "Late service", (sys.executable, str(script), str(pid_file)))
    with stop_signals(), Supervisor([late], tmp_path, dict(os.environ)):
        assert eventually(pid_file.exists)
    started = int(pid_file.read_text())
    try:
        assert not psutil.pid_exists(started) or psutil.Process(started).status() == psutil.STATUS_ZOMBIE
    finally:
        with suppress(ProcessLookupError):
            os.kill(started, signal.SIGKILL)


def test_a_killed_supervisor_is_an_error_and_its_services_are_stopped(tmp_path: Path) -> None:
    service = web_service(free_port())
    with stop_signals() as stopping, Supervisor([service], tmp_path, dict(os.environ)) as supervisor:
        assert supervisor.wait_until_healthy(service, timeout_s=120, stopping=stopping)
        killed, *orphans = family(supervisord_of(os.getpid()).pid)
        killed.kill()
        assert eventually(lambda: not supervisor.is_running)
        with pytest.raises(ServiceError, match="does not run"):
            supervisor.expect_running()
    try:
        assert len(orphans) == 2, "the service and its worker"
        assert not psutil.wait_procs(orphans, timeout=180)[1]
    finally:
        for orphan in orphans:
            with suppress(psutil.NoSuchProcess):
                orphan.kill()


def test_the_supervisor_ignores_the_user_that_the_environment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "nobody-of-that-name")
    idle = Service("idle", "Idle service", (sys.executable, "-c", IDLE))
    with stop_signals() as stopping, Supervisor([idle], tmp_path, dict(os.environ)) as supervisor:
        assert supervisor.wait_until_healthy(idle, timeout_s=120, stopping=stopping)


def test_a_suspended_supervisor_times_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "_ANSWER_S", 0.2)
    idle = Service("idle", "Idle service", (sys.executable, "-c", IDLE))
    with stop_signals() as stopping, Supervisor([idle], tmp_path, dict(os.environ)) as supervisor:
        assert eventually(lambda: supervisor.state(idle) != "UNKNOWN")
        still = supervisord_of(os.getpid())
        still.suspend()
        try:
            with pytest.raises(ServiceError, match="Idle service is unknown but does not answer"):
                supervisor.wait_until_healthy(idle, timeout_s=0.5, stopping=stopping)
        finally:
            still.resume()


def test_a_probe_that_does_not_end_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "_PROBE_S", 0.2)
    idle = Service("idle", "Idle service", (sys.executable, "-c", IDLE), probe=(sys.executable, "-c", IDLE))
    with stop_signals(), Supervisor([idle], tmp_path, dict(os.environ)) as supervisor:
        assert eventually(lambda: supervisor.state(idle) == "RUNNING")
        assert not supervisor.is_healthy(idle)


_UP = """
import os, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from orchestration.processes.services import Service
from orchestration.processes.supervision import Supervisor, stop_signals
service = Service("web", "Web", (sys.executable, {stubborn!r}, "{port}"), health="http://127.0.0.1:{port}/")
with stop_signals() as stopping, Supervisor([service], Path({home!r}), dict(os.environ)) as supervisor:
    supervisor.wait_until_healthy(service, timeout_s=120, stopping=stopping)
    print("up", flush=True)
    stopping.wait()
"""


def start_up(tmp_path: Path, prefix: list[str]) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    script = _UP.format(
        root=str(STUBBORN.parents[2]), stubborn=str(STUBBORN), port=free_port(), home=str(tmp_path / "home")
    )
    process = subprocess.Popen([*prefix, sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process, family(process.pid)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything_even_if_interrupts_were_ignored(tmp_path: Path, number: signal.Signals) -> None:
    # As a non-interactive shell starts its background jobs.
    process, running = start_up(tmp_path, ["sh", "-c", 'trap "" INT; exec "$@"', "sh"])
    process.send_signal(number)
    assert process.wait(timeout=120) == 0
    _, alive = psutil.wait_procs(running[1:], timeout=180)
    assert not alive


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux signals a child whose parent was killed")
def test_nothing_is_left_running_after_a_kill(tmp_path: Path) -> None:
    process, running = start_up(tmp_path, [])
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(running[1:], timeout=180)
    assert not alive
