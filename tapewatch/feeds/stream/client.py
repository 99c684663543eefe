"""One market's stream over one socket, kept alive for ever: connect, authenticate, subscribe, and then only enqueue.

The key appears in the one message that carries it, never in a log, an address or an error.
"""

import asyncio
import ipaddress
import logging
import random
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from tapewatch.feeds.errors import scrub
from tapewatch.feeds.source import SourceError
from tapewatch.feeds.stream.channels import StreamReply, Subscriber, message, replies_in
from tapewatch.feeds.stream.decode.decoder import Frame
from tapewatch.feeds.stream.policy import ConnectionPolicy, Stats
from tapewatch.feeds.stream.queue import FrameQueue, Marker, MarkerKind

_POLICY_VIOLATION: Final = 1008
_UNAUTHORISED: Final = 401
#: Messages that the library holds before it stops reading; the receiver is quick, so this is for bursts.
_WAITING_MESSAGES: Final = 1024
_STATUS: Final = b'"status"'
#: No status of the server's is longer; frames above are not searched for its last words.
_LONGEST_STATUS: Final = 4096
# How the server words it that it does not take the key, where its status only says `error`.
_UNKNOWN_KEY: Final = ("authentication failed", "not authorized")
_log = logging.getLogger(__name__)
# The library writes what it sends at DEBUG, the key too: it logs here, and never that finely.
_library_log = logging.getLogger(f"{__name__}.library")
_library_log.setLevel(logging.WARNING)


class StreamError(SourceError):
    """A stream cannot be had; the message says why, and the way out."""


class StreamAuthenticationError(StreamError):
    """The server does not know the key. Asking again with it is of no use."""


class _CrowdedError(Exception):
    """The server has too many connections of this key, or refuses this one by policy."""


class _LostError(Exception):
    """The connection ended, or never came about; it may be tried again."""


