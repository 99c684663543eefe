"""A client of the vendor's WebSocket that keeps events, statuses, and how connections ended."""

import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.support.ask import get

#: Maximum silence of a stream, on a busy machine.
PATIENCE_S = 240.0
#: Ends a connection after an unanswered ping. Tests of silent connections use a shorter time.
PING_TIMEOUT_S = 120.0


@dataclass
class Received:
    """The messages of one or more connections."""

    events: list[dict[str, Any]] = field(default_factory=list)
    statuses: list[dict[str, Any]] = field(default_factory=list)
    bad_frames: list[str] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)

    def of(self, channel: str) -> list[dict[str, Any]]:
        """The events of a channel in order of arrival."""
        return [event for event in self.events if event["ev"] == channel]

    def take(self, frame: str) -> None:
        """Parse and keep a frame."""
        try:
            events = json.loads(frame)
        except json.JSONDecodeError:
            self.bad_frames.append(frame)
            return
        for event in events:
            (self.statuses if event["ev"] == "status" else self.events).append(event)


def progress(url: str, market: str, key: str | None = None) -> dict[str, Any]:
    """The emulator's progress report of a stream, for one key or for any."""
    asked = {"market": market} | ({} if key is None else {"key": key})
    reply: dict[str, Any] = get(f"{url}/emulator/v1/stream", params=asked, timeout=PATIENCE_S).json()
    return reply


async def hello(socket: ClientConnection, key: str = "k") -> list[dict[str, Any]]:
    """Read the greeting and authenticate; returns both statuses."""
    greeting = json.loads(await socket.recv())
    await socket.send(json.dumps({"action": "auth", "params": key}))
    return [*greeting, *json.loads(await socket.recv())]


async def ask(socket: ClientConnection, action: str, params: str) -> list[dict[str, Any]]:
    """Subscribe or unsubscribe; returns the statuses and skips earlier events."""
    await socket.send(json.dumps({"action": action, "params": params}))
    while True:
        events: list[dict[str, Any]] = json.loads(await asyncio.wait_for(socket.recv(), PATIENCE_S))
        if events and events[0]["ev"] == "status":
            return events


async def listen(
    url: str,
    market: str,
    channels: str,
    *,
    key: str = "k",
    connections: int = 50,
    ping_timeout_s: float = PING_TIMEOUT_S,
) -> Received:
    """All messages of some channels until the stream is done, over as many connections as needed."""
    received = Received()
    for _ in range(connections):
        try:
            await _listen_once(url, market, channels, key, ping_timeout_s, received)
        except ConnectionClosed as closed:
            received.ends[str(closed.rcvd.code) if closed.rcvd else "lost"] += 1
        else:
            return received
    raise AssertionError(f"not done after {connections} connections: {received.ends}")


async def _listen_once(
    url: str, market: str, channels: str, key: str, ping_timeout_s: float, received: Received
) -> None:
    address = f"{url.replace('http', 'ws', 1)}/{market}"
    async with connect(
        address,
        max_size=None,
        compression=None,
        open_timeout=PATIENCE_S,
        ping_interval=0.5,
        ping_timeout=ping_timeout_s,
        close_timeout=0.2,
    ) as socket:
        received.statuses += await hello(socket, key)
        await socket.send(json.dumps({"action": "subscribe", "params": channels}))
        silent_since, is_done = time.monotonic(), False
        while time.monotonic() < silent_since + PATIENCE_S:
            try:
                received.take(await asyncio.wait_for(socket.recv(), 0.1))
                silent_since = time.monotonic()
            except TimeoutError:
                # Once the key's stream is done, everything has been sent: one more read suffices. Another key's may be done
                # before this one begins.
                if is_done:
                    return
                is_done = (await asyncio.to_thread(progress, url, market, key))["is_done"]
    raise AssertionError(f"{market}: no frame for {PATIENCE_S:.0f} s, and the stream is not done: {received.ends}")


def listened(url: str, market: str, channels: str, **options: Any) -> Received:
    """`listen`, for tests without a loop."""
    return asyncio.run(listen(url, market, channels, **options))
