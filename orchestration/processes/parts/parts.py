"""The parts by name, how one takes the place of this process, and whether one works."""

import fcntl
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from orchestration import home
from orchestration.processes.collectors import collector_name
from orchestration.processes.parts.preflight import expect_sound, expect_vendor
from orchestration.processes.services import (
    Service,
    ServiceError,
    answers,
    code_location,
    dagster_daemon,
    dagster_webserver,
    dashboard_service,
    environment,
    mlflow_server,
    scoring_service,
    services,
)
from orchestration.processes.streaming import collector, healer, trader
from orchestration.processes.supervision import NAME, claimed, processes, socket_path
from serving.store import StoredBento
from tapewatch.market.instruments import Market
from tapewatch.settings import Settings

_POLL_S = 1.0


_COLLECTORS: dict[str, Callable[[Settings], Service]] = {
    collector_name(market): lambda settings, market=market: collector(settings, market)  # type: ignore[misc]
    for market in Market
}
#: How the service of each part is made.
PARTS: Mapping[str, Callable[[Settings], Service]] = {
    "code-location": code_location,
    "webserver": dagster_webserver,
    "daemon": dagster_daemon,
    "mlflow": mlflow_server,
    "scoring": scoring_service,
    "healer": lambda _: healer(),
    "paper-trader": lambda _: trader(),
    **_COLLECTORS,
}
#: What can be asked whether it works; the dashboard makes an account as it starts, and so has a command of its own.
_CHECKED: Mapping[str, Callable[[Settings], Service]] = {**PARTS, "dashboard": dashboard_service}
#: Parts of which a home has one: it holds a lock, also on a network file system, as long as it lives.
_SINGLE = {"code-location", "daemon", "healer", "paper-trader", *_COLLECTORS}
#: Parts that call the vendor.
_CALLING = {"code-location", "healer", *_COLLECTORS}


def serve(settings: Settings, name: str, *, waits: bool = False) -> None:
    """Check the deployment, then replace this process with the part `name`.

    Args:
        waits: where another process of this home runs the part, wait until it has ended, as a standby does.

    Raises:
        PreflightError: the deployment cannot start.
        ServiceError: another process runs the part, or `tapewatch up` runs on this home.
    """
    if name in _CALLING:
        expect_vendor(settings)
    expect_sound(settings)
    if name in _SINGLE:
        _take(settings.home, name, waits=waits)
    home.prepare(settings)
    if name == "code-location":
        # Its runs are its children: those of the one before ended with it.
        with home.instance(settings) as opened:
            home.end_lost_runs(opened)
            home.introduce_stream(opened)
    service = PARTS[name](settings)
    os.execve(service.command[0], service.command, environment(settings))  # noqa: S606


def _take(folder: Path, name: str, *, waits: bool) -> None:
    """Lock a part for this process and for the program that replaces it; the system releases it however that ends."""
    with claimed(folder, NAME, "tapewatch up"):
        pass
    file = os.open(folder.absolute() / "run" / f"part-{name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not waits:
                raise ServiceError(
                    f"{name} runs on {folder.absolute()} already, from this deployment or from another on the same volume: stop that "
                    "one, mount another volume, or add --wait to take over once it ends"
                ) from None
            time.sleep(_POLL_S)
        else:
            os.set_inheritable(file, True)
            return


def is_working(settings: Settings, name: str | None = None) -> bool:
    """Whether a part works; without a name, every service of `tapewatch up`. Scoring may wait for its first Bento there."""
    if name is not None:
        return answers(_CHECKED[name](settings), environment(settings))
    states = processes(socket_path(settings.home, NAME))
    wanted = [
        service
        for service in services(settings)
        if not (service.needs_bento and StoredBento.latest(settings.bento_home) is None)
    ]
    running = {name for name, process in states.items() if process.state == "RUNNING"}
    return (
        running >= states.keys() - {"scoring"}
        and bool(states)
        and all(answers(s, environment(settings)) for s in wanted)
    )
