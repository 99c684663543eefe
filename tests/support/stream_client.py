"""A client of the vendor's WebSocket that keeps what it gets: frames, statuses, why the connection ended."""

import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

#: How long a stream may be silent before a test gives up: tests share two cores with others.
PATIENCE_S = 240.0
#: When an unanswered ping ends a connection. Short where a test waits for just that.
PING_TIMEOUT_S = 120.0


@dataclass
class Heard:
    """What one or more connections delivered."""

    events: list[dict[str, Any]] = field(default_factory=list)
    statuses: list[dict[str, Any]] = field(default_factory=list)
    bad_frames: list[str] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)

    def of(self, channel: str) -> list[dict[str, Any]]:
        """The events of a channel, as they came."""
        return [event for event in self.events if event["ev"] == channel]

    def take(self, frame: str) -> None:
        """One frame."""
        try:
            events = json.loads(frame)
        except json.JSONDecodeError:
            self.bad_frames.append(frame)
            return
        for event in events:
            (self.statuses if event["ev"] == "status" else self.events).append(event)


def progress(url: str, market: str) -> dict[str, Any]:
    """What the emulator says of a stream."""
    asked = httpx.get(f"{url}/emulator/v1/stream", params={"market": market}, timeout=PATIENCE_S)
    answer: dict[str, Any] = asked.json()
    return answer


async def hello(socket: ClientConnection, key: str = "k") -> list[dict[str, Any]]:
    """Greet and authenticate; the two statuses."""
    greeting = json.loads(await socket.recv())
    await socket.send(json.dumps({"action": "auth", "params": key}))
    return [*greeting, *json.loads(await socket.recv())]


async def ask(socket: ClientConnection, action: str, params: str) -> list[dict[str, Any]]:
    """Subscribe or unsubscribe; the statuses, whatever events come before them."""
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
) -> Heard:
    """Everything of some channels until the stream is done, over as many connections as that takes."""
    heard = Heard()
    for _ in range(connections):
        try:
            await _listen_once(url, market, channels, key, ping_timeout_s, heard)
        except ConnectionClosed as closed:
            heard.ends[str(closed.rcvd.code) if closed.rcvd else "lost"] += 1
        else:
            return heard
    raise AssertionError(f"not done after {connections} connections: {heard.ends}")


async def _listen_once(url: str, market: str, channels: str, key: str, ping_timeout_s: float, heard: Heard) -> None:
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
        heard.statuses += await hello(socket, key)
        await socket.send(json.dumps({"action": "subscribe", "params": channels}))
        silent_since, is_done = time.monotonic(), False
        while time.monotonic() < silent_since + PATIENCE_S:
            try:
                heard.take(await asyncio.wait_for(socket.recv(), 0.1))
                silent_since = time.monotonic()
            except TimeoutError:
                # A stream is done when its end has come: what is not read yet is here by then.
                if is_done:
                    return
                is_done = (await asyncio.to_thread(progress, url, market))["is_done"]
    raise AssertionError(f"{market}: no frame for {PATIENCE_S:.0f} s, and the stream is not done: {heard.ends}")


def listened(url: str, market: str, channels: str, **options: Any) -> Heard:
    """`listen`, for tests without a loop."""
    return asyncio.run(listen(url, market, channels, **options))
