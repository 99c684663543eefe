"""The proxy of the compose files: a real Caddy with TLS in front of services that have the platform's own guard."""

import asyncio
import json
import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.asyncio.client import connect

from tapewatch.web.access import Access
from tapewatch.web.guard import Guard
from tests.support.ports import free_ports
from tests.support.unpacked import program

pytestmark = pytest.mark.slow

CADDYFILE = Path(__file__).resolve().parents[2] / "deployment" / "compose" / "Caddyfile"
SERVICES = ("dagster", "mlflow", "scoring", "dashboard")
TOKEN = "t" * 24
PATIENCE_S = 180


def service(name: str, host: str) -> Guard:
    """A guarded service that says which it is, and repeats what a WebSocket sends."""

    async def about(request: Request) -> JSONResponse:
        return JSONResponse({"service": name, "for": request.headers["x-forwarded-proto"]})

    async def repeat(client: WebSocket) -> None:
        await client.accept()
        await client.send_text(await client.receive_text())

    app = Starlette(routes=[Route("/about", about, methods=["GET", "POST"]), WebSocketRoute("/socket", repeat)])
    return Guard(app, access=Access.of("0.0.0.0", [host], TOKEN))  # noqa: S104 - nothing is bound to it


def wait_until(is_reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_reached():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@dataclass(frozen=True, slots=True)
class Proxy:
    port: int
    trusted: ssl.SSLContext

    def ask(self, name: str, method: str = "GET", **headers: str) -> httpx.Response:
        with httpx.Client(verify=self.trusted, trust_env=False) as client:
            return client.request(
                method, f"https://127.0.0.1:{self.port}/about",
                headers={"host": name, "authorization": f"Bearer {TOKEN}", **headers}, extensions={"sni_hostname": name},
            )  # fmt: skip


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    home = tmp_path_factory.mktemp("caddy")
    port, plain_port, *behind = free_ports(6)
    names = {f"{name.upper()}_NAME": f"{name}.localhost" for name in SERVICES}
    places = {name.upper(): f"127.0.0.1:{each}" for name, each in zip(SERVICES, behind, strict=True)}
    environment = {**os.environ, **names, **places, "XDG_DATA_HOME": str(home), "XDG_CONFIG_HOME": str(home)}
    caddy = program("caddy", "caddy")
    adapted = subprocess.run(
        [caddy, "adapt", "--config", CADDYFILE], env=environment, stdout=subprocess.PIPE, check=True
    )
    config = json.loads(adapted.stdout)
    # Free ports, and certificates of an authority that only this test trusts: Caddy makes them for names in .localhost.
    config["admin"] = {"disabled": True}
    config["apps"]["http"] |= {"http_port": plain_port, "https_port": port}
    config["apps"]["http"]["servers"]["srv0"]["listen"] = [f"127.0.0.1:{port}"]
    config["apps"]["pki"] = {"certificate_authorities": {"local": {"install_trust": False}}}
    (home / "caddy.json").write_text(json.dumps(config))
    with ExitStack() as stack:
        for name, each in zip(SERVICES, behind, strict=True):
            server = uvicorn.Server(uvicorn.Config(service(name, f"{name}.localhost"), port=each, log_level="warning"))
            thread = threading.Thread(target=server.run)
            thread.start()
            stack.callback(thread.join)
            stack.callback(setattr, server, "should_exit", True)
            wait_until(lambda server=server: server.started)
        process = subprocess.Popen(
            [caddy, "run", "--config", home / "caddy.json"], env=environment, stderr=(home / "log").open("w")
        )
        stack.callback(process.wait)
        stack.callback(process.terminate)
        root = home / "caddy" / "pki" / "authorities" / "local" / "root.crt"
        wait_until(root.exists)
        found = Proxy(port, ssl.create_default_context(cafile=str(root)))

        def answers() -> bool:
            try:
                return all(found.ask(f"{name}.localhost").status_code == 200 for name in SERVICES)
            except httpx.TransportError:
                return False

        wait_until(answers)
        yield found


@pytest.mark.parametrize("name", SERVICES)
def test_each_name_leads_to_its_service_over_tls(proxy: Proxy, name: str) -> None:
    assert proxy.ask(f"{name}.localhost").json() == {"service": name, "for": "https"}


def test_a_page_of_one_service_may_not_write_to_another(proxy: Proxy) -> None:
    own, other = "https://dashboard.localhost", "https://mlflow.localhost"
    sent = {"content-type": "application/json"}
    assert proxy.ask(
        "dashboard.localhost", "POST", origin=f"{own}:{proxy.port}", host=f"dashboard.localhost:{proxy.port}", **sent
    ).is_success
    assert proxy.ask("dashboard.localhost", "POST", origin=other, **sent).status_code == 403


def test_the_token_is_asked_for_behind_the_proxy_too(proxy: Proxy) -> None:
    assert proxy.ask("dagster.localhost", authorization="Bearer wrong").status_code == 401


async def echoed(proxy: Proxy, name: str) -> object:
    """What a service answers to a message. In one thread: OpenSSL's connections are not safe for a reader beside a writer."""
    options = {"ssl": proxy.trusted, "additional_headers": {"Authorization": f"Bearer {TOKEN}"}, "proxy": None}
    reached = socket.create_connection(("127.0.0.1", proxy.port))
    async with connect(f"wss://{name}/socket", sock=reached, open_timeout=PATIENCE_S, **options) as open_socket:
        await open_socket.send("tick")
        return await asyncio.wait_for(open_socket.recv(), PATIENCE_S)


def test_websockets_pass(proxy: Proxy) -> None:
    assert asyncio.run(echoed(proxy, "dagster.localhost")) == "tick"
