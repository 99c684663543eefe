"""The stream's connection against a real server that disconnects, refuses, stops answering and recovers."""

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
from websockets.asyncio.server import ServerConnection

from tapewatch.feeds.stream.client import StreamAuthenticationError, StreamClient, StreamError
from tapewatch.feeds.stream.decode.decoder import Frame
from tapewatch.feeds.stream.policy import ConnectionPolicy
from tapewatch.feeds.stream.queue import FrameQueue, Marker
from tests.support.scripted_stream import KEY, ScriptedStream, serving, status, stay, trade
from tests.support.streaming_client import PATIENCE_S, QUICK, Running, running


async def _sends_five(connection: ServerConnection, number: int) -> None:
    for i in range(5):
        await connection.send(trade(10 * number + i))


def test_frames_come_in_order_between_markers_and_a_stop_closes_properly() -> None:
    before = time.time_ns()
    with serving(ScriptedStream(script=_sends_five)) as server:
        with running(server.url, ["T.*"]) as run:
            run.until(lambda: len(run.numbers()) == 5)
        assert run.numbers() == [10, 11, 12, 13, 14]
        assert isinstance(run.items[0], Marker)
        assert run.items[0].kind == "connected"
        assert isinstance(run.items[-1], Marker)
        assert (run.items[-1].kind, run.items[-1].detail) == ("disconnected", "stopped")
        received = [item.received_ns for item in run.items if isinstance(item, Frame)]
        assert before < received[0] <= received[-1] <= time.time_ns()
        stats = run.client.stats
        assert (stats.state, stats.subscribed, stats.reconnects, stats.failures) == ("stopped", 1, 0, 0)
        assert (stats.frames, stats.last_frame_ns) == (len(received), received[-1])
        run.until(lambda: server.closes == [1000])
        assert server.keys == [KEY]


async def _ends_cleanly(connection: ServerConnection, number: int) -> None:
    await connection.send(trade(number))
    await connection.close(1000, "maintenance")


async def _drops(connection: ServerConnection, number: int) -> None:
    await connection.send(trade(number))
    connection.transport.abort()


@pytest.mark.parametrize(("script", "cause"), [(_ends_cleanly, "1000 maintenance"), (_drops, "broke")])
def test_a_lost_connection_is_reopened_every_time(
    script: Callable[[ServerConnection, int], object], cause: str
) -> None:
    with (
        serving(ScriptedStream(script=script)) as server,  # type: ignore[arg-type]
        running(server.url, ["T.A", "T.B"]) as run,
    ):
        run.until(lambda: len(run.markers("disconnected")) >= 4)
        assert all(cause in marker.detail for marker in run.markers("disconnected")[:4])
        assert server.asked[:4] == [["T.A", "T.B"]] * 4
        assert run.client.stats.reconnects >= 3
        kinds = [item.kind for item in run.items if isinstance(item, Marker)]
        assert kinds[:4] == ["connected", "disconnected"] * 2


def test_waits_grow_to_a_limit() -> None:
    policy = ConnectionPolicy()
    waits = [policy.longest_wait(failures) for failures in (0, 1, 2, 6, 7, 8, 10_000)]
    assert waits == [0.5, 1.0, 2.0, 32.0, 60.0, 60.0, 60.0]


async def _ends_after_a_while(connection: ServerConnection, _: int) -> None:
    await asyncio.sleep(0.1)
    await connection.close(1001, "going away")


@pytest.mark.parametrize(("healthy_after_s", "is_forgiven"), [(0.001, True), (3600.0, False)])
def test_a_healthy_connection_resets_the_count_of_failures(healthy_after_s: float, is_forgiven: bool) -> None:
    policy = replace(QUICK, first_wait_s=1e-4, longest_wait_s=100, healthy_after_s=healthy_after_s)
    with serving(ScriptedStream(script=_ends_after_a_while)) as server, running(server.url, ["T.*"], policy) as run:
        run.until(lambda: run.client.stats.failures >= 5)
        assert (run.client._failures <= 1) is is_forgiven  # the figure that the waits follow


