"""How patient a stream's connection is, and what it tells of itself."""

from dataclasses import dataclass, field
from typing import Final, Literal

from tapewatch.market.backoff import backoff_s

_MIB: Final = 1024 * 1024

State = Literal["idle", "connecting", "authenticating", "streaming", "waiting", "stopped", "refused"]


@dataclass(frozen=True, slots=True)
class ConnectionPolicy:
    """The patience of a connection, in seconds, and the sizes of its messages, in bytes.

    Attributes:
        first_wait_s, longest_wait_s: a lost connection is tried again after a random time up to the first, which doubles with
            each failure up to the longest.
        crowded_wait_s: the least wait after the server says that there are too many connections.
        healthy_after_s: a connection that streamed for so long counts as good, and failures are counted anew.
        open_timeout_s, reply_timeout_s, close_timeout_s: for the handshake, for each answer of the server's, for its farewell.
        ping_interval_s, ping_timeout_s: how often the server is asked for a sign of life, and how long it may take; any
            frame counts as one.
        max_message_bytes: a longer message ends the connection. subscribe_bytes: about the longest message sent.
        compression: `deflate` where the network is slower than the processor.
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
        """The longest wait after so many failures in a row."""
        return backoff_s(failures, self.first_wait_s, self.longest_wait_s)


@dataclass
class Stats:
    """What a connection has been through, for metrics; times are int64 ns UTC, 0 where it never was.

    Attributes:
        connections, reconnects: how often the stream was reached, and reached again; failures: how often it was lost or
            could not be reached.
        frames, bytes, last_frame_ns: what came.
        last_cause: why it was last lost or refused.
        subscribed, refused_channels: what the server granted and refused in the present connection.
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
        """How often the stream was reached again."""
        return max(0, self.connections - 1)
