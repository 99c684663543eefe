"""The WebSocket protocol on real sockets: authentication, subscriptions, plans, connection limits, the official client."""

import asyncio
import datetime as dt
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from polygon import WebSocketClient
from polygon.websocket.models import CryptoTrade, EquityAgg
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tapewatch.emulator.stream.wire import header
from tapewatch.emulator.tape.market_tape import SyntheticTape
from tests.support.ask import get
from tests.support.emulator import serving
from tests.support.stream_client import PATIENCE_S, ask, hello, listened, progress

DAY = "2024-03-05"


@pytest.fixture(scope="module")
def tape() -> SyntheticTape:
    return SyntheticTape(7)


@pytest.fixture
def url(tape: SyntheticTape) -> Iterator[str]:
    with serving(tape, key="advanced-one", replay=DAY, speed="2000eps") as address:
        yield address


def socket_of(url: str, market: str = "stocks") -> Any:
    address = f"{url.replace('http', 'ws', 1)}/{market}"
    return connect(address, max_size=None, open_timeout=PATIENCE_S, ping_timeout=PATIENCE_S)


def test_a_client_connects_and_authenticates(url: str) -> None:
    async def talk() -> None:
        async with socket_of(url) as socket:
            assert await hello(socket, "advanced-one") == [
                {"ev": "status", "status": "connected", "message": "Connected Successfully"},
                {"ev": "status", "status": "auth_success", "message": "authenticated"},
            ]
            # The library's client offers compression; the server declines.
            assert not socket.protocol.extensions

    asyncio.run(talk())


def test_a_wrong_key_is_refused(url: str) -> None:
    async def talk() -> None:
        async with socket_of(url) as socket:
            statuses = await hello(socket, "another")
            assert statuses[1]["status"] == "auth_failed"
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1008

    asyncio.run(talk())


def test_an_unauthenticated_client_receives_nothing(url: str) -> None:
    async def talk() -> None:
        async with socket_of(url) as socket:
            await socket.recv()
            for message, status in (('{"action":"subscribe","params":"T.*"}', "auth_required"), ("x", "error")):
                await socket.send(message)
                assert json.loads(await socket.recv())[0]["status"] == status

    asyncio.run(talk())


def test_a_client_that_authenticates_with_another_key_frees_the_first_one(tape: SyntheticTape) -> None:
    async def talk(url: str) -> None:
        async with socket_of(url) as first, socket_of(url) as second:
            assert (await hello(first, "advanced-old"))[1]["status"] == "auth_success"
            for key, expected in (("advanced-old", "auth_success"), ("advanced-new", "auth_success")):
                await first.send(json.dumps({"action": "auth", "params": key}))
                assert json.loads(await first.recv())[0]["status"] == expected
            assert (await hello(second, "advanced-old"))[1]["status"] == "auth_success"
        async with socket_of(url) as third:
            assert (await hello(third, "advanced-new"))[1]["status"] == "auth_success"

    with serving(tape, replay=DAY, speed="2000eps") as address:
        asyncio.run(talk(address))


def test_a_key_has_one_connection_per_market(url: str) -> None:
    async def talk() -> None:
        async with socket_of(url) as first, socket_of(url, "crypto") as other:
            assert (await hello(first, "advanced-one"))[1]["status"] == "auth_success"
            assert (await hello(other, "advanced-one"))[1]["status"] == "auth_success"
            async with socket_of(url) as second:
                assert (await hello(second, "advanced-one"))[1]["status"] == "max_connections"
                with pytest.raises(ConnectionClosed) as closed:
                    await second.recv()
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 1008
        async with socket_of(url) as third:
            assert (await hello(third, "advanced-one"))[1]["status"] == "auth_success"

    asyncio.run(talk())


