"""One market's stream over one WebSocket, kept alive: connect, authenticate, subscribe, then enqueue frames.

The key appears only in the message that sends it, never in a log, an address or an error.
"""

import asyncio
import logging
import random
import ssl
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, SecurityError, WebSocketException

from tapewatch.feeds.errors import scrub
from tapewatch.feeds.source import SourceError
from tapewatch.feeds.stream.channels import StreamReply, Subscriber, message, replies_in
from tapewatch.feeds.stream.decode.decoder import Frame
from tapewatch.feeds.stream.policy import ConnectionPolicy, Stats, expect_asked_server
from tapewatch.feeds.stream.queue import FrameQueue, Marker, MarkerKind
from tapewatch.feeds.stream.tls import trusted_by
from tapewatch.network import is_loopback

_POLICY_VIOLATION: Final = 1008
_UNAUTHORISED: Final = 401
#: Messages that the library buffers before it stops reading from the socket, for bursts.
_WAITING_MESSAGES: Final = 1024
_STATUS: Final = b'"status"'
#: Status messages are shorter; a longer last frame is not searched for the reason of a disconnect.
_LONGEST_STATUS: Final = 4096
# Texts of a rejected key with the status `error`.
_REJECTED_KEY: Final = ("authentication failed", "not authorized")
_log = logging.getLogger(__name__)
# At DEBUG the library logs what it sends, including the key.
_library_log = logging.getLogger(f"{__name__}.library")
_library_log.setLevel(logging.WARNING)


class StreamError(SourceError):
    """A stream is not available; the message says why, and the way out."""


class StreamAuthenticationError(StreamError):
    """The server does not accept the key; further attempts with it are useless."""


class StreamCertificateError(StreamError):
    """The server's certificate is not trusted; further attempts would meet the same."""


class _CrowdedError(Exception):
    """The server has too many connections of this key, or refuses this one by policy."""


class _LostError(Exception):
    """The connection ended or could not be made; another attempt may succeed."""


