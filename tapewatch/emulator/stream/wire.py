"""The server's side of a WebSocket, close to the socket: it sends encoded frames as they are and can simulate broken connections.

It replaces uvicorn's own WebSocket protocol, whose cost per message is higher than that of building the message.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, cast

from websockets.exceptions import InvalidState
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

_FINAL_TEXT = 0x81
_SHORT, _MEDIUM = 126, 1 << 16
_HIGH_WATER = 256 * 1024
_LARGEST_REQUEST = 1 << 20
_CLOSE_TIMEOUT_S = 2.0
_GOING_AWAY = 1001


class Listener(Protocol):
    """Receives a connection's events."""

    def on_open(self) -> None:
        """The handshake is done."""

    def on_message(self, text: str) -> None:
        """A message from the client."""

    def on_close(self) -> None:
        """The connection ended, or nothing more can be sent over it."""


class ServerState(Protocol):
    """The state that uvicorn shares between connections."""

    connections: set[Any]


class Wire(asyncio.Protocol):
    """A connection.

    Args:
        server_state: uvicorn's; it closes the connections in it when it stops.
        choose: returns the listener for a path, or None for an unknown path.
    """

    def __init__(self, server_state: ServerState, choose: Callable[[str, "Wire"], Listener | None]) -> None:
        self._connections = server_state.connections
        self._choose = choose
        self._listener: Listener | None = None
        # No compression: it would cost more than everything else.
        self._protocol = ServerProtocol(extensions=[], max_size=_LARGEST_REQUEST)
        self._writable = asyncio.Event()
        self._writable.set()
        self._transport: asyncio.Transport
        self._text = bytearray()
        self._held: list[bytes] | None = None
        self._pings: deque[tuple[bytes, asyncio.Event]] = deque()
        self._pinged = 0
        self.is_silent = False
        self.is_closed = False

    # Called by uvicorn and asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=_HIGH_WATER)
        self._connections.add(self)

    def connection_lost(self, _: Exception | None) -> None:
        self._connections.discard(self)
        self._end()

    def eof_received(self) -> None:
        self._protocol.receive_eof()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def shutdown(self) -> None:
        """Called when uvicorn stops."""
        if self.is_silent:
            self._transport.abort()
        else:
            self.close(_GOING_AWAY)
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Request):
                self._accept(event)
            elif isinstance(event, Frame):
                self._receive(event)
        self._flush()

    # Called by listeners.

    async def send(self, payload: bytes) -> None:
        """Send one text message and wait while the client reads too slowly."""
        self.send_now(payload)
        await self._writable.wait()

    async def trickle(self, payload: bytes, pieces: int, pause_s: float) -> None:
        """Send one text message in pieces, with a pause before each."""
        frame = header(len(payload)) + payload
        size = max(1, -(-len(frame) // pieces))
        # A pong between the pieces would be read as part of the message.
        self._held = []
        for start in range(0, len(frame), size):
            await asyncio.sleep(pause_s)
            if not self.is_closed:
                self._transport.write(frame[start : start + size])
        held, self._held = self._held, None
        for data in held:
            self._write(data)

    def send_now(self, payload: bytes) -> None:
        """Send one text message without waiting."""
        self._write(header(len(payload)) + payload)

    async def taken(self) -> bool:
        """Wait until the client has read everything sent before; False if the connection ends first."""
        if self.is_closed:
            return False
        self._pinged += 1
        mark, is_answered = str(self._pinged).encode(), asyncio.Event()
        self._pings.append((mark, is_answered))
        self._protocol.send_ping(mark)
        self._flush()
        await is_answered.wait()
        return not self.is_closed

    def close(self, code: int, reason: str = "") -> None:
        """Close by the protocol's closing handshake."""
        if self.is_closed:
            return
        try:
            self._protocol.send_close(code, reason)
        except InvalidState:
            self._transport.close()
        self._flush()
        self._end()
        asyncio.get_running_loop().call_later(_CLOSE_TIMEOUT_S, self._transport.close)

    def abort(self) -> None:
        self._end()
        self._transport.abort()

    def truncate(self, payload: bytes) -> None:
        """Announce a message, send half of it and end the TCP connection."""
        self._write(header(len(payload)) + payload[: len(payload) // 2])
        self._end()
        self._transport.close()

    def stop_responding(self) -> None:
        """Keep the TCP connection and never read or write again: no message, no pong, no close."""
        self.is_silent = True
        self._transport.pause_reading()
        self._end()

    def _accept(self, request: Request) -> None:
        response = self._protocol.accept(request)
        if response.status_code == 101:
            self._listener = self._choose(request.path.partition("?")[0], self)
            if self._listener is None:
                response = self._protocol.reject(404, "No stream is served here.\n")
        self._protocol.send_response(response)
        self._flush()
        if self._listener is None:
            self._transport.close()
        else:
            self._listener.on_open()

    def _receive(self, frame: Frame) -> None:
        if frame.opcode is Opcode.CLOSE:
            self._flush()
            self._transport.close()
            self._end()
        elif frame.opcode is Opcode.PONG:
            self._answered(bytes(frame.data))
        elif frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            self._text += frame.data
            if frame.fin and self._listener is not None and not self.is_closed:
                text, self._text = self._text.decode(errors="replace"), bytearray()
                self._listener.on_message(text)

    def _answered(self, mark: bytes) -> None:
        """A pong answers the ping that it names and all before it."""
        if any(asked == mark for asked, _ in self._pings):
            while (ping := self._pings.popleft())[0] != mark:
                ping[1].set()
            ping[1].set()

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._write(data)
            elif self._transport.can_write_eof() and not self.is_silent:
                self._transport.close()

    def _write(self, data: bytes) -> None:
        if self._held is not None:
            self._held.append(data)
        elif not (self.is_silent or self._transport.is_closing()):
            self._transport.write(data)

    def _end(self) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        # Wake tasks that wait for the client to read: it never will.
        self._writable.set()
        while self._pings:
            self._pings.popleft()[1].set()
        if self._listener is not None:
            self._listener.on_close()


def header(size: int) -> bytes:
    """The header of an unmasked text frame with a payload of `size` bytes."""
    if size < _SHORT:
        return bytes((_FINAL_TEXT, size))
    if size < _MEDIUM:
        return bytes((_FINAL_TEXT, 126)) + size.to_bytes(2, "big")
    return bytes((_FINAL_TEXT, 127)) + size.to_bytes(8, "big")
