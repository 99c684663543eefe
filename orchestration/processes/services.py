"""The services of `tapewatch up`: their commands, addresses, ports, health pages and common environment."""

import errno
import os
import random
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from pydantic import SecretStr

from orchestration import home
from tapewatch import __version__
from tapewatch.emulator import name_of
from tapewatch.emulator.stream.pace import Speed
from tapewatch.market.instruments import Market
from tapewatch.settings import Settings
from tapewatch.variables import variables_of

EMULATOR_SEED = 7
PLACEHOLDER_KEY = "emulator"
_LOOPBACK = "127.0.0.1"
_CHOSEN = range(10_000, 20_000)
_PORT_FAULTS = {errno.EADDRINUSE: "taken", errno.EACCES: "reserved for root"}
_ANSWER_S, _HEALTH_S, _PROBE_S = 2.0, 5.0, 60.0
_OF_DASHBOARD = ("streamlit", "argon2", "authlib", "cryptography", "itsdangerous", "limits", "pyotp", "segno")


class ServiceError(RuntimeError):
    """The services cannot run; the message names which, why and the way out."""


@dataclass(frozen=True, slots=True)
class Service:
    """One process under the supervisor.

    `url` is its address, empty without a port, which the variable `setting` moves. Once it works, the page `health` answers;
    where there is no page, the command `probe` succeeds. A service that `needs_bento` may wait for one.
    A process that ends within `start_seconds` died quickly: it is started again after a growing pause, and given up after
    `start_retries` quick deaths in a row. One that ends with one of `final_exit_codes` is not started again.
    """

    name: str
    title: str
    command: tuple[str, ...]
    url: str = ""
    port: int | None = None
    setting: str = ""
    health: str = ""
    probe: tuple[str, ...] = ()
    needs_bento: bool = False
    start_seconds: int = 2
    start_retries: int = 3
    final_exit_codes: tuple[int, ...] = ()


def services(settings: Settings) -> list[Service]:
    """Everything that `tapewatch up` starts: no emulator beside a key, and no MLflow that runs elsewhere.

    Raises:
        ServiceError: as `emulator_to_start`.
    """
    market = None if settings.polygon_api_key is not None else emulator_to_start(settings)
    mlflow = None if _is_remote_mlflow(settings) else mlflow_server(settings)
    wanted = [market, dagster_webserver(settings), dagster_daemon(settings), mlflow, scoring_service(settings)]
    wanted.append(None if missing_packages() else dashboard_service(settings))
    return [service for service in wanted if service is not None]


def _is_remote_mlflow(settings: Settings) -> bool:
    return settings.tracking_uri.startswith(("http://", "https://", "databricks"))


def with_source(settings: Settings) -> Settings:
    """`settings` unchanged if they have a key or a folder of flat files; else with the built-in emulator as the vendor."""
    if settings.polygon_api_key is not None or settings.flat_files is not None:
        return settings
    return on_emulator(settings, emulator(settings).url)


def on_emulator(settings: Settings, base_url: str) -> Settings:
    """`settings` with an emulator as the vendor, and the largest plan in every market."""
    vendor = {"polygon_base_url": base_url, "polygon_ws_url": None, "polygon_api_key": SecretStr(PLACEHOLDER_KEY)}
    pointed = settings.model_copy(update={**vendor, "flat_files": None})
    return pointed.with_markets(*Market, plan="advanced", stream_url=None)


