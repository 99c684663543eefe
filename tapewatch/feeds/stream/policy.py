"""Timeouts and back-off of a stream connection, and its status report."""

from dataclasses import dataclass, field
from typing import Final, Literal

from websockets.exceptions import SecurityError
from websockets.uri import WebSocketURI, parse_uri

from tapewatch.market.backoff import backoff_s

_MIB: Final = 1024 * 1024

State = Literal["idle", "connecting", "authenticating", "streaming", "waiting", "stopped", "refused"]


def expect_asked_server(asked: str, reached: WebSocketURI) -> None:
    """Check, before the key is sent, that a redirect has not led to another server than the address that is set.

    Raises:
        SecurityError: it has.
    """
    wanted = parse_uri(asked)
    if (wanted.secure, wanted.host, wanted.port) != (reached.secure, reached.host, reached.port):
        raise SecurityError(
            f"the server redirects to another, {reached.host}:{reached.port}, which does not get the key"
        )


@dataclass(frozen=True, slots=True)
class ConnectionPolicy:
    """Times of a connection, in seconds, and sizes of its messages, in bytes.

    Attributes:
        first_wait_s, longest_wait_s: the wait before reconnecting is random, up to `first_wait_s`, which doubles with each
            failure up to `longest_wait_s`.
        crowded_wait_s: the least wait after the server reports too many connections.
        healthy_after_s: a connection that streamed for this long resets the count of failures.
        open_timeout_s, reply_timeout_s, close_timeout_s: for the handshake, each answer, and the closing handshake.
        ping_interval_s, ping_timeout_s: between pings, and for the answer to one; any frame counts as an answer.
        max_message_bytes: a longer message ends the connection. subscribe_bytes: approximate length of the longest message
            sent.
        compression: `deflate` if the network is slower than the processor.
    """

    first_wait_s: float = 0.5
    longest_wait_s: float = 60.0
    crowded_wait_s: float = 30.0
    healthy_after_s: float = 60.0
    open_timeout_s: float = 10.0
    reply_timeout_s: float = 10.0
    close_timeout_s: float = 2.0
    ping_interval_s: float = 10.0
    ping_timeout_s: float = 10.0
    max_message_bytes: int = 64 * _MIB
    subscribe_bytes: int = 8 * 1024
    compression: Literal["deflate"] | None = None

    def longest_wait(self, failures: int) -> float:
        """The longest wait after this number of failures in a row."""
        return backoff_s(failures, self.first_wait_s, self.longest_wait_s)


@dataclass
class Stats:
    """Counters and state of a connection, for metrics; times are int64 ns UTC, 0 for never.

    Attributes:
        connections, failures: how often the stream was connected, and how often it was lost or not reached.
        frames, bytes, last_frame_ns: received.
        last_cause: why the connection was last lost or refused.
        subscribed, refused_channels: subscriptions granted and refused on the present connection.
    """

    state: State = "idle"
    connections: int = 0
    failures: int = 0
    frames: int = 0
    bytes: int = 0
    last_frame_ns: int = 0
    streaming_since_ns: int = 0
    last_cause: str = ""
    subscribed: int = 0
    refused_channels: list[str] = field(default_factory=list)

    @property
    def reconnects(self) -> int:
        """How often the stream was connected again."""
        return max(0, self.connections - 1)
