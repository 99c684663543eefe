"""Two processes that keep a function's code for different types at the same time."""

import fcntl
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from numba.core import caching

from tapewatch.market.compiled import njit

PATIENCE_S = 120


@njit(cache=True)
def doubled(value: float) -> float:
    return value + value


def test_numba_keeps_what_it_compiles_in_turns() -> None:
    assert (doubled(2), doubled(2.5)) == (4, 5.0)
    assert isinstance(doubled._cache._cache_file, caching.IndexDataCacheFile)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "use",
    [
        lambda kept: kept.save("floats", "code for floats"),
        lambda kept: kept.load("ints"),
    ],
    ids=["save", "load"],
)
def test_nobody_comes_between_index_and_code(
    tmp_path: Path, use: Callable[[caching.IndexDataCacheFile], object]
) -> None:
    first, second = (caching.IndexDataCacheFile(str(tmp_path), "kernel", "source") for _ in range(2))
    first.save("ints", "code for ints")
    waiting = threading.Thread(target=use, args=(second,))
    with (tmp_path / "kernel.nbi.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting.start()
        waiting.join(0.5)
        assert waiting.is_alive()
    waiting.join(PATIENCE_S)
    assert not waiting.is_alive()


def test_each_finds_its_own_code_again(tmp_path: Path) -> None:
    first, second = (caching.IndexDataCacheFile(str(tmp_path), "kernel", "source") for _ in range(2))
    first.save("ints", "code for ints")
    second.save("floats", "code for floats")
    assert first.load("floats") == "code for floats"
    assert second.load("ints") == "code for ints"
    assert first.load("strings") is None