class StreamClient:
    """A market's stream into a queue.

    Args:
        url: the cluster's address, `wss://…/stocks`.
        key: the vendor's key.
        subscriptions: as the vendor spells them, `T.AAPL`, `AM.*`.
        queue: takes frames as they come, and markers for what befalls the connection.
        policy: patience.

    Raises:
        StreamError: the address is none, the key is empty, or nothing is subscribed to.
    """

    def __init__(
        self,
        url: str,
        key: str,
        subscriptions: Sequence[str],
        queue: FrameQueue,
        policy: ConnectionPolicy | None = None,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("ws", "wss") or not parts.hostname or parts.query:
            raise StreamError(f"{scrub(url, key)} is no WebSocket address: write it as wss://host/market")
        if not key:
            raise StreamError("there is no key for the stream: set POLYGON_API_KEY")
        if not subscriptions:
            raise StreamError(f"nothing is subscribed to at {url}: name a channel that the plan grants")
        self.url, self.subscriptions = url, tuple(subscriptions)
        self.policy = policy or ConnectionPolicy()
        self.stats = Stats()
        self._key, self._queue = key, queue
        self._is_local = _is_loopback(parts.hostname)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._opening: asyncio.Task[ClientConnection] | None = None
        self._is_stopping = False
        self._failures = 0
        self._streaming_since = 0.0
        self._has_said_crowded = False
        self._is_silent = False
        self._last_frame = b""

    def stop(self) -> None:
        """End `run` and close the connection properly; from any thread."""
        self._is_stopping = True
        if self._loop is not None:
            # A loop that is closed, maybe just now by its own thread, refuses: there is nothing left to stop.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._stop_here)

    def _stop_here(self) -> None:
        self._stop.set()
        if self._opening is not None:
            self._opening.cancel()

    async def run(self) -> None:
        """Stream until `stop`, through any number of lost connections.

        Raises:
            StreamAuthenticationError: the server does not know the key.
        """
        self._loop = asyncio.get_running_loop()
        if self._is_stopping:
            self._stop.set()
        while not self._stop.is_set():
            least = 0.0
            try:
                await self._stream_once()
            except _CrowdedError as error:
                least = self.policy.crowded_wait_s
                self._tell_crowded(str(error))
            except _LostError as error:
                self.stats.last_cause = str(error)
            except StreamAuthenticationError as error:
                self.stats.state = "refused"
                self.stats.last_cause = str(error)
                self._mark("refused", str(error))
                raise
            if not self._stop.is_set():
                await self._wait(least)
        self.stats.state = "stopped"

    async def _wait(self, least_s: float) -> None:
        """Wait before the next try: a random part of a time that doubles with each failure (Brooker 2015, full jitter)."""
        seconds = least_s + random.uniform(0, self.policy.longest_wait(self._failures))  # noqa: S311 - spreads load
        self._failures += 1
        self.stats.failures += 1
        self.stats.state = "waiting"
        _log.info("%s: trying again in %.1f s: %s", self.url, seconds, self.stats.last_cause)
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return

    async def _stream_once(self) -> None:
        """One connection from its handshake to its end, which always raises unless it was stopped."""
        self.stats.state, self._last_frame = "connecting", b""
        self._is_silent = False
        connection = await self._open()
        stopper = asyncio.create_task(self._close_on_stop(connection))
        try:
            await self._authenticate(connection)
            await self._receive(connection)
        except ConnectionClosed as error:
            self._judge_end(error)
        finally:
            stopper.cancel()
            await connection.close()

    async def _open(self) -> ClientConnection:
        self._opening = asyncio.create_task(self._connect())
        try:
            return await self._opening
        except asyncio.CancelledError:
            if not self._stop.is_set():
                raise
            raise _LostError("stopped") from None
        except InvalidStatus as error:
            if error.response.status_code == _UNAUTHORISED:
                raise self._unknown_key("HTTP 401") from None
            raise _LostError(f"the server answered HTTP {error.response.status_code}") from error
        except (OSError, EOFError, WebSocketException) as error:
            raise _LostError(scrub(f"no connection: {error or type(error).__name__}", self._key)) from error
        finally:
            self._opening = None

    async def _connect(self) -> ClientConnection:
        return await connect(
            self.url,
            compression=self.policy.compression,
            open_timeout=self.policy.open_timeout_s,
            close_timeout=self.policy.close_timeout_s,
            ping_interval=None,
            max_size=self.policy.max_message_bytes,
            max_queue=_WAITING_MESSAGES,
            logger=_library_log,
            proxy=None if self._is_local else True,
        )

    async def _close_on_stop(self, connection: ClientConnection) -> None:
        await self._stop.wait()
        await connection.close()

    async def _authenticate(self, connection: ClientConnection) -> None:
        self.stats.state = "authenticating"
        await self._hear(connection, "connected")
        await connection.send(message("auth", self._key))
        await self._hear(connection, "auth_success")

    async def _hear(self, connection: ClientConnection, wanted: str) -> None:
        """Wait for a status of the server's."""
        try:
            async with asyncio.timeout(self.policy.reply_timeout_s):
                while True:
                    self._last_frame = await connection.recv(decode=False)
                    for reply in replies_in(self._last_frame):
                        if reply.status == wanted:
                            return
                        words = reply.message.lower()
                        if reply.status == "error" and any(phrase in words for phrase in _UNKNOWN_KEY):
                            raise self._unknown_key(reply.message)
                        self._heed(reply)
        except TimeoutError:
            raise _LostError(f"no {wanted} from the server within {self.policy.reply_timeout_s:g} s") from None

    def _heed(self, reply: StreamReply) -> None:
        if reply.status == "auth_failed":
            raise self._unknown_key(reply.message)
        if reply.status == "max_connections":
            raise _CrowdedError(scrub(reply.message or reply.status, self._key))

    def _unknown_key(self, words: str) -> StreamAuthenticationError:
        return StreamAuthenticationError(
            f"{self.url} does not accept the key ({scrub(words, self._key)}): set POLYGON_API_KEY to a key whose plan streams "
            "this market"
        )

    async def _receive(self, connection: ClientConnection) -> None:
        """Subscribe, then enqueue until the connection ends."""
        stats, queue, clock = self.stats, self._queue, time.time_ns
        subscriber = Subscriber(self.subscriptions, self.policy.subscribe_bytes, stats, self._tell_refused)
        stats.connections += 1
        stats.state, stats.streaming_since_ns = "streaming", clock()
        self._streaming_since = time.monotonic()
        self._mark("connected", self.url)
        pulse = asyncio.create_task(self._feel_pulse(connection, subscriber))
        try:
            await _send(connection, subscriber.ask())
            while True:
                data = await connection.recv(decode=False)
                now = clock()
                queue.put(Frame(data, now))
                self._last_frame = data
                stats.frames += 1
                stats.bytes += len(data)
                stats.last_frame_ns = now
                if subscriber.is_waiting and _STATUS in data:
                    await _send(connection, subscriber.hear(data))
        finally:
            pulse.cancel()

    def _tell_refused(self, words: str) -> None:
        detail = scrub(words, self._key)
        _log.warning("%s refuses %s; the others go on", self.url, detail)
        self._mark("refused", detail)

    async def _feel_pulse(self, connection: ClientConnection, subscriber: Subscriber) -> None:
        """See that the server lives, though the market may be silent, and end the connection where it does not."""
        policy = self.policy
        try:
            while True:
                await asyncio.sleep(policy.ping_interval_s)
                await _send(connection, subscriber.give_up(policy.reply_timeout_s))
                frames = self.stats.frames
                pong = await connection.ping()
                try:
                    await asyncio.wait_for(pong, policy.ping_timeout_s)
                except TimeoutError:
                    if self.stats.frames == frames:
                        self._is_silent = True
                        connection.transport.abort()
                        return
        except ConnectionClosed:
            return  # the receiver hears of it, and judges it

    def _judge_end(self, error: ConnectionClosed) -> None:
        """Say why a connection ended, unless it was stopped here."""
        cause = self._cause(error)
        if self.stats.state == "streaming":
            self._mark("disconnected", cause)
            if time.monotonic() - self._streaming_since >= self.policy.healthy_after_s:
                self._failures, self._has_said_crowded = 0, False
        if self._is_stopping:
            self.stats.last_cause = cause
            return
        for reply in replies_in(self._last_frame) if len(self._last_frame) <= _LONGEST_STATUS else ():
            self._heed(reply)
        if error.rcvd is not None and error.rcvd.code == _POLICY_VIOLATION:
            raise _CrowdedError(cause)
        raise _LostError(cause)

    def _cause(self, error: ConnectionClosed) -> str:
        if self._is_stopping:
            return "stopped"
        if error.rcvd is not None:
            return scrub(f"the server closed with {error.rcvd.code} {error.rcvd.reason}".rstrip(), self._key)
        if self._is_silent:
            return f"no sign of life for {self.policy.ping_timeout_s:g} s"
        words = error.__cause__ or error
        return scrub(f"the connection broke: {words}", self._key)

    def _tell_crowded(self, words: str) -> None:
        self.stats.last_cause = words
        if not self._has_said_crowded:
            self._has_said_crowded = True
            self._mark("refused", words)
            _log.warning(
                "%s: %s. One key may hold one connection a market: stop the other one, which may be an earlier collector. "
                "Trying again every %.0f s or more",
                self.url,
                words,
                self.policy.crowded_wait_s,
            )

    def _mark(self, kind: MarkerKind, detail: str) -> None:
        self._queue.mark(Marker(kind, time.time_ns(), detail))


async def _send(connection: ClientConnection, words: str | None) -> None:
    if words is not None:
        await connection.send(words)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
