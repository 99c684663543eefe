"""Answers that were computed a moment ago, in this process and, if there is one, in Redis.

A key names the model's version, the features' version and the content of the request, so a hit is what would be computed. Redis
being away makes answers slower, never wrong: after a fault it is left alone for some seconds.
"""

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import msgspec

from serving.metrics import CACHE, CACHE_FAULTS
from tapewatch.masking import masked

#: Redis must answer within this, and is left alone for so long after a fault.
_PATIENCE_S: Final = 0.05
_PAUSE_S: Final = 5.0
_MOST_BYTES: Final = 64 * 1024 * 1024
_PREFIX: Final = b"tapewatch:answer:"


class Results(msgspec.Struct, frozen=True, array_like=True):
    """The verdicts of a request, encoded, and how many rows were anomalous, ordinary and not scored."""

    content: bytes
    anomalies: int = 0
    ordinary: int = 0
    unscored: int = 0


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Results).decode
_hits = {source: CACHE.labels(source) for source in ("memory", "redis", "coalesced", "computed")}


class AnswerCache:
    """Keeps answers for `ttl_s`; 0 keeps none. Not shared between threads."""

    def __init__(self, redis_url: str | None = None, *, ttl_s: float, most_bytes: int = _MOST_BYTES) -> None:
        self._url, self._ttl_s, self._most_bytes = redis_url, ttl_s, most_bytes
        self._kept: OrderedDict[bytes, tuple[float, Results]] = OrderedDict()
        self._size = 0
        self._under_way: dict[bytes, asyncio.Future[Results]] = {}
        self._client: Any = None
        self._resting_until = 0.0
        #: Why Redis could not be used last; empty if it could.
        self.fault = ""

    def kept(self, key: bytes) -> Results | None:
        """The answer that this process keeps of `key`."""
        found = self._fresh(key) if self._ttl_s > 0 else None
        if found is not None:
            _hits["memory"].inc()
        return found

    def keep(self, key: bytes, results: Results) -> None:
        """Keep an answer that was just computed."""
        _hits["computed"].inc()
        if self._ttl_s > 0:
            self._keep(key, results)

    @staticmethod
    def key(*parts: bytes | str) -> bytes:
        """A digest of what an answer depends on."""
        digest = hashlib.sha256()
        for part in parts:
            content = part.encode() if isinstance(part, str) else part
            digest.update(len(content).to_bytes(8, "big"))
            digest.update(content)
        return digest.digest()

    async def get(self, key: bytes, compute: Callable[[], Awaitable[Results]], *, is_shared: bool) -> Results:
        """The answer of `key`, computed if it is not kept; requests that come meanwhile wait for it.

        Args:
            is_shared: look into Redis too; not worth it for an answer that is computed faster than Redis answers.
        """
        if self._ttl_s <= 0:
            return await compute()
        found = self._fresh(key)
        if found is not None:
            _hits["memory"].inc()
            return found
        waiting = self._under_way.get(key)
        if waiting is not None:
            # The first of them may be cancelled or refused; then each computes its own.
            with suppress(Exception):
                shared = await asyncio.shield(waiting)
                _hits["coalesced"].inc()
                return shared
        return await self._computed(key, compute, is_shared=is_shared)

    async def close(self) -> None:
        """Close the connections to Redis."""
        if self._client is not None:
            with suppress(Exception):
                await self._client.aclose()

    async def _computed(self, key: bytes, compute: Callable[[], Awaitable[Results]], *, is_shared: bool) -> Results:
        future: asyncio.Future[Results] = asyncio.get_running_loop().create_future()
        self._under_way[key] = future
        try:
            results = await self._from_redis(key) if is_shared and self._url else None
            if results is None:
                results = await compute()
                _hits["computed"].inc()
                if is_shared and self._url:
                    await self._to_redis(key, results)
            else:
                _hits["redis"].inc()
            self._keep(key, results)
            future.set_result(results)
        except BaseException as error:
            future.set_exception(error if isinstance(error, Exception) else RuntimeError("the request was given up"))
            future.exception()  # nobody may be waiting for it
            raise
        finally:
            if self._under_way.get(key) is future:
                del self._under_way[key]
        return results

    def _fresh(self, key: bytes) -> Results | None:
        entry = self._kept.get(key)
        if entry is None:
            return None
        if entry[0] < time.monotonic():
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return entry[1]

    def _keep(self, key: bytes, results: Results) -> None:
        self._drop(key)
        self._kept[key] = (time.monotonic() + self._ttl_s, results)
        self._size += len(results.content)
        while self._size > self._most_bytes:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: bytes) -> None:
        entry = self._kept.pop(key, None)
        if entry is not None:
            self._size -= len(entry[1].content)

    async def _from_redis(self, key: bytes) -> Results | None:
        content = await self._ask(lambda client: client.get(_PREFIX + key))
        if content is None:
            return None
        try:
            return _decode(content)
        except msgspec.DecodeError:
            return None  # written by another version

    async def _to_redis(self, key: bytes, results: Results) -> None:
        expiry = max(1, int(self._ttl_s * 1000))
        await self._ask(lambda client: client.set(_PREFIX + key, _encode(results), px=expiry))

    async def _ask(self, work: Callable[[Any], Awaitable[Any]]) -> Any:
        """What Redis answers; None if it is away."""
        if time.monotonic() < self._resting_until:
            return None
        try:
            async with asyncio.timeout(_PATIENCE_S):
                answer = await work(self._opened())
        except (OSError, TimeoutError, ValueError, _redis_error()) as error:
            self._resting_until = time.monotonic() + _PAUSE_S
            self.fault = masked(str(error)) or type(error).__name__
            CACHE_FAULTS.inc()
            return None
        self.fault = ""
        return answer

    def _opened(self) -> Any:
        if self._client is None:
            import redis.asyncio  # noqa: PLC0415 - takes a while, and few deployments have one

            self._client = redis.asyncio.Redis.from_url(str(self._url), socket_connect_timeout=_PATIENCE_S)
        return self._client


def _redis_error() -> type[Exception]:
    import redis  # noqa: PLC0415 - as above

    return redis.RedisError
