"""The services of `tapewatch up`: their commands, addresses, ports, health pages and common environment."""

import os
import random
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr

from orchestration import home
from tapewatch.market.instruments import Market
from tapewatch.settings import Settings, variable_of

EMULATOR_SEED = 7
PLACEHOLDER_KEY = "emulator"
#: Names the code location, as workspace.yaml in the checkout does.
_WORKSPACE = str(Path(home.__file__).with_name("workspace.yaml"))
_LOOPBACK = "127.0.0.1"
_CHOSEN = range(10_000, 20_000)


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
    """Everything that `tapewatch up` starts. An MLflow that runs elsewhere is not started here."""
    mlflow = [] if _is_remote_mlflow(settings) else [_mlflow(settings)]
    return [emulator(settings), _dagster_webserver(settings), _DAGSTER_DAEMON, *mlflow, scoring_service(settings)]


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
        **home.environment(settings),
        **{variable_of("markets", market, "plan"): settings.plan(market) for market in Market},
        "POLYGON_WS_URL": settings.polygon_ws_url or "",
        **{variable_of("markets", m, "stream_url"): settings.markets[m].stream_url or "" for m in Market},
        "TAPEWATCH_PARTITIONS_START": str(settings.partitions_start or ""),
        "TAPEWATCH_HOST": settings.host,
        "TAPEWATCH_PORT_SCORING": str(settings.port_scoring),
        "TAPEWATCH_PORT_MLFLOW": str(settings.port_mlflow),
        "PYTHONUNBUFFERED": "1",
        # MLflow's store. Every user of the machine could read its password on a command line.
        "MLFLOW_BACKEND_STORE_URI": "" if _is_remote_mlflow(settings) else settings.tracking_uri,
        # Eight processes for a feature that this platform does not use.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }


def check_ports(wanted: Sequence[Service], host: str) -> None:
    """Raise a ServiceError that names every port that is taken, the service that needs it, and the setting that moves it."""
    taken = [
        f"port {service.port} is taken: {service.title} needs it; free it, or set {service.setting} to another"
        for service in wanted
        if service.port is not None and not _is_free(urlsplit(service.url).hostname or host, service.port)
    ]
    if taken:
        raise ServiceError("; ".join(taken))


def free_port(host: str) -> int:
    """A free port of `host`, outside the range from which systems pick ports for connections (from 32,768 on Linux).

    A service that loads a model binds its port long after it was chosen; a connection might take it meanwhile.

    Raises:
        ServiceError: there is none.
    """
    ports = random.sample(_CHOSEN, len(_CHOSEN))
    found = next((port for port in ports if _is_free(host, port)), None)
    if found is None:
        raise ServiceError(f"no port of {host} from {_CHOSEN[0]} to {_CHOSEN[-1]} is free")
    return found


def _is_free(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        # A port in TIME_WAIT may be bound again, and the services do so.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _script(name: str) -> str:
    """A console script of this environment, whatever PATH says."""
    return str(Path(sys.executable).parent / name)


def _web_service(
    name: str, title: str, command: Sequence[str], host: str, port: int, page: str, *, needs_bento: bool = False
) -> Service:
    """A service that answers over HTTP at `host` and `port`; `page` answers once it works."""
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    setting = f"TAPEWATCH_PORT_{name.partition('-')[0].upper()}"
    return Service(name, title, tuple(command), url, port, setting, f"{url}{page}", needs_bento=needs_bento)


def emulator(settings: Settings, *, speed: str = "1") -> Service:
    """The built-in market: synthetic, or replayed from the flat files that are set. `speed` is that of its streams."""
    tape = ("--flat-files", settings.flat_files) if settings.flat_files else ("--seed", str(EMULATOR_SEED))
    port = str(settings.port_emulator)
    command = (sys.executable, "-m", "tapewatch.emulator", "--port", port, "--speed", speed, *tape)
    page = f"/v1/marketstatus/now?apiKey={PLACEHOLDER_KEY}"
    # It listens on loopback alone, whatever address the others bind to.
    return _web_service("emulator", "Market emulator", command, _LOOPBACK, settings.port_emulator, page)


def _dagster_webserver(settings: Settings) -> Service:
    host, port = settings.host, settings.port_dagster
    command = (_script("dagster-webserver"), "--workspace", _WORKSPACE, "--host", host, "--port", str(port))
    return _web_service("dagster-webserver", "Dagster", command, host, port, "/server_info")


_DAGSTER_DAEMON = Service(
    "dagster-daemon",
    "Dagster daemon",
    (_script("dagster-daemon"), "run", "--workspace", _WORKSPACE),
    probe=(_script("dagster-daemon"), "liveness-check"),
)


def _mlflow(settings: Settings) -> Service:
    host, port = settings.host, settings.port_mlflow
    artifacts = (settings.home / "mlflow" / "artifacts").resolve().as_uri()
    command = (_script("mlflow"), "server", "--artifacts-destination", artifacts, "--host", host, "--port", str(port))
    # Each worker takes 280 MB.
    return _web_service("mlflow", "MLflow", (*command, "--workers", "1"), host, port, "/health")


def scoring_service(settings: Settings) -> Service:
    """The service that answers `POST /score`."""
    command = (sys.executable, "-m", "orchestration.processes.scoring")
    host, port = settings.host, settings.port_scoring
    return _web_service("scoring", "Scoring service", command, host, port, "/readyz", needs_bento=True)
