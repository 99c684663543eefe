"""Answers are kept, shared and forgotten, and Redis being away is no fault."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from serving.cache import AnswerCache, Results
from tests.support.ports import free_port
from tests.support.redis import redis_server

KEY = AnswerCache.key("model", "1", b"body")


class Work:
    """Counts its calls; waits for `is_free`."""

    def __init__(self) -> None:
        self.calls, self.is_free = 0, asyncio.Event()
        self.is_free.set()

    async def __call__(self) -> Results:
        self.calls += 1
        await self.is_free.wait()
        return Results(f"[{self.calls}]".encode(), anomalies=self.calls)


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))


def test_keys_tell_every_part_apart() -> None:
    keys = {AnswerCache.key(*parts) for parts in (("a", "b"), ("ab", ""), ("", "ab"), ("a", "b", ""), ("b", "a"))}
    assert len(keys) == 5


def test_equal_requests_at_a_time_are_computed_once() -> None:
    async def test() -> None:
        cache, work = AnswerCache(ttl_s=60), Work()
        work.is_free.clear()
        asked = [asyncio.create_task(cache.get(KEY, work, is_shared=False)) for _ in range(5)]
        await asyncio.sleep(0)
        work.is_free.set()
        assert {each.content for each in await asyncio.gather(*asked)} == {b"[1]"}
        assert (await cache.get(KEY, work, is_shared=False)).content == b"[1]"
        assert work.calls == 1

    run(test)


def test_a_request_that_is_given_up_does_not_take_the_others_with_it() -> None:
    async def test() -> None:
        cache, work = AnswerCache(ttl_s=60), Work()
        work.is_free.clear()
        first = asyncio.create_task(cache.get(KEY, work, is_shared=False))
        await asyncio.sleep(0)
        second = asyncio.create_task(cache.get(KEY, work, is_shared=False))
        await asyncio.sleep(0)
        first.cancel()
        work.is_free.set()
        assert (await second).anomalies == 2
        with pytest.raises(asyncio.CancelledError):
            await first

    run(test)


def test_a_refused_request_is_not_kept() -> None:
    async def test() -> None:
        cache, work = AnswerCache(ttl_s=60), Work()

        async def refuse() -> Results:
            raise ValueError("no")

        with pytest.raises(ValueError, match="no"):
            await cache.get(KEY, refuse, is_shared=False)
        assert (await cache.get(KEY, work, is_shared=False)).content == b"[1]"

    run(test)


@pytest.mark.parametrize("options", [{"ttl_s": 0}, {"ttl_s": 1e-9}, {"ttl_s": 60, "most_bytes": 2}])
def test_what_is_old_or_too_large_is_computed_again(options: dict[str, float]) -> None:
    async def test() -> None:
        cache, work = AnswerCache(**options), Work()
        for _ in range(3):
            await cache.get(KEY, work, is_shared=False)
        assert work.calls == 3

    run(test)


def test_processes_share_answers_through_redis_and_do_without_it(tmp_path: Path) -> None:
    port = free_port()

    async def test() -> None:
        with redis_server(tmp_path, port) as url:
            writer, reader, work = AnswerCache(url, ttl_s=60), AnswerCache(url, ttl_s=60), Work()
            written = await writer.get(KEY, work, is_shared=True)
            assert await reader.get(KEY, work, is_shared=True) == written
            assert (work.calls, reader.fault) == (1, "")
            other = AnswerCache.key("other")
            await writer.get(other, work, is_shared=False)
            assert (await reader.get(other, work, is_shared=True)).anomalies == 3, "it was not shared"
        assert await reader.get(KEY, work, is_shared=True) == written
        late = AnswerCache(url, ttl_s=60)
        assert (await late.get(KEY, work, is_shared=True)).anomalies == 4
        assert late.fault
        for each in (writer, reader, late):
            await each.close()

    run(test)
