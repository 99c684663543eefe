"""The dashboard in a process of its own, for one person who is logged in: `python -m tests.support.dashboard PORT`."""

import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import streamlit as st
import uvicorn
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send
from streamlit import config

from dashboard import identity
from dashboard.app import settle
from dashboard.identity import Identity
from dashboard.live.routes import ROUTES
from dashboard.server import SWITCH_S
from tapewatch.accounts.roles import ROLES
from tests.support import ask
from tests.support.ports import free_port

ANN = Identity("ann", "manager", ROLES["manager"])
_CHECKOUT = Path(__file__).resolve().parents[2]
_MAIN = _CHECKOUT / "dashboard" / "main.py"


class LoggedIn:
    """In place of the login's middleware: every request is Ann's."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app({**scope, identity.SCOPE: ANN}, receive, send)


@contextmanager
def serving(home: Path) -> Iterator[str]:
    """The address of a dashboard over a home."""
    port = free_port()
    command = [sys.executable, "-m", "tests.support.dashboard", str(port)]
    server = subprocess.Popen(command, cwd=_CHECKOUT, env=os.environ | {"TAPEWATCH_HOME": str(home)})
    address = f"http://127.0.0.1:{port}"
    try:
        while not _answers(address):
            assert server.poll() is None, "the dashboard ended before it answered"
            time.sleep(0.1)
        yield address
    finally:
        server.terminate()
        server.wait()


def _answers(address: str) -> bool:
    try:
        return ask.get(f"{address}/_stcore/health").is_success
    except httpx.TransportError:
        return False


@asynccontextmanager
async def _lifespan(_: st.App) -> AsyncIterator[dict[str, Any]]:
    settle()
    yield {}


def main(port: int) -> None:
    """Serve until SIGTERM."""
    identity.establish(lambda _: ANN)
    sys.setswitchinterval(SWITCH_S)
    options = {"browser.gatherUsageStats": False, "server.fileWatcherType": "none", "server.headless": True}
    options |= {"client.toolbarMode": "minimal", "runner.postScriptGC": False}
    config.get_config_options(force_reparse=True, options_from_flags=options)
    app = st.App(_MAIN, routes=ROUTES, middleware=[Middleware(LoggedIn)], lifespan=_lifespan)
    uvicorn.run(
        app, host="127.0.0.1", port=port, log_level="warning", ws="websockets-sansio", timeout_graceful_shutdown=1
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
