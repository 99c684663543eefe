"""The emulator's small parts: random numbers, cache, times, JSON rows."""

import datetime as dt
import json
import math
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
import pytest

from tapewatch.emulator.rest import encode
from tapewatch.emulator.synthetic.randomness import bits, exp, exponential, normals, stream, uniform
from tapewatch.emulator.tape.cache import LruCache
from tapewatch.emulator.vendor import times
from tapewatch.emulator.vendor.replies import Refusal
from tapewatch.market.instruments import Market
from tapewatch.market.tables.tape import TRADES


def test_bits_are_splitmix64() -> None:
    # The reference implementation's first numbers from state 1234567.
    state = np.array([1234567], dtype=np.uint64)
    assert [int(bits(state)) for _ in range(3)] == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_distributions_have_their_moments() -> None:
    draws = normals(stream("test"), 400_000)
    assert draws.mean() == pytest.approx(0, abs=0.01)
    assert draws.std() == pytest.approx(1, abs=0.01)
    state = stream("test")
    waits = np.array([exponential(state) for _ in range(50_000)])
    assert (waits.mean(), waits.var()) == (pytest.approx(1, abs=0.02), pytest.approx(1, abs=0.05))
    assert 0 <= min(uniform(state) for _ in range(1000)) < max(uniform(state) for _ in range(1000)) < 1


def test_streams_differ_by_every_part_of_their_key() -> None:
    keys = [(1, "a"), (1, "b"), (2, "a"), ("1a",), (1, "a", ""), ("a", 1)]
    assert len({int(stream(*key)[0]) for key in keys}) == len(keys)


@pytest.mark.parametrize("x", [-8.0, -1.0, -1e-6, 0.0, 0.3, 1.0, 5.0])
def test_exp(x: float) -> None:
    assert exp(x) == pytest.approx(math.exp(x), rel=1e-9)


def test_the_cache_computes_a_value_once_for_many_threads() -> None:
    cache, made, gate = LruCache[int](100, lambda _: 1), [], threading.Barrier(8)

    def ask(_: int) -> int:
        gate.wait()
        return cache.get("key", lambda: made.append(1) or 7)

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(8))) == {7}
    assert len(made) == 1


def test_the_cache_is_bounded_and_drops_the_least_recently_used() -> None:
    cache = LruCache[str](10, len)
    for key in "abc":
        cache.get(key, lambda key=key: key * 4)
    assert cache.size == 8
    assert cache.get("c", lambda: "made again") == "cccc"
    assert cache.get("a", lambda: "made again") == "made again"
    assert cache.size == 10


def test_the_cache_does_not_keep_a_failure() -> None:
    cache = LruCache[int](10, lambda _: 1)
    with pytest.raises(ZeroDivisionError):
        cache.get("key", lambda: 1 // 0)
    assert cache.get("key", lambda: 1) == 1


@pytest.mark.parametrize(
    ("market", "low", "high"),
    [
        (Market.STOCKS, "2024-03-10T05:00", "2024-03-11T04:00"),
        (Market.CRYPTO, "2024-03-10T00:00", "2024-03-11T00:00"),
    ],
)
def test_a_date_is_the_market_s_whole_day(market: Market, low: str, high: str) -> None:
    expected = tuple(int(dt.datetime.fromisoformat(f"{text}Z").timestamp()) * 10**9 for text in (low, high))
    assert times.bounds({"timestamp": "2024-03-10"}, market) == expected
    assert times.bounds({"timestamp.gte": "2024-03-10", "timestamp.lte": "2024-03-10"}, market) == expected
    assert times.bounds({"timestamp.gt": "2024-03-09", "timestamp.lt": "2024-03-11"}, market) == expected
    assert times.window_edges("2024-03-10", "2024-03-10", market) == expected


def test_bounds_are_intersected() -> None:
    assert times.bounds({}, Market.STOCKS) == (None, None)
    assert times.bounds({"timestamp.gte": "5", "timestamp.gt": "5", "timestamp.lte": "9"}, Market.STOCKS) == (6, 10)
    with pytest.raises(Refusal):
        times.bounds({"timestamp.gte": "2024-13-01"}, Market.STOCKS)


def test_rows_with_special_characters_are_valid_json() -> None:
    row = {
        "symbol": "AAPL", "time": dt.datetime(2024, 3, 5, tzinfo=dt.UTC), "sequence_number": 7, "price": 1e-7,
        "size": 0.5, "exchange": 4, "conditions": "12,37", "id": 'a"b\\c', "correction": 8, "trf_id": None,
    }  # fmt: skip
    frame = TRADES.conform(pl.DataFrame([row]))
    (read,) = json.loads(f"[{encode.trades(frame, Market.STOCKS)}]")
    assert read == {
        "conditions": [12, 37], "correction": 8, "exchange": 4, "id": 'a"b\\c', "price": 1e-7, "sequence_number": 7,
        "sip_timestamp": 1709596800000000000, "size": 0, "decimal_size": "0.5",
    }  # fmt: skip
    assert encode.trades(frame.clear(), Market.STOCKS) == ""