def test_each_subscription_is_confirmed(url: str) -> None:
    async def talk() -> None:
        async with socket_of(url) as socket:
            await hello(socket, "advanced-one")
            statuses = await ask(socket, "subscribe", "T.AAPL,AM.*,ZZ.AAPL,T")
            assert [(status["status"], status["message"]) for status in statuses] == [
                ("success", "subscribed to: T.AAPL"),
                ("success", "subscribed to: AM.*"),
                ("error", "unknown channel: ZZ.AAPL"),
                ("error", "unknown channel: T"),
            ]
            statuses = await ask(socket, "unsubscribe", "T.AAPL")
            assert statuses[0]["message"] == "unsubscribed to: T.AAPL"
            assert {event["ev"] for event in json.loads(await socket.recv())} == {"AM"}

    asyncio.run(talk())


@pytest.mark.parametrize(
    ("tier", "market", "granted", "refused"),
    [
        ("basic", "stocks", "", "AM"),
        ("starter", "stocks", "AM", "T"),
        ("developer", "stocks", "T", "Q"),
        ("starter", "crypto", "XT", "XL2"),
        ("advanced", "indices", "V", ""),
    ],
)
def test_channels_depend_on_the_plan(tape: SyntheticTape, tier: str, market: str, granted: str, refused: str) -> None:
    async def talk(url: str) -> None:
        async with socket_of(url, market) as socket:
            await hello(socket, f"{tier}-1")
            for channel, status in ((granted, "success"), (refused, "error")):
                if channel:
                    (reply,) = await ask(socket, "subscribe", f"{channel}.*")
                    assert reply["status"] == status
                    assert ("not authorized" in reply["message"]) == (status == "error")

    with serving(tape, replay=DAY) as url:
        asyncio.run(talk(url))


def test_quotes_of_options_need_single_contracts(tape: SyntheticTape) -> None:
    async def talk(url: str) -> None:
        async with socket_of(url, "options") as socket:
            await hello(socket)
            replies = await ask(socket, "subscribe", "Q.*,Q.O:AAPL291221C00190000")
            assert [reply["status"] for reply in replies] == ["error", "success"]

    with serving(tape, replay=DAY) as url:
        asyncio.run(talk(url))


def test_other_paths_are_refused(url: str) -> None:
    async def talk() -> None:
        with pytest.raises(InvalidStatus):
            async with socket_of(url, "bonds"):
                pass

    asyncio.run(talk())
    assert get(f"{url}/emulator/v1/stream?market=bonds", timeout=PATIENCE_S).status_code == 400


def test_a_changed_subscription_continues_at_its_position(tape: SyntheticTape) -> None:
    async def talk(url: str) -> tuple[Counter[str], list[int]]:
        counts: Counter[str] = Counter()
        times: list[int] = []
        async with socket_of(url) as socket:
            await hello(socket)
            await ask(socket, "subscribe", "AM.AAPL")
            await socket.recv()
            await ask(socket, "subscribe", "AM.MSFT")
            while counts["MSFT"] <= 300:
                events = json.loads(await asyncio.wait_for(socket.recv(), PATIENCE_S))
                counts.update(event["sym"] for event in events)
                times += [event["e"] for event in events if event["sym"] == "AAPL"]
        return counts, times

    # Enough days for a slow machine, on which seconds may pass between two messages.
    with serving(tape, replay=f"{DAY}:2024-03-08", speed="500eps") as url:
        counts, times = asyncio.run(talk(url))
    assert times == sorted(set(times))
    assert counts["AAPL"] > 100


