"""A small real WebSocket server instead of the vendor, with faults chosen by a test.

It performs the handshake, then runs a script for each connection. Unlike the emulator it has no market.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import msgspec
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

KEY = "test-only-not-a-secret-0123456789"  # pragma: allowlist secret
#: Runs after a connection's subscription; receives the connection and its number from 1.
Script = Callable[[ServerConnection, int], Awaitable[None]]


def status(name: str, message: str = "") -> str:
    """A status frame."""
    return msgspec.json.encode([{"ev": "status", "status": name, "message": message}]).decode()


def trade(number: int) -> str:
    """A frame of one stock trade."""
    event = {"ev": "T", "sym": "AAPL", "x": 4, "p": 100.0, "s": 1, "t": 1_700_000_000_000 + number, "q": number}
    return msgspec.json.encode([event]).decode()


async def stay(_: ServerConnection, __: int) -> None:
    """Keep the connection open without sending anything."""
    await asyncio.Event().wait()


@dataclass
class ScriptedStream:
    """The server's behaviour and what it received.

    Attributes:
        script: runs after a connection's first subscription is confirmed.
        greet: sent instead of `connected`, by the connection's number.
        answer_to_auth: sent instead of `auth_success`.
        denied: refused channels with the messages.
        is_mute: whether no subscription is confirmed.
    """

    script: Script = stay
    greet: dict[int, str] = field(default_factory=dict)
    answer_to_auth: str = ""
    denied: dict[str, str] = field(default_factory=dict)
    is_mute: bool = False
    keys: list[str] = field(default_factory=list)
    asked: list[list[str]] = field(default_factory=list)
    opened_at: list[float] = field(default_factory=list)
    closes: list[int | None] = field(default_factory=list)
    url: str = ""

    async def converse(self, connection: ServerConnection) -> None:
        """Serve one connection."""
        self.opened_at.append(time.monotonic())
        number = len(self.opened_at)
        running: asyncio.Task[None] | None = None
        try:
            await connection.send(self.greet.get(number) or status("connected", "Connected Successfully"))
            async for message in connection:
                order = msgspec.json.decode(message)
                if order["action"] == "auth":
                    self.keys.append(order["params"])
                    await connection.send(self.answer_to_auth or status("auth_success", "authenticated"))
                else:
                    await self._subscribe(connection, order["params"].split(","))
                    running = running or asyncio.create_task(self._run(connection, number))
        except ConnectionClosed:
            return
        finally:
            self.closes.append(connection.close_code)
            if running is not None:
                running.cancel()

    async def _subscribe(self, connection: ServerConnection, names: list[str]) -> None:
        self.asked.append(names)
        if self.is_mute:
            return
        for name in names:
            words = self.denied.get(name.partition(".")[0])
            await connection.send(status("error", words) if words else status("success", f"subscribed to: {name}"))

    async def _run(self, connection: ServerConnection, number: int) -> None:
        try:
            await self.script(connection, number)
        except ConnectionClosed:
            return


@contextmanager
def serving(stream: ScriptedStream) -> Iterator[ScriptedStream]:
    """Serve `stream` on a free loopback port in its own thread."""
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    done = asyncio.Event()

    async def main() -> None:
        async with serve(stream.converse, "127.0.0.1", 0, ping_interval=None, close_timeout=0.2) as server:
            host, port = next(iter(server.sockets)).getsockname()[:2]
            stream.url = f"ws://{host}:{port}/stocks"
            ready.set()
            await done.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()), daemon=True)
    thread.start()
    if not ready.wait(180):
        raise TimeoutError("the scripted server did not start")
    try:
        yield stream
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join(60)
