"""The login of the dashboard in this process: real middleware, routes and database, with plain pages in place of Streamlit."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import httpx
import pytest
from argon2 import PasswordHasher
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket

from dashboard import identity
from dashboard.app import entrance
from tapewatch.accounts import passwords
from tapewatch.settings import Settings
from tapewatch.store.database.database import Database
from tests.support.login import add_person


async def exported(request: Request) -> Response:
    """A route of the pages that needs the permission to export."""
    if not identity.permitted(request, "export"):
        return JSONResponse({"error": "no"}, 403)
    return JSONResponse({"name": identity.of(request).name, "headers": dict(request.headers)})


async def ticks(_: Request) -> Response:
    """A stream of events without an end."""

    async def endless() -> Any:
        while True:
            yield "data: tick\n\n"
            await anyio.sleep(0.02)

    return StreamingResponse(endless(), media_type="text/event-stream")


async def echoed(websocket: WebSocket) -> None:
    """In place of Streamlit's WebSocket: says what a script could see of the handshake."""
    await websocket.accept()
    await websocket.send_json({"headers": dict(websocket.headers), "cookies": websocket.cookies})
    while (await websocket.receive())["type"] != "websocket.disconnect":
        pass


async def anything(request: Request) -> Response:
    """In place of Streamlit's files."""
    return JSONResponse({"path": request.url.path, "headers": dict(request.headers)})


PAGES: list[BaseRoute] = [Route("/tape/export/candles.{form}", exported), Route("/tape/events", ticks)]
STREAMLIT: list[BaseRoute] = [WebSocketRoute("/_stcore/stream", echoed), Mount("/", Route("/{path:path}", anything))]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(home=tmp_path_factory.mktemp("home"), _env_file=None)


@pytest.fixture(scope="module")
def database(settings: Settings) -> Iterator[Database]:
    with pytest.MonkeyPatch.context() as patch, Database(settings.database) as opened:
        patch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        passwords._nobodys.cache_clear()
        for role in ("viewer", "user", "manager", "admin"):
            add_person(opened, role, role)
        yield opened
    passwords._nobodys.cache_clear()


@pytest.fixture
def app(settings: Settings, database: Database) -> Starlette:
    return made(settings, database)


def made(settings: Settings, database: Database) -> Starlette:
    """The application; each has a count of attempts by address of its own."""
    routes, middleware = entrance(settings, database, PAGES)
    return Starlette(routes=[*routes, *STREAMLIT], middleware=middleware)


@pytest.fixture
def app_with_totp(settings: Settings, database: Database) -> Starlette:
    """As `app`, where everyone needs a second factor."""
    return made(settings.model_copy(update={"require_totp": True}), database)


@pytest.fixture
def client(app: Starlette) -> Iterator[TestClient]:
    with TestClient(app, follow_redirects=False) as opened:
        yield opened


@pytest.fixture
def other(app: Starlette) -> Iterator[TestClient]:
    """Another browser."""
    with TestClient(app, follow_redirects=False) as opened:
        yield opened


def is_in(client: httpx.Client) -> bool:
    """Whether the dashboard is open to a browser."""
    return client.get("/", headers={"accept": "text/html"}).status_code == 200


def until(holds: Callable[[], bool]) -> None:
    """Wait for a condition, however long a busy machine takes."""
    while not holds():
        time.sleep(0.1)
