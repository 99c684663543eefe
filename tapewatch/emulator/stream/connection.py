"""One client's connection to a stream: authentication, subscriptions, and sending the subscribed channels."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Iterator
from datetime import date
from typing import TypeVar

import msgspec
import numpy as np

from tapewatch.emulator.faults import Fault
from tapewatch.emulator.stream.blocks import Block
from tapewatch.emulator.stream.channels import CHANNELS
from tapewatch.emulator.stream.message_faults import MessageFault
from tapewatch.emulator.stream.playback import EVERY, START, Playback, Position
from tapewatch.emulator.stream.wire import Wire
from tapewatch.market.instruments import Market
from tapewatch.market.tickers import from_vendor

_FRAME_EVENTS = 500
_NORMAL, _POLICY_VIOLATION, _INTERNAL_ERROR = 1000, 1008, 1011
_BLOCKS_AHEAD = 3
# After five answered pings in a row, a client has read everything sent before and sent its own messages.
_ROUND_TRIPS = 5
_TICK_S, _LONGEST_WAIT_S = 0.005, 0.02
_MOST_CONTRACTS = 1000
_PIECES = 20

Item = TypeVar("Item")
_LOG = logging.getLogger(__name__)


class StreamConnection:
    """The server's side of a connection: a `Listener` for one market. `keys` holds the one connection of each key."""

    def __init__(self, wire: Wire, playback: Playback, keys: "dict[str, StreamConnection]") -> None:
        self._wire = wire
        self._playback = playback
        self._keys = keys
        self._key: str | None = None
        self._subscription: dict[str, frozenset[str]] = {}
        self._revision = 0
        self._position = self._before = START
        self._is_ending = False
        self._sender: asyncio.Task[None] | None = None
        self._began: float | None = None
        self._paced = 0
        self._lag = 0

    def on_open(self) -> None:
        self._reply(("connected", "Connected Successfully"))

    def on_close(self) -> None:
        if self._key is not None:
            if self._keys.get(self._key) is self:
                del self._keys[self._key]
            if self._is_ending:
                self._playback.repeat_from[self._key] = self._before
        self._revision += 1

    def on_message(self, text: str) -> None:
        try:
            request = msgspec.json.decode(text)
            action, params = request["action"], str(request.get("params", ""))
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
            self._reply(("error", 'invalid message: expected {"action": …, "params": …}'))
            return
        if action == "auth":
            self._authenticate(params)
        elif self._key is None:
            self._reply(("auth_required", "authentication required"))
        elif action in {"subscribe", "unsubscribe"}:
            self._change(action, [part.strip() for part in params.split(",") if part.strip()])
        else:
            self._reply(("error", f"unknown action: {action}"))

    def _authenticate(self, key: str) -> None:
        if not self._playback.gate.accepts(key):
            self._reply(("auth_failed", "authentication failed"))
            self._wire.close(_POLICY_VIOLATION, "authentication failed")
        elif self._keys.setdefault(key, self) is not self:
            self._reply(("max_connections", "Maximum number of websocket connections exceeded."))
            self._wire.close(_POLICY_VIOLATION, "max_connections")
        else:
            self._leave(key)
            self._key = key
            self._lag = self._playback.lag(key)
            self._reply(("auth_success", "authenticated"))

    def _leave(self, key: str) -> None:
        """Free the key before, if `key` is another: its plan's subscriptions end, and another connection may have it."""
        if self._key is None or self._key == key:
            return
        del self._keys[self._key]
        self._subscription.clear()
        self._revision += 1

    def _change(self, action: str, names: list[str]) -> None:
        replies = [self._changed(action, name) for name in names] or [("error", f"{action}: no channels named")]
        self._reply(*replies)
        self._revision += 1
        if self._sender is None and any(self._subscription.values()):
            self._before = self._position = self._playback.resume(self._key or "")
            self._sender = asyncio.get_running_loop().create_task(self._send())
            self._sender.add_done_callback(self._ended)

    def _changed(self, action: str, name: str) -> tuple[str, str]:
        market, (channel, _, ticker) = self._playback.market, name.partition(".")
        if channel not in CHANNELS[market] or not ticker:
            return "error", f"unknown channel: {name}"
        if channel not in self._playback.gate.channels(self._key or "", market):
            return "error", f"not authorized to subscribe to: {name}. Upgrade your plan at https://polygon.io/pricing"
        old, symbol = self._subscription.get(channel, frozenset()), _symbol(ticker, market)
        if action == "unsubscribe":
            self._subscription[channel] = frozenset() if symbol == EVERY else old - {symbol}
            return "success", f"unsubscribed to: {name}"
        if market is Market.OPTIONS and channel == "Q" and (symbol == EVERY or len(old | {symbol}) > _MOST_CONTRACTS):
            return "error", f"too many contracts: {name}. A connection may have the quotes of {_MOST_CONTRACTS}"
        self._subscription[channel] = old | {symbol}
        return "success", f"subscribed to: {name}"

    def _reply(self, *statuses: tuple[str, str]) -> None:
        body = [{"ev": "status", "status": status, "message": message} for status, message in statuses]
        self._wire.send_now(msgspec.json.encode(body))

    async def _send(self) -> None:
        """Send until the connection ends. After a change of subscription or faults, start again at the last position."""
        while not self._wire.is_closed:
            await self._until_subscribed()
            revision, faults = self._revision, self._playback.faults.revision
            stream = self._playback.stream(dict(self._subscription), self._position)
            is_whole = True
            async with contextlib.aclosing(_ahead(stream)) as made:
                async for day, block in made:
                    is_whole = await self._send_block(day, block, (revision, faults))
                    if not is_whole:
                        break
            if is_whole:
                await self._end()
                await self._until_changed((revision, faults))

    async def _end(self) -> None:
        """The tape is done once the client has read its end. If the connection is lost before that, the last frame is sent
        again on the next one."""
        self._is_ending = True
        if await self._wire.taken() and any(self._subscription.values()):
            self._playback.done.add(self._key or "")

    async def _until_subscribed(self) -> None:
        """Wait until the client stops subscribing: at full speed the tape could end between two subscriptions."""
        known = None
        while self._playback.speed.times is None and known != self._revision and not self._wire.is_closed:
            known = self._revision
            for _ in range(_ROUND_TRIPS):
                await self._wire.taken()

    async def _until_changed(self, known: tuple[int, int]) -> None:
        while self._state == known and not self._wire.is_closed:
            await asyncio.sleep(_LONGEST_WAIT_S)

    @property
    def _state(self) -> tuple[int, int]:
        return self._revision, self._playback.faults.revision

    async def _send_block(self, day: date, block: Block, known: tuple[int, int]) -> bool:
        """Send a block at the stream's speed; False if the subscription or the faults changed meanwhile."""
        first = 0
        while first < block.size:
            last = await self._due(block, first, known)
            if self._state != known or self._wire.is_closed:
                return False
            last = block.group_end(min(last, first + min(_FRAME_EVENTS, self._playback.connection_faults.events_left)))
            await self._send_frame(day, block, first, last)
            first = last
        return True

    async def _due(self, block: Block, first: int, known: tuple[int, int]) -> int:
        """Wait until messages of the block are due; returns the end of those that are."""
        speed = self._playback.speed
        if speed.times is not None:
            return await self._due_by_clock(block, first, known)
        if speed.events_per_second is None:
            return block.size
        loop = asyncio.get_running_loop()
        if self._began is None:
            self._began = loop.time()
        while True:
            allowed = int((loop.time() - self._began) * speed.events_per_second) - self._paced
            if allowed > 0 or self._state != known or self._wire.is_closed:
                return first + max(allowed, 1)
            await asyncio.sleep(_TICK_S)

    async def _due_by_clock(self, block: Block, first: int, known: tuple[int, int]) -> int:
        clock = self._playback.clock
        while True:
            now = clock.now - self._lag
            if block.release[first] <= now or self._state != known or self._wire.is_closed:
                return max(int(np.searchsorted(block.release, now, side="right")), first + 1)
            wait = clock.seconds_until(int(block.release[first]) + self._lag)
            await asyncio.sleep(min(max(wait, _TICK_S), _LONGEST_WAIT_S))

    async def _send_frame(self, day: date, block: Block, first: int, last: int) -> None:
        events, key = last - first, self._key or ""
        self._paced += events
        self._before, self._position = self._position, Position(day, int(block.release[last - 1]))
        self._playback.moved(key, self._position, events)
        for number, times in zip(*np.unique(block.fault[first:last], return_counts=True), strict=True):
            if number:
                self._playback.counts[MessageFault(number).name.lower()] += int(times)
        payload = block.payload(first, last)
        fault = self._playback.connection_faults.advance(events)
        if fault is None:
            await self._wire.send(payload)
            # Give other connections their turn.
            await asyncio.sleep(0)
        else:
            self._playback.counts[fault.kind] += 1
            await self._apply(fault, payload)

    async def _apply(self, fault: Fault, payload: bytes) -> None:
        if fault.kind == "slow":
            await self._wire.trickle(payload, _PIECES, fault.hold_ms / 1000 / _PIECES)
        elif fault.kind == "malformed_json":
            await self._wire.send(payload[: max(1, len(payload) * 2 // 3)])
        elif fault.kind == "truncated_frame":
            self._wire.truncate(payload)
        elif fault.kind == "half_open":
            self._wire.stop_responding()
        elif fault.kind == "drop":
            # Data in transit is lost with the connection.
            self._wire.abort()
        else:
            await self._wire.send(payload)
            self._wire.close(_POLICY_VIOLATION if fault.kind == "close_1008" else _NORMAL)
        if self._wire.is_closed:
            self._playback.lose(self._key or "", fault.lose_ms)

    def _ended(self, sender: "asyncio.Task[None]") -> None:
        error = None if sender.cancelled() else sender.exception()
        if error is not None:
            _LOG.error("the stream of %s ended: %s", self._playback.market, error, exc_info=error)
            self._wire.close(_INTERNAL_ERROR)


async def _ahead(items: Iterator[Item]) -> AsyncGenerator[Item]:
    """The items, a few of them prepared in a worker thread while one is in use: a new day takes time to generate."""
    made: asyncio.Queue[Item | None] = asyncio.Queue()
    room = asyncio.Semaphore(_BLOCKS_AHEAD)

    async def make() -> None:
        try:
            while await room.acquire() and (item := await asyncio.to_thread(next, items, None)) is not None:
                made.put_nowait(item)
        finally:
            made.put_nowait(None)

    maker = asyncio.create_task(make())
    try:
        while (item := await made.get()) is not None:
            room.release()
            yield item
        # Raises the error of the maker.
        await maker
    finally:
        maker.cancel()


def _symbol(ticker: str, market: Market) -> str:
    if ticker == EVERY:
        return EVERY
    try:
        return from_vendor(ticker, market)
    except ValueError:
        # The vendor accepts unknown names and sends nothing for them.
        return ticker