def test_at_full_speed_a_client_may_subscribe_several_times(tape: SyntheticTape) -> None:
    channels = ("XA.ADA-USD", "XA.BTC-USD", "XA.ETH-USD", "XA.SOL-USD")

    async def talk(url: str) -> Counter[str]:
        counts: Counter[str] = Counter()
        async with socket_of(url, "crypto") as socket:
            await hello(socket)
            for name in channels:
                assert (await ask(socket, "subscribe", name))[0]["status"] == "success"
            while counts.total() < sum(expected.values()):
                counts.update(event["pair"] for event in json.loads(await asyncio.wait_for(socket.recv(), PATIENCE_S)))
        return counts

    pairs = [name.removeprefix("XA.") for name in channels]
    expected = {pair: tape.bars(f"X:{pair}", dt.date.fromisoformat(DAY)).height for pair in pairs}
    with serving(tape, replay=DAY) as url:
        assert asyncio.run(talk(url)) == expected


def test_the_tape_s_end_is_repeated_for_a_client_that_left_before_reading_it(tape: SyntheticTape) -> None:
    async def leave(url: str) -> None:
        async with connect(
            f"{url.replace('http', 'ws', 1)}/crypto",
            compression=None,
            max_queue=1,
            open_timeout=PATIENCE_S,
            ping_timeout=PATIENCE_S,
        ) as socket:
            await hello(socket)
            await ask(socket, "subscribe", "XT.BTC-USD")
            while progress(url, "crypto")["sent"] < trades.height:
                # Unread data waits in buffers that hold all of it, or is read in small pieces.
                await asyncio.sleep(0.05)
                await socket.recv()
            assert not progress(url, "crypto")["is_done"]
            socket.transport.abort()

    trades = tape.trades("X:BTC-USD", dt.date.fromisoformat(DAY))
    with serving(tape, replay=DAY) as url:
        asyncio.run(leave(url))
        received = listened(url, "crypto", "XT.BTC-USD")
        assert progress(url, "crypto")["is_done"]
    identities = trades["id"].to_list()
    got = [event["i"] for event in received.events]
    assert got == identities[-len(got) :]
    assert 0 < len(got) <= 600


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_frame_headers_contain_the_size(size: int) -> None:
    start = header(size)
    assert start[0] == 0x81
    assert (start[1] if size < 126 else int.from_bytes(start[2:], "big")) == size


class EnoughError(Exception):
    """The client has read enough."""


def test_the_official_client_reads_the_stream(tape: SyntheticTape) -> None:
    async def read(url: str, market: str, channels: list[str], wanted: int) -> list[Any]:
        client = WebSocketClient(
            "k", feed=url.removeprefix("http://"), market=market, subscriptions=channels, secure=False
        )
        got: list[Any] = []

        async def take(messages: list[Any]) -> None:
            got.extend(messages)
            if len(got) >= wanted:
                # Its close may be queued behind unread frames; the client then reconnects and continues.
                raise EnoughError

        with suppress(EnoughError):
            await asyncio.wait_for(
                client.connect(take, open_timeout=PATIENCE_S, ping_timeout=PATIENCE_S), 2 * PATIENCE_S
            )
        return got

    with serving(tape, replay=DAY) as url:
        crypto = asyncio.run(read(url, "crypto", ["XT.BTC-USD"], 5_000))
        stocks = asyncio.run(read(url, "stocks", ["AM.*"], 2_000))
    day = tape.trades("X:BTC-USD", dt.date.fromisoformat(DAY))
    assert all(isinstance(message, CryptoTrade) for message in crypto)
    assert [message.price for message in crypto] == day["price"].to_list()[: len(crypto)]
    assert [message.size for message in crypto] == day["size"].to_list()[: len(crypto)]
    assert all(isinstance(message, EquityAgg) for message in stocks)


def test_progress_is_reported(tape: SyntheticTape) -> None:
    with serving(tape, replay=DAY) as url:
        assert progress(url, "crypto") == {
            "market": "crypto", "speed": "max", "position_ns": None, "sent": 0, "is_done": False, "faults": {},
        }  # fmt: skip
        received = listened(url, "crypto", "XA.BTC-USD")
        status = progress(url, "crypto")
    assert status["is_done"]
    assert status["sent"] == len(received.events)
    assert status["position_ns"] == received.events[-1]["e"] * 1_000_000
