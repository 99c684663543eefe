"""Vectors in Redis: one hash per view and key; a script judges and writes a batch, which Redis runs as a whole."""

from collections.abc import Callable, Sequence
from typing import Any

from tapewatch.masking import masked
from tapewatch.store.vectors.vectors import Vector, VectorsError, newest

#: For each key: its times in µs (a double holds them exactly) and its content, kept unless the hash has a newer one.
_WRITE = """
for i, key in ipairs(KEYS) do
    local event, known = ARGV[3 * i - 2], ARGV[3 * i - 1]
    local old = redis.call('HMGET', key, 'event_us', 'known_us')
    local e, k, oe, ok = tonumber(event), tonumber(known), tonumber(old[1] or -1), tonumber(old[2] or -1)
    if not old[1] or e > oe or (e == oe and k >= ok) then
        redis.call('HSET', key, 'event_us', event, 'known_us', known, 'content', ARGV[3 * i])
    end
end
"""
_FIELDS = ("event_us", "known_us", "content")
_PATIENCE_S = 5.0
#: Lua takes fewer than 8,000 values at a time; larger batches go in one transaction of several calls.
_MOST_KEYS = 1000
_SCAN = 1000


class RedisVectors:
    """Vectors in the Redis of an address such as `redis://host:6379/0` or `rediss://…`."""

    def __init__(self, url: str, prefix: str = "tapewatch") -> None:
        self._url, self._prefix = url, prefix
        self._client: Any = None
        self._script = ""

    def prepare(self) -> None:
        self._run(lambda client: client.ping())

    def write(self, view: str, vectors: Sequence[Vector]) -> None:
        kept = newest(vectors)

        def work(client: Any) -> None:
            with client.pipeline(transaction=True) as pipe:
                for start in range(0, len(kept), _MOST_KEYS):
                    part = kept[start : start + _MOST_KEYS]
                    values = [value for v in part for value in (v.event_us, v.known_us, v.content)]
                    pipe.eval(_WRITE, len(part), *(self._key(view, v.key) for v in part), *values)
                pipe.execute()

        if kept:
            self._run(work)

    def read(self, view: str, keys: Sequence[bytes]) -> list[Vector | None]:
        def work(client: Any) -> list[Any]:
            if len(keys) == 1:
                return [client.hmget(self._key(view, keys[0]), _FIELDS)]
            with client.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.hmget(self._key(view, key), _FIELDS)
                return list(pipe.execute())

        return [
            None if event is None else Vector(key, int(event), int(known), content)
            for key, (event, known, content) in zip(keys, self._run(work), strict=True)
        ]

    def remove(self, view: str) -> None:
        def work(client: Any) -> None:
            pattern = self._key(view, b"").replace(b"[", b"\\[") + b"*"
            found = list(client.scan_iter(match=pattern, count=_SCAN))
            if found:
                client.delete(*found)

        self._run(work)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _key(self, view: str, key: bytes) -> bytes:
        return f"{self._prefix}:{view}:".encode() + key

    def _run(self, work: Callable[[Any], Any]) -> Any:
        import redis  # noqa: PLC0415 - takes a while, and few deployments have one

        try:
            if self._client is None:
                self._client = redis.Redis.from_url(
                    self._url, socket_timeout=_PATIENCE_S, socket_connect_timeout=_PATIENCE_S
                )
            return work(self._client)
        except (redis.RedisError, ValueError) as error:
            raise VectorsError(
                f"the online store {masked(self._url)} (TAPEWATCH_REDIS_URL) cannot be used: {masked(str(error))}: "
                "start Redis, or correct the address, or unset it to use SQLite"
            ) from error
