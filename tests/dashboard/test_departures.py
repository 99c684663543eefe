"""A WebSocket whose browser has left while a message was on its way."""

import asyncio
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from starlette.middleware import Middleware
from streamlit.proto.BackMsg_pb2 import BackMsg

from dashboard.departures import Departures

_SCOPE = {
    "type": "websocket",
    "path": "/_stcore/stream",
    "raw_path": b"/_stcore/stream",
    "root_path": "",
    "query_string": b"",
    "headers": [(b"host", b"localhost")],
    "subprotocols": ["streamlit"],
    "client": ("127.0.0.1", 1),
    "server": ("localhost", 80),
    "scheme": "ws",
}


async def leave(app: st.App) -> None:
    """Open Streamlit's WebSocket, and leave while the first message is sent."""
    has_left = asyncio.Event()
    messages = iter(
        [
            {"type": "websocket.connect"},
            {"type": "websocket.receive", "bytes": BackMsg(rerun_script={}).SerializeToString()},
            # What was under way when the browser left.
            {"type": "websocket.receive", "bytes": BackMsg(stop_script=True).SerializeToString()},
        ]
    )
    received = 0

    async def receive() -> MutableMapping[str, Any]:
        nonlocal received
        received += 1
        if received > 2:
            await has_left.wait()
        return next(messages)

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] != "websocket.accept":
            has_left.set()
            raise OSError("away")

    async with app.lifespan()(app):
        await app(dict(_SCOPE), receive, send)


@pytest.fixture
def script(tmp_path: Path) -> Path:
    script = tmp_path / "main.py"
    script.write_text("import streamlit as st\nst.write('a page')\n")
    return script


def test_a_browser_that_leaves_in_the_middle_of_a_message_raises_nothing(script: Path) -> None:
    asyncio.run(leave(st.App(script, middleware=[Middleware(Departures)])))


def test_streamlit_itself_raises(script: Path) -> None:
    """Once this fails, `Departures` can go."""
    with pytest.raises(RuntimeError):
        asyncio.run(leave(st.App(script)))
