"""Each store of vectors keeps the newest of each key, whole batches only, and says clearly when it is away."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tapewatch.store.vectors.redis import RedisVectors
from tapewatch.store.vectors.sql import PostgresVectors, SqliteVectors
from tapewatch.store.vectors.vectors import Vector, Vectors, VectorsError, newest
from tests.support.ports import free_port
from tests.support.postgres import postgres
from tests.support.redis import redis_server

Opener = Callable[[], Vectors]


@pytest.fixture(
    scope="module",
    params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow), pytest.param("redis", marks=pytest.mark.slow)],
)
def opener(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opener]:
    """Opens the same store again and again, as several processes would."""
    folder = tmp_path_factory.mktemp("vectors")
    if request.param == "sqlite":
        yield lambda: SqliteVectors(folder / "new" / "online.db")
    elif request.param == "redis":
        with redis_server(folder) as url:
            yield lambda: RedisVectors(url)
    else:
        with postgres() as url:
            yield lambda: PostgresVectors(url)


@pytest.fixture
def vectors(opener: Opener) -> Iterator[Vectors]:
    opened = opener()
    opened.prepare()
    opened.remove("bars")
    opened.remove("bins")
    yield opened
    opened.close()


def vector(event: int, known: int, content: bytes, key: bytes = b"A\x00\xff") -> Vector:
    # Times of today, in µs: they need more than 32 bits, and exactness to the last.
    return Vector(key, 1_764_000_000_000_000 + event, 1_764_000_000_000_000 + known, content)


def test_newest_keeps_one_vector_of_each_key() -> None:
    assert newest([vector(2, 3, b"b"), vector(1, 9, b"a"), vector(2, 3, b"c"), vector(0, 0, b"z", b"0")]) == [
        vector(0, 0, b"z", b"0"),
        vector(2, 3, b"c"),
    ]


def test_an_older_vector_never_replaces_a_newer_one(vectors: Vectors, opener: Opener) -> None:
    vectors.write("bars", [vector(60, 120, b"first")])
    vectors.write("bars", [vector(59, 300, b"older event, known later")])
    vectors.write("bars", [vector(60, 119, b"same event, known earlier")])
    assert vectors.read("bars", [b"A\x00\xff"]) == [vector(60, 120, b"first")]
    vectors.write("bars", [vector(60, 121, b"corrected")])
    assert opener().read("bars", [b"A\x00\xff"]) == [vector(60, 121, b"corrected")]
    vectors.write("bars", [vector(61, 122, b"next\x00")])
    assert vectors.read("bars", [b"A\x00\xff"]) == [vector(61, 122, b"next\x00")]


def test_views_and_missing_keys_are_apart(vectors: Vectors) -> None:
    vectors.write("bars", [vector(1, 1, b"bar"), vector(1, 1, b"other", b"B")])
    vectors.write("bins", [vector(2, 2, b"bin")])
    assert vectors.read("bars", [b"B", b"none", b"A\x00\xff"]) == [
        vector(1, 1, b"other", b"B"),
        None,
        vector(1, 1, b"bar"),
    ]
    vectors.remove("bars")
    assert vectors.read("bars", [b"B", b"A\x00\xff"]) == [None, None]
    assert vectors.read("bins", [b"A\x00\xff"]) == [vector(2, 2, b"bin")]
    vectors.write("bins", [])


def test_thousands_of_keys_at_once(vectors: Vectors) -> None:
    many = [vector(number, number, str(number).encode(), f"S{number:05d}".encode()) for number in range(2500)]
    vectors.write("bars", many)
    assert vectors.read("bars", [v.key for v in many]) == many


def test_of_writers_that_meet_the_newest_wins(vectors: Vectors, opener: Opener) -> None:
    ages = list(range(60))
    ages = [age * 7 % 60 for age in ages]  # in a scrambled order

    def write(part: list[int]) -> None:
        writer = opener()
        for age in part:
            writer.write("bars", [vector(age, age, str(age).encode(), key) for key in (b"A", b"B", b"C")])
        writer.close()

    threads = [threading.Thread(target=write, args=(ages[start::3],)) for start in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [v.content if v else None for v in vectors.read("bars", [b"A", b"B", b"C"])] == [b"59"] * 3


def test_a_store_that_is_away_is_named_without_its_password_and_nothing_is_written(tmp_path: Path) -> None:
    port, word = free_port(), "secret"
    with pytest.raises(VectorsError, match=rf"redis://:\*\*\*@127.0.0.1:{port}/0 \(TAPEWATCH_REDIS_URL\).*start Redis"):
        RedisVectors(f"redis://:secret@127.0.0.1:{port}/0").write("bars", [vector(1, 1, b"x")])
    with pytest.raises(VectorsError, match=r"TAPEWATCH_REDIS_URL"):
        RedisVectors("http://127.0.0.1").prepare()
    with pytest.raises(VectorsError, match=r"u:\*\*\*@127.0.0.1.*TAPEWATCH_ONLINE_DATABASE_URL"):
        PostgresVectors(f"postgresql+psycopg2://u:{word}@127.0.0.1:{port}/x").read("bars", [b"A"])
    with pytest.raises(VectorsError, match="feast -c feature_repo apply"):
        SqliteVectors(tmp_path / "new.db").read("bars", [b"A"])
    (tmp_path / "folder.db").mkdir()
    with pytest.raises(VectorsError, match=r"folder\.db cannot be used"):
        SqliteVectors(tmp_path / "folder.db").prepare()


@pytest.mark.slow
def test_redis_that_comes_back_is_used_again(tmp_path: Path) -> None:
    with redis_server(tmp_path) as url:
        vectors = RedisVectors(url)
        vectors.write("bars", [vector(1, 1, b"x")])
    with pytest.raises(VectorsError, match="start Redis"):
        vectors.write("bars", [vector(2, 2, b"y")])
    with redis_server(tmp_path, port=int(url.rpartition(":")[2].partition("/")[0])):
        vectors.write("bars", [vector(3, 3, b"z")])
        assert vectors.read("bars", [b"A\x00\xff"]) == [vector(3, 3, b"z")]
