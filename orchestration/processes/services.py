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
_LOOPBACK = "127.0.0.1"
_CHOSEN = range(10_000, 20_000)
_DEFINITIONS = "orchestration.definitions"
_REMOTE_SCHEMES = ("http://", "https://", "databricks")


class ServiceError(RuntimeError):
    """The services cannot run; the message names which, why and the way out."""


@dataclass(frozen=True, slots=True)
class Service:
    """One process under the supervisor.

    `url` is where a person or client finds it, empty for one without a port. `health` is the page that answers once it
    works; `probe` a command that succeeds once it does, where there is no page. One that `needs_bento` may wait for it.
    A process that lives shorter than `start_seconds` died quickly: it is started again after a pause that grows, and given
    up after `start_retries` such deaths in a row. One that ends with one of `final_exit_codes` is not started again.
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
    found = [emulator(settings), _dagster_webserver(settings), _dagster_daemon(), scoring_service(settings)]
    if not is_remote_mlflow(settings):
        found.insert(3, _mlflow(settings))
    return found


def is_remote_mlflow(settings: Settings) -> bool:
    """Whether MLflow is a server of its own, which someone else keeps running."""
    return settings.tracking_uri.startswith(_REMOTE_SCHEMES)


def with_source(settings: Settings) -> Settings:
    """`settings` as they are where a key or a folder of flat files is set; else pointed at the built-in emulator."""
    if settings.polygon_api_key is not None or settings.flat_files is not None:
        return settings
    return on_emulator(settings, emulator(settings).url)


def on_emulator(settings: Settings, base_url: str) -> Settings:
    """`settings` with an emulator as the vendor, and the plan that sees everything in every market."""
    vendor = {"polygon_base_url": base_url, "polygon_ws_url": None, "polygon_api_key": SecretStr(PLACEHOLDER_KEY)}
    pointed = settings.model_copy(update={**vendor, "flat_files": None})
    return pointed.with_markets(*Market, plan="advanced", stream_url=None)


def environment(settings: Settings) -> dict[str, str]:
    """The environment that all services share: this process's, and the deployment's homes, ports and source."""
    return {
        **os.environ,
        **home.environment(settings),
        **{variable_of("markets", market, "plan"): settings.plan(market) for market in Market},
        "POLYGON_WS_URL": settings.polygon_ws_url or "",
        **{variable_of("markets", m, "stream_url"): settings.markets[m].stream_url or "" for m in Market},
        "TAPEWATCH_HOST": settings.host,
        "TAPEWATCH_PORT_SCORING": str(settings.port_scoring),
        "PYTHONUNBUFFERED": "1",
        # The MLflow server's store: on its command line every user of the machine could read the password.
        "MLFLOW_BACKEND_STORE_URI": "" if is_remote_mlflow(settings) else settings.tracking_uri,
        # Eight processes for work that this platform does not give it.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }


def check_ports(wanted: Sequence[Service], host: str) -> None:
    """Raise a ServiceError that names every port which is taken, what needs it, and the setting that moves it."""
    taken = [
        f"port {service.port} is taken: {service.title} needs it; free it, or set {service.setting} to another"
        for service in wanted
        if service.port is not None and not _is_free(urlsplit(service.url).hostname or host, service.port)
    ]
    if taken:
        raise ServiceError("; ".join(taken))


def free_port(host: str) -> int:
    """A port of `host` that nobody listens on at this moment.

    None of those that systems give to whoever asks for any (from 32,768 on Linux): a service that loads a model binds its port
    long after it was chosen, and any connection made meanwhile might have it.

    Raises:
        ServiceError: there is none.
    """
    ports = random.sample(_CHOSEN, len(_CHOSEN))
    found = next((port for port in ports if _is_free(host, port)), None)
    if found is None:
        raise ServiceError(f"no port of {host} from {_CHOSEN[0]} to {_CHOSEN[-1]} is free")
    return found


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _is_free(host: str, port: int) -> bool:
    with socket.socket(_family(host)) as probe:
        # A port in TIME_WAIT may be bound again, and the services do so.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _address(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _script(name: str) -> str:
    """A console script of this environment, whatever PATH says."""
    return str(Path(sys.executable).parent / name)


def emulator(settings: Settings, *, speed: str = "1") -> Service:
    """The built-in market: synthetic, or replayed from the flat files that are set. `speed` is that of its streams."""
    # It listens on loopback alone, whatever address the others bind to.
    url = _address(_LOOPBACK, settings.port_emulator)
    tape = ("--flat-files", settings.flat_files) if settings.flat_files else ("--seed", str(EMULATOR_SEED))
    return Service(
        name="emulator",
        title="Market emulator",
        command=(
            *(sys.executable, "-m", "tapewatch.emulator"),
            *("--port", str(settings.port_emulator), "--speed", speed, *tape),
        ),
        url=url,
        port=settings.port_emulator,
        setting="TAPEWATCH_PORT_EMULATOR",
        health=f"{url}/v1/marketstatus/now?apiKey={PLACEHOLDER_KEY}",
    )


def _dagster_webserver(settings: Settings) -> Service:
    url = _address(settings.host, settings.port_dagster)
    return Service(
        name="dagster-webserver",
        title="Dagster",
        command=(
            *(_script("dagster-webserver"), "--module-name", _DEFINITIONS),
            *("--host", settings.host, "--port", str(settings.port_dagster)),
        ),
        url=url,
        port=settings.port_dagster,
        setting="TAPEWATCH_PORT_DAGSTER",
        health=f"{url}/server_info",
    )


def _dagster_daemon() -> Service:
    return Service(
        name="dagster-daemon",
        title="Dagster daemon",
        command=(_script("dagster-daemon"), "run", "--module-name", _DEFINITIONS),
        probe=(_script("dagster-daemon"), "liveness-check"),
    )


def _mlflow(settings: Settings) -> Service:
    url = _address(settings.host, settings.port_mlflow)
    return Service(
        name="mlflow",
        title="MLflow",
        command=(
            *(_script("mlflow"), "server"),
            *("--artifacts-destination", (settings.home / "mlflow" / "artifacts").resolve().as_uri()),
            # Each worker is 280 MB.
            *("--host", settings.host, "--port", str(settings.port_mlflow), "--workers", "1"),
        ),
        url=url,
        port=settings.port_mlflow,
        setting="TAPEWATCH_PORT_MLFLOW",
        health=f"{url}/health",
    )


def scoring_service(settings: Settings) -> Service:
    """The service that answers `POST /score`."""
    url = _address(settings.host, settings.port_scoring)
    return Service(
        name="scoring",
        title="Scoring service",
        command=(sys.executable, "-m", "orchestration.processes.scoring"),
        url=url,
        port=settings.port_scoring,
        setting="TAPEWATCH_PORT_SCORING",
        health=f"{url}/readyz",
        needs_bento=True,
    )