class StreamClient:
    """Receives a market's stream into a queue.

    Args:
        url: the cluster's address, `wss://…/stocks`.
        subscriptions: in the vendor's spelling, `T.AAPL`, `AM.*`.
        queue: receives the frames, and markers for connection events.
        policy: timeouts and back-off.

    Raises:
        StreamError: the address is not valid, the key is empty, or there are no subscriptions.
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
            raise StreamError(f"{scrub(url, key)} is not a WebSocket address: write it as wss://host/market")
        if not key:
            raise StreamError("there is no key for the stream: set POLYGON_API_KEY")
        if not subscriptions:
            raise StreamError(f"there are no subscriptions for {url}: name a channel that the plan includes")
        self.url, self.subscriptions = url, tuple(subscriptions)
        self.policy = policy or ConnectionPolicy()
        self.stats = Stats()
        self._key, self._queue = key, queue
        self._is_local = is_loopback(parts.hostname)
        self._trusted = trusted_by(url)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._opening: asyncio.Task[ClientConnection] | None = None
        self._is_stopping = False
        self._failures = 0
        self._streaming_since = 0.0
        self._has_reported_crowded = False
        self._is_silent = False
        self._last_frame = b""

    def stop(self) -> None:
        """End `run` and close the connection properly; callable from any thread."""
        self._is_stopping = True
        if self._loop is not None:
            # A closed loop raises, and then there is nothing left to stop.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._stop_here)

    def _stop_here(self) -> None:
        self._stop.set()
        if self._opening is not None:
            self._opening.cancel()

    async def run(self) -> None:
        """Stream until `stop`, through any number of lost connections.

        Raises:
            StreamAuthenticationError: the server does not accept the key.
            StreamCertificateError: the server's certificate is not trusted.
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
                self._report_crowded(str(error))
            except _LostError as error:
                self.stats.last_cause = str(error)
            except (StreamAuthenticationError, StreamCertificateError) as error:
                self.stats.state = "refused"
                self.stats.last_cause = str(error)
                self._mark("refused", str(error))
                raise
            if not self._stop.is_set():
                await self._wait(least)
        self.stats.state = "stopped"

    async def _wait(self, least_s: float) -> None:
        """Wait before the next attempt: a random part of a time that doubles with each failure (Brooker 2015, full jitter)."""
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
        """One connection from handshake to end; raises at the end unless it was stopped."""
        self.stats.state, self._last_frame = "connecting", b""
        self._is_silent = False
        connection = await self._open()
        stopper = asyncio.create_task(self._close_on_stop(connection))
        try:
            await self._authenticate(connection)
            await self._receive(connection)
        except ConnectionClosed as error:
            self._handle_end(error)
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
                raise self._key_error("HTTP 401") from None
            raise _LostError(f"the server answered HTTP {error.response.status_code}") from error
        except ssl.SSLCertVerificationError as error:
            raise StreamCertificateError(
                f"the certificate of {self.url} is not trusted ({error.verify_message}): set SSL_CERT_FILE to the file of the "
                "authority that signed it, or correct POLYGON_WS_URL"
            ) from error
        except (OSError, EOFError, WebSocketException) as error:
            raise _LostError(scrub(f"no connection: {error or type(error).__name__}", self._key)) from error
        finally:
            self._opening = None

    async def _connect(self) -> ClientConnection:
        connection = await connect(
            self.url,
            compression=self.policy.compression,
            open_timeout=self.policy.open_timeout_s,
            close_timeout=self.policy.close_timeout_s,
            ping_interval=None,
            max_size=self.policy.max_message_bytes,
            max_queue=_WAITING_MESSAGES,
            logger=_library_log,
            proxy=None if self._is_local else True,
            ssl=self._trusted,
        )
        try:
            expect_asked_server(self.url, connection.protocol.uri)
        except SecurityError:
            await connection.close()
            raise
        return connection

    async def _close_on_stop(self, connection: ClientConnection) -> None:
        await self._stop.wait()
        await connection.close()

    async def _authenticate(self, connection: ClientConnection) -> None:
        self.stats.state = "authenticating"
        await self._await_status(connection, "connected")
        await connection.send(message("auth", self._key))
        await self._await_status(connection, "auth_success")

    async def _await_status(self, connection: ClientConnection, wanted: str) -> None:
        try:
            async with asyncio.timeout(self.policy.reply_timeout_s):
                while True:
                    self._last_frame = await connection.recv(decode=False)
                    for reply in replies_in(self._last_frame):
                        if reply.status == wanted:
                            return
                        words = reply.message.lower()
                        if reply.status == "error" and any(phrase in words for phrase in _REJECTED_KEY):
                            raise self._key_error(reply.message)
                        self._check_refusal(reply)
        except TimeoutError:
            raise _LostError(f"no {wanted} from the server within {self.policy.reply_timeout_s:g} s") from None

    def _check_refusal(self, reply: StreamReply) -> None:
        if reply.status == "auth_failed":
            raise self._key_error(reply.message)
        if reply.status == "max_connections":
            raise _CrowdedError(scrub(reply.message or reply.status, self._key))

    def _key_error(self, words: str) -> StreamAuthenticationError:
        return StreamAuthenticationError(
            f"{self.url} does not accept the key ({scrub(words, self._key)}): set POLYGON_API_KEY to a key whose plan streams "
            "this market"
        )

    async def _receive(self, connection: ClientConnection) -> None:
        """Subscribe, then enqueue until the connection ends."""
        stats, queue, clock = self.stats, self._queue, time.time_ns
        subscriber = Subscriber(self.subscriptions, self.policy.subscribe_bytes, stats, self._report_refused)
        stats.connections += 1
        stats.state, stats.streaming_since_ns = "streaming", clock()
        self._streaming_since = time.monotonic()
        self._mark("connected", self.url)
        pinger = asyncio.create_task(self._keep_alive(connection, subscriber))
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
                    await _send(connection, subscriber.receive(data))
        finally:
            pinger.cancel()

    def _report_refused(self, words: str) -> None:
        detail = scrub(words, self._key)
        _log.warning("%s refuses %s; the other subscriptions continue", self.url, detail)
        self._mark("refused", detail)

    async def _keep_alive(self, connection: ClientConnection, subscriber: Subscriber) -> None:
        """Ping the server, as the market may be silent, and end the connection if there is no answer."""
        policy = self.policy
        try:
            while True:
                await asyncio.sleep(policy.ping_interval_s)
                await _send(connection, subscriber.skip_unanswered(policy.reply_timeout_s))
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
            return  # the receiver handles it

    def _handle_end(self, error: ConnectionClosed) -> None:
        """Record why the connection ended, and raise unless it was stopped here."""
        cause = self._cause(error)
        if self.stats.state == "streaming":
            self._mark("disconnected", cause)
            if time.monotonic() - self._streaming_since >= self.policy.healthy_after_s:
                self._failures, self._has_reported_crowded = 0, False
        if self._is_stopping:
            self.stats.last_cause = cause
            return
        for reply in replies_in(self._last_frame) if len(self._last_frame) <= _LONGEST_STATUS else ():
            self._check_refusal(reply)
        if error.rcvd is not None and error.rcvd.code == _POLICY_VIOLATION:
            raise _CrowdedError(cause)
        raise _LostError(cause)

    def _cause(self, error: ConnectionClosed) -> str:
        if self._is_stopping:
            return "stopped"
        if error.rcvd is not None:
            return scrub(f"the server closed with {error.rcvd.code} {error.rcvd.reason}".rstrip(), self._key)
        if self._is_silent:
            return f"no answer to a ping within {self.policy.ping_timeout_s:g} s"
        words = error.__cause__ or error
        return scrub(f"the connection broke: {words}", self._key)

    def _report_crowded(self, words: str) -> None:
        self.stats.last_cause = words
        if not self._has_reported_crowded:
            self._has_reported_crowded = True
            self._mark("refused", words)
            _log.warning(
                "%s: %s. One key may hold one connection per market: stop the other one, which may be an earlier collector. "
                "Next attempts at intervals of %.0f s or more",
                self.url,
                words,
                self.policy.crowded_wait_s,
            )

    def _mark(self, kind: MarkerKind, detail: str) -> None:
        self._queue.mark(Marker(kind, time.time_ns(), detail))


async def _send(connection: ClientConnection, words: str | None) -> None:
    if words is not None:
        await connection.send(words)
