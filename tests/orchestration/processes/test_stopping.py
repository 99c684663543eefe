"""Commands that are interrupted, or whose supervisor is killed, at an unusual moment."""

import datetime as dt
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import dagster as dg
import psutil
import pytest
from rich.console import Console

from orchestration.processes import streaming, up
from orchestration.processes.services import Service, ServiceError
from orchestration.processes.streaming import StreamSource
from orchestration.processes.supervision import Process, Supervisor
from orchestration.runs import runs
from orchestration.runs.detectors import scoring
from tapewatch.market.instruments import Market
from tapewatch.settings import Settings
from tests.support.ports import free_ports

CHECKOUT = Path(__file__).resolve().parents[3]
STUBBORN = CHECKOUT / "tests" / "support" / "stubborn_service.py"
DAY = dt.date(2024, 6, 4)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        home=tmp_path, port_scoring=free_ports(1)[0], markets={"stocks": {"symbols": ("VOO",)}}, _env_file=None
    )


_SOURCED = """
import sys, time
from rich.console import Console
from orchestration.runs.lineage import sourced
from tapewatch.settings import Settings

with sourced(Settings(home=sys.argv[1], _env_file=None), Console(quiet=True)):
    print("sourced", flush=True)
    time.sleep(600)
"""


@pytest.mark.slow
def test_a_command_that_is_terminated_leaves_no_emulator(tmp_path: Path) -> None:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("POLYGON_", "TAPEWATCH_"))}
    process = subprocess.Popen(
        [sys.executable, "-c", _SOURCED, str(tmp_path)], cwd=CHECKOUT, env=own, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    emulators: list[psutil.Process] = []
    try:
        assert process.stdout.readline() == "sourced\n"
        emulators = psutil.Process(process.pid).children()
        assert len(emulators) == 1
        process.terminate()
        assert process.wait(120)
        # The command waited for its end.
        assert not emulators[0].is_running()
    finally:
        for left in (process, *emulators):
            with suppress(psutil.NoSuchProcess):
                left.kill()
        process.wait()


#: Sends Ctrl-C to the process that started it; is never healthy.
_STRIKING = "import os, signal, sys, time; os.kill(int(sys.argv[1]), signal.SIGINT); time.sleep(600)"


@pytest.mark.slow
@pytest.mark.parametrize("is_ready", [True, False])
def test_ctrl_c_while_a_bento_is_served_ends_the_command(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, is_ready: bool
) -> None:
    port = str(settings.port_scoring)
    command = [str(STUBBORN), port] if is_ready else ["-c", _STRIKING, str(os.getpid())]
    service = Service("scoring", "A Bento", (sys.executable, *command), health=f"http://127.0.0.1:{port}/")
    monkeypatch.setattr(scoring, "scoring_service", lambda _: service)
    asked = []
    with pytest.raises(KeyboardInterrupt), scoring.served(settings):  # noqa: PT012 - what comes after the strike is the point
        signal.raise_signal(signal.SIGINT)
        asked.append("an answer")
    assert asked == (["an answer"] if is_ready else [])


@pytest.mark.slow
def test_a_run_restores_the_handler_of_sigterm(settings: Settings) -> None:
    """Dagster replaces it with the handler of SIGINT, which a background process ignores."""
    received = []
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN),
        signal.SIGTERM: signal.signal(signal.SIGTERM, lambda number, _: received.append(number)),
    }
    try:
        runs.run_days(settings, "certify_days", Market.STOCKS, DAY, DAY)
        signal.raise_signal(signal.SIGTERM)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert received == [signal.SIGTERM]


@pytest.mark.slow
def test_ctrl_c_after_the_last_step_interrupts_the_run(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dagster delays an interrupt until the next step, and forgets it after the last one."""
    struck = []

    def strike(entry: dg.EventLogEntry) -> None:
        if entry.dagster_event is not None and entry.dagster_event.is_job_success:
            struck.append(entry.run_id)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(runs, "_listener", lambda *_: strike)
    with pytest.raises(KeyboardInterrupt):
        runs.run_days(settings, "certify_days", Market.STOCKS, DAY, DAY)
    assert len(struck) == 1


class Killing(Supervisor):
    """A supervisor that is killed once everything runs."""

    def processes(self) -> dict[str, Process]:
        self.kill()
        return {}

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> Service:
    """A service that does nothing, to be run by a supervisor that is killed."""
    for module in (up, streaming):
        monkeypatch.setattr(module, "Supervisor", Killing)
        monkeypatch.setattr(module, "environment", lambda _: dict(os.environ))
    return Service("idle", "Idle service", (sys.executable, "-c", "import time; time.sleep(600)"))


@pytest.mark.slow
def test_up_fails_if_its_supervisor_is_killed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, idle: Service
) -> None:
    monkeypatch.setattr(up, "services", lambda _: [idle])
    monkeypatch.setattr(up.home, "instance", lambda _: dg.DagsterInstance.ephemeral())
    monkeypatch.setattr(up, "_wait_for_all", lambda supervisor, *_: supervisor.processes())
    ended: list[dg.DagsterInstance] = []
    monkeypatch.setattr(up.home, "end_lost_runs", ended.append)
    with pytest.raises(ServiceError, match="the supervisor does not run"):
        up.run_platform(settings, Console(quiet=True))
    assert len(ended) == 1, "the runs of the killed platform are marked as failed"


@pytest.mark.slow
def test_stream_fails_if_its_supervisor_is_killed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, idle: Service
) -> None:
    monkeypatch.setattr(streaming, "source_of", lambda *_, **__: StreamSource(settings, "nobody"))
    monkeypatch.setattr(streaming, "stream_services", lambda *_: [idle])
    with pytest.raises(ServiceError, match="the supervisor does not run"):
        streaming.stream_markets(settings, [Market.CRYPTO], Console(quiet=True))