def environment(settings: Settings) -> dict[str, str]:
    """The environment of all services: this process's, with the deployment's folders, ports and source."""
    return {
        **os.environ,
        # MLflow takes an empty address for one.
        **{name: value for name, value in variables_of(settings).items() if value or name != "MLFLOW_TRACKING_URI"},
        **home.environment(settings),
        "PYTHONUNBUFFERED": "1",
        # MLflow's store. Every user of the machine could read its password on a command line.
        "MLFLOW_BACKEND_STORE_URI": "" if _is_remote_mlflow(settings) else home.with_driver(settings.tracking_uri),
        # Eight processes for a feature that this platform does not use.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }


def check_ports(wanted: Sequence[Service], host: str) -> None:
    """Raise a ServiceError that names every port that cannot be used, the service that needs it, and the way out."""
    faults = dict.fromkeys(fault for service in wanted if service.port is not None and (fault := _fault(service, host)))
    if faults:
        raise ServiceError("; ".join(faults))


def _fault(service: Service, host: str) -> str:
    own, port = urlsplit(service.url).hostname or host, service.port or 0
    number = _bind_fault(own, port)
    if number is None:
        return ""
    if number in _PORT_FAULTS:
        way_out = f"free it, or set {service.setting} to another"
        return f"port {port} is {_PORT_FAULTS[number]}: {service.title} needs it; {way_out}"
    return f"TAPEWATCH_HOST is {own}: not an address of this machine; set it to 127.0.0.1 or one that is"


def free_port(host: str) -> int:
    """A free port of `host`, outside the range from which systems pick ports for connections (from 32,768 on Linux).

    A service that loads a model binds its port long after it was chosen; a connection might take it meanwhile.

    Raises:
        ServiceError: there is none.
    """
    ports = random.sample(_CHOSEN, len(_CHOSEN))
    found = next((port for port in ports if _bind_fault(host, port) is None), None)
    if found is None:
        raise ServiceError(
            f"no port of {host} from {_CHOSEN[0]} to {_CHOSEN[-1]} is free: TAPEWATCH_HOST must be an address of this machine"
        )
    return found


def _bind_fault(host: str, port: int) -> int | None:
    """The error number with which the system refuses to listen at an address; None if it does not."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        # A port in TIME_WAIT may be bound again, and the services do so.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:  # a name that cannot be resolved, too
            return error.errno
    return None


def _script(name: str) -> str:
    """A console script of this environment, whatever PATH says."""
    return str(Path(sys.executable).parent / name)


def answers(service: Service, variables: Mapping[str, str]) -> bool:
    """Whether a service that runs works: its health page answers, or its probe succeeds. True where it has neither."""
    try:
        if service.health:
            # Whose certificate answers does not matter here: nothing secret is sent, and it may be of another name. To read the
            # known authorities would take longer than the request.
            return httpx.get(service.health, timeout=_HEALTH_S, trust_env=False, verify=False).is_success  # noqa: S501
        if service.probe:
            options: dict[str, Any] = {"env": variables, "capture_output": True, "start_new_session": True}
            subprocess.run(service.probe, check=True, timeout=_PROBE_S, **options)  # noqa: S603
    except (httpx.TransportError, httpx.InvalidURL, subprocess.SubprocessError):
        return False
    return True


def _web_service(
    name: str, title: str, command: Sequence[str], host: str, port: int, page: str, *, needs_bento: bool = False
) -> Service:
    """A service that answers over HTTP at `host` and `port`; `page` answers once it works."""
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    setting = f"TAPEWATCH_PORT_{name.partition('-')[0].upper()}"
    return Service(name, title, tuple(command), url, port, setting, f"{url}{page}", needs_bento=needs_bento)


def _reachable(host: str) -> str:
    """An address at which a service that binds to `host` answers on this machine."""
    return {"0.0.0.0": _LOOPBACK, "::": "::1"}.get(host, host)  # noqa: S104


def emulator(settings: Settings, *, speed: str = "1") -> Service:
    """The built-in market: synthetic, or replayed from the flat files that are set. `speed` is that of its streams."""
    tape = ("--flat-files", settings.flat_files) if settings.flat_files else ("--seed", str(EMULATOR_SEED))
    port = str(settings.port_emulator)
    command = (sys.executable, "-m", "tapewatch.emulator", "--port", port, "--speed", speed, *tape)
    page = f"/v1/marketstatus/now?apiKey={PLACEHOLDER_KEY}"
    # It listens on loopback alone, whatever address the others bind to.
    return _web_service("emulator", "Market emulator", command, _LOOPBACK, settings.port_emulator, page)


def emulator_to_start(settings: Settings, *, speed: str | None = "1") -> Service | None:
    """The emulator; None if one that serves the same market runs on its port.

    Args:
        speed: it must also serve every day, without faults, at this speed; None takes it as it plays.

    Raises:
        ServiceError: an emulator that serves something else does.
    """
    service = emulator(settings, speed=speed or "1")
    serves = emulator_info(service)
    if serves is None:
        return service  # another program may hold the port, which `check_ports` reports
    source = name_of(EMULATOR_SEED, settings.flat_files)
    wanted = {"source": source, "version": __version__}
    if speed is not None:
        wanted |= {"speed": str(Speed.parse(speed)), "replay": None, "faults": 0}
    if all(serves[name] == value for name, value in wanted.items()):
        return None
    other = "" if serves["version"] == __version__ else f", Tapewatch {serves['version']}"
    at = "" if speed is None else f", at speed {wanted['speed']}"
    raise ServiceError(
        f"the emulator at {service.url} serves {serves['source']}, {played(serves)}{other}; this needs {source}{at}: stop it, or set "
        f"{service.setting} to another port"
    )


def emulator_info(service: Service) -> dict[str, Any] | None:
    """Source, speed, replay (days), version and faults of the emulator that runs on the port of `service`; None without one."""
    try:
        address = f"{service.url}/emulator/v1/info"
        found = httpx.get(address, timeout=_ANSWER_S, trust_env=False, verify=False).json()  # noqa: S501 - plain HTTP
        return {name: found[name] for name in ("source", "speed", "replay", "version", "faults")}
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return None


def played(info: Mapping[str, Any]) -> str:
    """How an emulator plays its market: its speed, and days and faults if there are any."""
    extras = {"days": info["replay"], "faults": info["faults"]}
    return f"at speed {info['speed']}" + "".join(f", {name} {value}" for name, value in extras.items() if value)


def _workspace(settings: Settings) -> str:
    """The file that names the code location: one that this machine loads, or one that runs elsewhere."""
    name = "remote_workspace.yaml" if settings.code_location else "workspace.yaml"
    return str(Path(home.__file__).with_name(name))


def dagster_webserver(settings: Settings) -> Service:
    """Dagster's pages, behind the guard."""
    host, port = settings.host, settings.port_dagster
    module = "orchestration.processes.dagster_webserver"
    command = (sys.executable, "-m", module, "--workspace", _workspace(settings), "--host", host, "--port", str(port))
    return _web_service("dagster-webserver", "Dagster", command, host, port, "/server_info")


def dagster_daemon(settings: Settings) -> Service:
    """What starts the runs of schedules, sensors and the queue."""
    daemon = _script("dagster-daemon")
    command = (daemon, "run", "--workspace", _workspace(settings))
    return Service("dagster-daemon", "Dagster daemon", command, probe=(daemon, "liveness-check"))


def code_location(settings: Settings) -> Service:
    """The assets' code as a server of its own, in which runs are started."""
    host, port = settings.host, str(settings.port_code_location)
    dagster = _script("dagster")
    command = (dagster, "api", "grpc", "--module-name", "orchestration.definitions", "--host", host, "--port", port)
    probe = (dagster, "api", "grpc-health-check", "--host", _reachable(host), "--port", port)
    title, setting = "Code location", "TAPEWATCH_PORT_CODE_LOCATION"
    return Service("code-location", title, command, "", settings.port_code_location, setting, probe=probe)


def mlflow_server(settings: Settings) -> Service:
    """MLflow's tracking server and registry, behind the guard."""
    host, port = settings.host, settings.port_mlflow
    artifacts = settings.artifact_root
    module = "orchestration.processes.mlflow_server"
    command = (sys.executable, "-m", module, "--artifacts-destination", artifacts, "--host", host, "--port", str(port))
    return _web_service("mlflow", "MLflow", command, host, port, "/health")


def scoring_service(settings: Settings) -> Service:
    """The service that answers `POST /score`."""
    command = (sys.executable, "-m", "serving")
    host, port = settings.host, settings.port_scoring
    plain = _web_service("scoring", "Scoring service", command, host, port, "/readyz", needs_bento=True)
    return replace(plain, url=settings.scoring_url, health=f"{settings.scoring_url}/readyz")


def dashboard_url(settings: Settings) -> str:
    """The address of the page for analysts."""
    host = settings.dashboard_address
    host = f"[{host}]" if ":" in host else host
    return f"{'http' if settings.tls == 'off' else 'https'}://{host}:{settings.port_dashboard}"


def dashboard_service(settings: Settings) -> Service:
    """The page for analysts, which needs the extra `dashboard`."""
    url, command = dashboard_url(settings), (sys.executable, "-m", "dashboard")
    setting = "TAPEWATCH_PORT_DASHBOARD"
    return Service("dashboard", "Dashboard", command, url, settings.port_dashboard, setting, f"{url}/_stcore/health")


def missing_packages() -> str:
    """What to do before the dashboard can start; empty where it can."""
    missing = [name for name in _OF_DASHBOARD if find_spec(name) is None]
    return f"the dashboard needs {', '.join(missing)}: pip install 'tapewatch[dashboard]'" if missing else ""
