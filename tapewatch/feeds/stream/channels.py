"""What to ask a stream for, in messages that a server takes, and what its answers mean."""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import msgspec

from tapewatch.feeds.plans.table import MarketPlan, PlanError
from tapewatch.feeds.stream.policy import Stats
from tapewatch.market.instruments import to_websocket

_EVERY_SYMBOL: Final = "*"
_SUBSCRIBED: Final = "subscribed to:"
_GOOD_NEWS: Final = frozenset({"success", "connected", "auth_success"})
_log = logging.getLogger(__name__)


class StreamReply(msgspec.Struct):
    """An event of a stream as far as it concerns the connection; `ev` is `status` for the server's own words."""

    ev: str = ""
    status: str = ""
    message: str = ""

    @property
    def subscribed(self) -> tuple[str, ...]:
        """What a successful subscription names."""
        if self.status != "success" or _SUBSCRIBED not in self.message:
            return ()
        return tuple(name.strip() for name in self.message.partition(_SUBSCRIBED)[2].split(",") if name.strip())


_REPLIES: Final = msgspec.json.Decoder(list[StreamReply])


def replies_in(data: bytes) -> list[StreamReply]:
    """The server's own words in a frame; none where it is not readable."""
    try:
        return [reply for reply in _REPLIES.decode(data) if reply.ev == "status"]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []


def subscriptions(plan: MarketPlan, symbols: Iterable[str], channels: Iterable[str] | None = None) -> list[str]:
    """What to subscribe to: every channel that the plan grants, for every symbol.

    Args:
        symbols: in this platform's spelling; none means all of the market. A channel that is limited to a number of symbols
            is left out then, with a warning.
        channels: the channels wanted, of those granted; all where None.

    Raises:
        PlanError: the plan has no stream, does not grant a channel that was named, or allows fewer symbols.
    """
    if not plan.channels:
        raise PlanError(
            f"the plan '{plan.tier}' has no stream of {plan.market}: set {plan.setting} to the plan you bought"
        )
    names = [to_websocket(symbol) for symbol in symbols] or [_EVERY_SYMBOL]
    wanted = plan.channels if channels is None else tuple(channels)
    missing = [channel for channel in wanted if channel not in plan.channels]
    if missing:
        raise PlanError(
            f"the plan '{plan.tier}' does not stream {', '.join(missing)} of {plan.market}, only {', '.join(plan.channels)}: "
            f"set {plan.setting} to the plan you bought"
        )
    return [f"{channel}.{name}" for channel in wanted if _is_within(plan, channel, names) for name in names]


def _is_within(plan: MarketPlan, channel: str, names: Sequence[str]) -> bool:
    limit = plan.symbols_a_channel.get(channel)
    if limit is None:
        return True
    if _EVERY_SYMBOL in names:
        _log.warning(
            "%s: channel %s takes at most %d symbols a connection and is left out: name the symbols to have it",
            plan.market,
            channel,
            limit,
        )
        return False
    if len(names) > limit:
        raise PlanError(
            f"channel {channel} of {plan.market} takes at most {limit:,} symbols a connection, not {len(names):,}: name fewer"
        )
    return True


def chunks(wanted: Sequence[str], max_bytes: int) -> Iterator[list[str]]:
    """The subscriptions in groups that make messages of at most about `max_bytes`, each of one channel: the server's
    refusals name no channel, so each must be known by what was asked."""
    group: list[str] = []
    size = 0
    for name in wanted:
        is_other = bool(group) and group[0].partition(".")[0] != name.partition(".")[0]
        if group and (is_other or size + len(name) + 1 > max_bytes):
            yield group
            group, size = [], 0
        group.append(name)
        size += len(name) + 1
    if group:
        yield group


def message(action: str, params: str) -> str:
    """A message to the server."""
    return msgspec.json.encode({"action": action, "params": params}).decode()


def shown(names: Sequence[str]) -> str:
    """Some of many names."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


class Subscriber:
    """The talk about subscriptions on one connection: asks for group after group, and takes note of the answers.

    Args:
        wanted: what to subscribe to.
        max_bytes: about the longest message.
        stats: `subscribed` and `refused_channels` are kept there, from nothing.
        refuse: told of each refusal, in a sentence.
    """

    def __init__(self, wanted: Sequence[str], max_bytes: int, stats: Stats, refuse: Callable[[str], None]) -> None:
        self._unasked = deque(chunks(wanted, max_bytes))
        self._unanswered: list[str] = []
        self._asked_at = 0.0
        self._stats, self._refuse = stats, refuse
        stats.subscribed, stats.refused_channels = 0, []

    @property
    def is_waiting(self) -> bool:
        """Whether an answer is due, so that frames must be searched for it."""
        return bool(self._unanswered)

    def ask(self) -> str | None:
        """The next message to send; None where all is asked."""
        if not self._unasked:
            return None
        self._unanswered, self._asked_at = self._unasked.popleft(), time.monotonic()
        return message("subscribe", ",".join(self._unanswered))

    def hear(self, data: bytes) -> str | None:
        """Search a frame for answers; returns the next message to send once all that was asked for is answered."""
        for reply in replies_in(data):
            if reply.subscribed:
                self._grant(set(reply.subscribed))
            elif reply.status not in _GOOD_NEWS:
                self._deny(reply.message or reply.status)
        return None if self._unanswered else self.ask()

    def give_up(self, patience_s: float) -> str | None:
        """Stop waiting for an answer that is long due; returns the next message to send."""
        if not self._unanswered or time.monotonic() - self._asked_at < patience_s:
            return None
        _log.warning("the server gives no answer to %s; going on without", shown(self._unanswered))
        self._unanswered = []
        return self.ask()

    def _grant(self, named: set[str]) -> None:
        before = len(self._unanswered)
        self._unanswered = [name for name in self._unanswered if name not in named]
        self._stats.subscribed += before - len(self._unanswered)

    def _deny(self, words: str) -> None:
        """A refusal concerns what it names, or else all that is unanswered."""
        spoken = {word.strip(".:;!'\"()") for word in words.replace(",", " ").split()}
        named = [name for name in self._unanswered if name in spoken] or self._unanswered
        if named:
            self._unanswered = [name for name in self._unanswered if name not in named]
            self._stats.refused_channels.extend(named)
            self._refuse(f"{shown(named)}: {words}")