def test_an_unreachable_server_is_retried() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        url = f"ws://127.0.0.1:{held.getsockname()[1]}/stocks"
        with running(url, ["T.*"]) as run:
            run.until(lambda: run.client.stats.failures >= 4)
            assert "no connection" in run.client.stats.last_cause
        assert run.markers("connected") == run.markers("disconnected") == []


def test_a_rejected_key_ends_the_client_with_the_way_out_and_without_the_key(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    refusal = status("auth_failed", f"authentication failed for {KEY}")
    with serving(ScriptedStream(answer_to_auth=refusal)) as server:
        run = Running(server.url, ["T.*"])
        run.thread.join(PATIENCE_S)
        run.end()
    assert isinstance(run.error, StreamAuthenticationError)
    assert "set POLYGON_API_KEY" in str(run.error)
    assert len(server.opened_at) == 1
    assert run.client.stats.state == "refused"
    assert [marker.kind for marker in run.items if isinstance(marker, Marker)] == ["refused"]
    # The test's server shares the process, and may log what it received.
    logged = [record.getMessage() for record in caplog.records if record.name != "websockets.server"]
    everything = [*logged, str(run.error), repr(run.client), repr(vars(run.client.stats)), repr(run.items)]
    assert not any(KEY in text for text in everything)


def test_too_many_connections_wait_longer_and_are_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    full = status("max_connections", "Maximum number of websocket connections exceeded.")
    stream = ScriptedStream(greet={1: full, 2: full})
    with serving(stream) as server, running(server.url, ["T.*"]) as run:
        run.until(lambda: bool(run.markers("connected")))
        assert all(later - earlier >= QUICK.crowded_wait_s for earlier, later in pairwise(server.opened_at))
        assert len(run.markers("refused")) == 1
        told = [record for record in caplog.records if "One key may hold one connection" in record.getMessage()]
        assert len(told) == 1


async def _throws_out(connection: ServerConnection, number: int) -> None:
    if number > 1:
        await stay(connection, number)
    await connection.send(status("max_connections", "Maximum number of websocket connections exceeded."))
    await connection.close(1008, "max_connections")


def test_a_disconnect_by_another_connection_waits_longer() -> None:
    with serving(ScriptedStream(script=_throws_out)) as server, running(server.url, ["T.*"]) as run:
        run.until(lambda: len(run.markers("connected")) == 2)
        first, second = server.opened_at
        assert second - first >= QUICK.crowded_wait_s
        assert [marker.detail for marker in run.markers("disconnected")] == [
            "the server closed with 1008 max_connections"
        ]


def test_an_idle_market_keeps_its_connection() -> None:
    # On a machine so slow that a pong takes a second, try again with longer timeouts.
    for ping_timeout_s in (0.5, 5.0, 50.0):
        policy = replace(QUICK, ping_timeout_s=ping_timeout_s)
        with serving(ScriptedStream()) as server, running(server.url, ["T.*"], policy) as run:
            run.until(lambda run=run: run.client.stats.subscribed == 1)
            time.sleep(2 * (policy.ping_interval_s + policy.ping_timeout_s))
            is_alive = (run.client.stats.state, len(server.opened_at)) == ("streaming", 1)
        if is_alive:
            return
    pytest.fail("a market that is idle was given up")


async def _goes_deaf(connection: ServerConnection, number: int) -> None:
    if number == 1:
        connection.transport.pause_reading()
    await stay(connection, number)


def test_a_half_open_connection_is_noticed_and_replaced() -> None:
    policy = replace(QUICK, ping_timeout_s=0.6, close_timeout_s=0.2)
    with serving(ScriptedStream(script=_goes_deaf)) as server, running(server.url, ["T.*"], policy) as run:
        run.until(lambda: len(run.markers("connected")) >= 2)
        assert run.markers("disconnected")[0].detail == "no answer to a ping within 0.6 s"


def test_refused_channels_are_reported_and_the_others_continue() -> None:
    stream = ScriptedStream(script=_sends_five, denied={"NOI": "not authorized", "LULD": "not entitled to LULD.*."})
    with serving(stream) as server, running(server.url, ["AM.*", "NOI.*", "LULD.*", "T.*"]) as run:
        run.until(lambda: run.client.stats.subscribed == 2 and len(run.numbers()) == 5)
        assert run.client.stats.refused_channels == ["NOI.*", "LULD.*"]
        assert [marker.detail for marker in run.markers("refused")] == [
            "NOI.*: not authorized",
            "LULD.*: not entitled to LULD.*.",
        ]


def test_many_symbols_are_subscribed_in_messages_of_limited_length() -> None:
    names = [f"T.SYM{i}" for i in range(3000)]
    with serving(ScriptedStream()) as server, running(server.url, names) as run:
        run.until(lambda: run.client.stats.subscribed == len(names))
        assert [name for asked in server.asked for name in asked] == names
        assert max(sum(map(len, asked)) for asked in server.asked) <= QUICK.subscribe_bytes


def test_an_unanswered_subscription_does_not_block_the_next() -> None:
    policy = replace(QUICK, reply_timeout_s=0.5)
    with serving(ScriptedStream(is_mute=True)) as server, running(server.url, ["T.*", "Q.*"], policy) as run:
        run.until(lambda: server.asked[-2:] == [["T.*"], ["Q.*"]])
        run.until(lambda: run.client.stats.state == "streaming")


def test_no_answer_in_the_handshake_is_a_lost_connection() -> None:
    stream = ScriptedStream(answer_to_auth=status("waiting"))
    policy = replace(QUICK, reply_timeout_s=0.5)
    with serving(stream) as server, running(server.url, ["T.*"], policy) as run:
        run.until(lambda: len(server.opened_at) >= 2 and "no auth_success" in run.client.stats.last_cause)


async def _floods(connection: ServerConnection, _: int) -> None:
    for i in range(20_000):
        await connection.send(trade(i))


def test_a_stalled_worker_does_not_stall_the_socket() -> None:
    with serving(ScriptedStream(script=_floods)) as server:
        run = Running(server.url, ["T.*"])
        deadline = time.monotonic() + PATIENCE_S
        while run.client.stats.frames < 20_001 and time.monotonic() < deadline:
            time.sleep(0.01)
        run.end()
    assert len(run.numbers()) == 20_000
    assert len(server.opened_at) == 1


def test_a_stop_does_not_wait_for_a_handshake_or_a_backoff() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        patient = replace(QUICK, open_timeout_s=2 * PATIENCE_S)
        client = Running(f"ws://127.0.0.1:{deaf.getsockname()[1]}/stocks", ["T.*"], patient)
        client.until(lambda: client.client.stats.state == "connecting")
        client.end()
    assert client.client.stats.state == "stopped"
    full = status("max_connections", "Maximum number of websocket connections exceeded.")
    with serving(ScriptedStream(greet={1: full})) as server:
        client = Running(server.url, ["T.*"], replace(QUICK, crowded_wait_s=2 * PATIENCE_S))
        client.until(lambda: client.client.stats.state == "waiting")
        client.end()
    assert client.client.stats.connections == 0


def test_stopping_a_client_that_just_ended_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    client = StreamClient("ws://127.0.0.1/stocks", KEY, ["T.*"], FrameQueue(1))
    client._loop = asyncio.new_event_loop()
    client._loop.close()
    # Its thread closes the loop between the check and the call.
    monkeypatch.setattr(client._loop, "is_closed", lambda: False)
    client.stop()


@pytest.mark.parametrize(
    "url", ["https://socket.polygon.io/stocks", "wss:///stocks", f"wss://host/stocks?apiKey={KEY}"]
)
def test_an_invalid_address_is_refused_without_showing_the_key(url: str) -> None:
    with pytest.raises(StreamError) as caught:
        StreamClient(url, KEY, ["T.*"], FrameQueue(1))
    assert KEY not in str(caught.value)
