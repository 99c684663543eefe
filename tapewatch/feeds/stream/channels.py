"""Subscriptions: which channels and symbols to request, in which messages, and the meaning of the answers."""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import msgspec

from tapewatch.feeds.plans.table import MarketPlan, PlanError
from tapewatch.feeds.stream.policy import Stats
from tapewatch.market.tickers import to_websocket

_EVERY_SYMBOL: Final = "*"
_SUBSCRIBED: Final = "subscribed to:"
_SUCCESSES: Final = frozenset({"success", "connected", "auth_success"})
_log = logging.getLogger(__name__)


class StreamReply(msgspec.Struct):
    """An event of a stream, without market data; `ev` is `status` for a message about the connection."""

    ev: str = ""
    status: str = ""
    message: str = ""

    @property
    def subscribed(self) -> tuple[str, ...]:
        """The subscriptions that a success message names."""
        if self.status != "success" or _SUBSCRIBED not in self.message:
            return ()
        return tuple(name.strip() for name in self.message.partition(_SUBSCRIBED)[2].split(",") if name.strip())


_REPLIES: Final = msgspec.json.Decoder(list[StreamReply])


def replies_in(data: bytes) -> list[StreamReply]:
    """The status messages in a frame; none if it is not readable."""
    try:
        return [reply for reply in _REPLIES.decode(data) if reply.ev == "status"]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []


def subscriptions(plan: MarketPlan, symbols: Iterable[str], channels: Iterable[str] | None = None) -> list[str]:
    """The names of every channel and symbol to subscribe to.

    Args:
        symbols: in this platform's spelling; none means all of the market. A channel with a limit on symbols is left out
            then, with a warning.
        channels: a selection of the plan's channels; None for all.

    Raises:
        PlanError: the plan has no stream, does not include one of `channels`, or allows fewer symbols.
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
    """The subscriptions in groups for messages of about `max_bytes`, each of one channel, as refusals do not name the
    channel."""
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
    """Subscribes on one connection: sends one group after another and records the answers.

    Args:
        max_bytes: the approximate length of the longest message.
        stats: its `subscribed` and `refused_channels` are reset and updated.
        refuse: called with a message for each refusal.
    """

    def __init__(self, wanted: Sequence[str], max_bytes: int, stats: Stats, refuse: Callable[[str], None]) -> None:
        self._unsent = deque(chunks(wanted, max_bytes))
        self._unanswered: list[str] = []
        self._asked_at = 0.0
        self._stats, self._refuse = stats, refuse
        stats.subscribed, stats.refused_channels = 0, []

    @property
    def is_waiting(self) -> bool:
        """Whether an answer is expected, so that frames must be searched for it."""
        return bool(self._unanswered)

    def ask(self) -> str | None:
        """The next message to send; None after the last."""
        if not self._unsent:
            return None
        self._unanswered, self._asked_at = self._unsent.popleft(), time.monotonic()
        return message("subscribe", ",".join(self._unanswered))

    def receive(self, data: bytes) -> str | None:
        """Search a frame for answers; returns the next message to send when every subscription of the last is answered."""
        for reply in replies_in(data):
            if reply.subscribed:
                self._grant(set(reply.subscribed))
            elif reply.status not in _SUCCESSES:
                self._deny(reply.message or reply.status)
        return None if self._unanswered else self.ask()

    def skip_unanswered(self, patience_s: float) -> str | None:
        """Stop waiting for an answer after `patience_s`; returns the next message to send."""
        if not self._unanswered or time.monotonic() - self._asked_at < patience_s:
            return None
        _log.warning(
            "the server does not answer the subscription to %s; continuing without it", shown(self._unanswered)
        )
        self._unanswered = []
        return self.ask()

    def _grant(self, named: set[str]) -> None:
        before = len(self._unanswered)
        self._unanswered = [name for name in self._unanswered if name not in named]
        self._stats.subscribed += before - len(self._unanswered)

    def _deny(self, words: str) -> None:
        """A refusal applies to the subscriptions that it names, or else to all without an answer."""
        mentioned = {word.strip(".:;!'\"()") for word in words.replace(",", " ").split()}
        named = [name for name in self._unanswered if name in mentioned] or self._unanswered
        if named:
            self._unanswered = [name for name in self._unanswered if name not in named]
            self._stats.refused_channels.extend(named)
            self._refuse(f"{shown(named)}: {words}")
