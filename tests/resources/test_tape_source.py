"""An unreachable vendor: waited for once per run, then tried once."""

import socket
from collections.abc import Iterator

import pytest

from resources import reachable
from resources.tape_source import TapeSourceResource
from tapewatch.feeds.errors import UnavailableError


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses, recorded instead of slept."""
    waited: list[float] = []
    monkeypatch.setattr(reachable.time, "sleep", waited.append)
    return waited


@pytest.fixture
def closed() -> Iterator[socket.socket]:
    """A bound port at which nothing listens yet."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder


def source_at(holder: socket.socket) -> TapeSourceResource:
    return TapeSourceResource(base_url=f"http://127.0.0.1:{holder.getsockname()[1]}", api_key="k")


def test_an_unreachable_vendor_is_waited_for_once_per_run(closed: socket.socket, waits: list[float]) -> None:
    source = source_at(closed)
    with pytest.raises(
        UnavailableError, match=r"http://127\.0\.0\.1:\d+ \(.*\): check the network and POLYGON_BASE_URL"
    ):
        source.expect_vendor()
    assert len(waits) > 1
    of_the_first_table = list(waits)
    with pytest.raises(UnavailableError):
        source.expect_vendor()
    assert waits == of_the_first_table


def test_a_vendor_that_comes_back_is_waited_for_again(closed: socket.socket, waits: list[float]) -> None:
    source = source_at(closed)
    with pytest.raises(UnavailableError):
        source.expect_vendor()
    closed.listen()
    waits.clear()
    source.expect_vendor()
    assert not waits


def test_an_unknown_host_is_named(waits: list[float]) -> None:
    with pytest.raises(UnavailableError, match=r"https://vendor\.invalid \("):
        TapeSourceResource(base_url="https://vendor.invalid", api_key="k").expect_vendor()


@pytest.mark.parametrize("address", ["api.polygon.io", "ftp://api.polygon.io", "http://127.0.0.1:port"])
def test_a_malformed_address_is_named_with_its_variable(address: str) -> None:
    with pytest.raises(UnavailableError, match=f"POLYGON_BASE_URL is '{address}'"):
        TapeSourceResource(base_url=address, api_key="k").expect_vendor()


def test_files_need_no_vendor() -> None:
    TapeSourceResource(base_url="http://127.0.0.1:9", flat_files="/files").expect_vendor()
