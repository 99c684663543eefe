"""Each fault occurs as configured, is counted, is reproducible from its seed, and leaves REST complete."""

import datetime as dt
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polygon import RESTClient

from tapewatch.emulator.faults import Fault, FaultError, FaultTriggers, load, read
from tapewatch.emulator.stream import message_faults
from tapewatch.emulator.stream.channels import Day
from tapewatch.emulator.tape.market_tape import SyntheticTape
from tapewatch.market.instruments import Market, Partition
from tests.support import ask
from tests.support.emulator import serving
from tests.support.stream_client import PATIENCE_S, PING_TIMEOUT_S, Received, listened, progress

DAY = dt.date(2024, 3, 5)
PAIR = "X:BTC-USD"
MINUTES_MS = 600_000


@pytest.fixture(scope="module")
def tape() -> SyntheticTape:
    return SyntheticTape(7)


@pytest.fixture(scope="module")
def day(tape: SyntheticTape) -> Day:
    return Day(tape, Partition(DAY, Market.CRYPTO).session, [PAIR])


def played(
    tape: SyntheticTape, channels: str = "XT.BTC-USD", ping_timeout_s: float = PING_TIMEOUT_S, **fault: Any
) -> tuple[Received, dict[str, int]]:
    """A day of BTC with one fault, and the number of its occurrences."""
    with serving(tape, replay=str(DAY), faults={"fault": [fault]}) as url:
        received = listened(url, "crypto", channels, ping_timeout_s=ping_timeout_s)
        status = progress(url, "crypto")
        rest = RESTClient("k", base=url, retries=0)
        trades = list(rest.list_trades("X:BTCUSD", timestamp=str(DAY), limit=50_000, order="asc"))
    assert [trade.id for trade in trades] == ids(tape)
    assert set(status["faults"]) <= {fault["kind"]}
    return received, status["faults"]


def ids(tape: SyntheticTape) -> list[str]:
    return tape.trades(PAIR, DAY)["id"].to_list()


@pytest.mark.parametrize(
    ("kind", "end"),
    [
        ("drop", "lost"),
        ("close", "1000"),
        ("close_1008", "1008"),
        pytest.param("half_open", "lost", marks=pytest.mark.slow),
        ("truncated_frame", "lost"),
    ],
)
def test_connections_break_and_tape_is_skipped(tape: SyntheticTape, kind: str, end: str) -> None:
    # A half-open connection is detected by its silence. On a slow machine a good connection may be silent too, so wait longer.
    for ping_timeout_s in (4.0, 15.0, 45.0) if kind == "half_open" else (PING_TIMEOUT_S,):
        received, struck = played(
            tape, ping_timeout_s=ping_timeout_s, kind=kind, every=5_000, count=2, lose_ms=MINUTES_MS
        )
        if received.ends == {end: 2}:
            break
    assert received.ends == {end: 2}
    assert struck == {kind: 2}
    got = [event["i"] for event in received.events]
    assert len(set(got)) == len(got)
    # Two of the day's 144 parts of ten minutes, and the data in transit.
    assert 0.9 * len(ids(tape)) < len(got) < len(ids(tape))
    assert set(got) < set(ids(tape))


def test_nothing_is_lost_when_connections_close_cleanly(tape: SyntheticTape) -> None:
    received, struck = played(tape, kind="close", probability=0.0005, count=5, seed=3)
    assert struck == {"close": 5}
    assert [event["i"] for event in received.events] == ids(tape)


def test_frames_are_malformed(tape: SyntheticTape) -> None:
    received, struck = played(tape, kind="malformed_json", every=3_000, count=3)
    assert struck == {"malformed_json": 3}
    assert len(received.bad_frames) == 3
    assert all(frame.startswith('[{"ev":"XT"') for frame in received.bad_frames)
    assert set(ids(tape)) > {event["i"] for event in received.events}


def test_slow_frames_are_read(tape: SyntheticTape) -> None:
    start = time.monotonic()
    received, struck = played(tape, kind="slow", every=5_000, count=2, hold_ms=600)
    assert struck == {"slow": 2}
    assert time.monotonic() - start > 1.2
    assert [event["i"] for event in received.events] == ids(tape)


@pytest.mark.long
def test_unknown_events_and_fields_are_sent(tape: SyntheticTape) -> None:
    received, struck = played(tape, kind="unknown_event", every=1_000)
    assert struck == {"unknown_event": len(received.of("ZZ"))} == {"unknown_event": len(ids(tape)) // 1_000}
    assert [event["i"] for event in received.of("XT")] == ids(tape)
    received, struck = played(tape, kind="unknown_field", every=1_000, count=7)
    assert struck == {"unknown_field": sum("zz" in event for event in received.events)} == {"unknown_field": 7}


def test_duplicates_are_sent(tape: SyntheticTape) -> None:
    received, struck = played(tape, kind="duplicate", probability=0.01, seed=5)
    times = Counter(event["i"] for event in received.events)
    assert set(times) == set(ids(tape))
    assert 100 < sum(count == 2 for count in times.values()) == struck["duplicate"] < 300
    first = {}
    for event in received.events:
        known = first.setdefault(event["i"], event)
        assert {**known, "r": 0} == {**event, "r": 0}


def test_messages_arrive_out_of_order(tape: SyntheticTape) -> None:
    received, struck = played(tape, kind="out_of_order", every=50, delay_ms=30_000)
    got = [event["i"] for event in received.events]
    assert sorted(got, key=int) == ids(tape)
    assert got != ids(tape)
    assert struck["out_of_order"] == len(got) // 50


def test_late_corrections_resend_trades_and_bars(tape: SyntheticTape) -> None:
    received, struck = played(
        tape, "XT.BTC-USD,XA.BTC-USD", kind="late_correction", every=400, delay_ms=90_000, channel="XT"
    )
    times = Counter(event["i"] for event in received.of("XT"))
    assert sum(count == 2 for count in times.values()) == struck["late_correction"] == len(ids(tape)) // 400
    last = {event["i"]: event["p"] for event in received.of("XT")}
    assert [last[identity] for identity in ids(tape)] == tape.trades(PAIR, DAY)["price"].to_list()
    bars = tape.bars(PAIR, DAY)
    versions: dict[int, list[tuple[float, float]]] = {}
    for bar in received.of("XA"):
        versions.setdefault(bar["s"], []).append((bar["h"], bar["v"]))
    final = list(zip(bars["high"].to_list(), bars["volume"].to_list(), strict=True))
    assert [versions[ns // 10**6][-1] for ns in bars["time"].to_physical()] == final
    again = [copies for copies in versions.values() if len(copies) > 1]
    assert len(again) == struck["late_correction"]
    assert all(copies[0] != copies[-1] for copies in again)


def test_trades_later_than_their_minute_are_in_its_corrected_bar(tape: SyntheticTape) -> None:
    received, _ = played(tape, "XA.BTC-USD", kind="out_of_order", every=400, delay_ms=90_000, channel="XT")
    sizes: dict[int, list[float]] = {}
    for bar in received.of("XA"):
        sizes.setdefault(bar["s"], []).append(bar["v"])
    bars = tape.bars(PAIR, DAY)
    assert [sizes[ns // 10**6][-1] for ns in bars["time"].to_physical()] == bars["volume"].to_list()
    again = [copies for copies in sizes.values() if len(copies) > 1]
    assert again
    assert all(copies[0] < copies[-1] for copies in again)


def test_bursts_hold_messages_back(tape: SyntheticTape, day: Day) -> None:
    (fault,) = read({"fault": [{"kind": "burst", "every": 500, "hold_ms": 60_000}]}, "test").fault
    rows = message_faults.rows(day, "XT", [fault])
    held = rows.filter(pl.col("_fault") == message_faults.MessageFault.BURST)
    waits = (held["_release"] - held["time"]).dt.total_milliseconds()
    assert waits.min() >= 0
    assert waits.max() == 60_000
    assert held["_release"].n_unique() == len(ids(tape)) // 500
    assert rows["_release"].is_sorted()


def test_clocks_are_skewed(tape: SyntheticTape) -> None:
    received, struck = played(tape, kind="clock_skew", every=100, skew_ms=3_600_000)
    truth = (tape.trades(PAIR, DAY)["time"].to_physical() // 10**6).to_list()
    off = [event["t"] - right for event, right in zip(received.events, truth, strict=True)]
    assert Counter(off) == {0: len(off) - struck["clock_skew"], 3_600_000: struck["clock_skew"]}


def test_a_seed_s_faults_do_not_depend_on_other_subscriptions(day: Day) -> None:
    def struck(seed: int, symbols: list[str]) -> list[str]:
        fault = Fault(kind="duplicate", probability=0.01, seed=seed)
        rows = message_faults.rows(replace(day, symbols=symbols), "XT", [fault])
        mine = (pl.col("_fault") != 0) & (pl.col("symbol").cast(pl.String) == PAIR)
        return rows.filter(mine)["id"].to_list()

    assert struck(1, [PAIR]) == struck(1, ["X:ADA-USD", PAIR])
    assert struck(1, [PAIR]) != struck(2, [PAIR])


def test_faults_can_be_replaced_while_it_runs(tape: SyntheticTape) -> None:
    with serving(tape, replay=str(DAY), speed="20000eps") as url:
        answer = ask.post(
            f"{url}/emulator/v1/faults",
            json={"fault": [{"kind": "close", "every": 4_000, "count": 1}]},
            timeout=PATIENCE_S,
        )
        assert answer.json() == {"status": "OK", "faults": 1}
        received = listened(url, "crypto", "XT.BTC-USD")
        assert received.ends == {"1000": 1}
        assert progress(url, "crypto")["faults"] == {"close": 1}
        none = ask.post(f"{url}/emulator/v1/faults", json={"fault": []}, timeout=PATIENCE_S)
        assert none.json()["faults"] == 0
        for wrong in ({"fault": [{"kind": "flood", "every": 1}]}, {"fault": [{"kind": "drop"}]}):
            refused = ask.post(f"{url}/emulator/v1/faults", json=wrong, timeout=PATIENCE_S)
            assert refused.status_code == 400


@pytest.mark.parametrize(("kind", "status"), [("http_429", 429), ("http_500", 500), ("cut_page", 200)])
def test_every_third_rest_call_fails(tape: SyntheticTape, kind: str, status: int) -> None:
    with serving(tape, faults={"fault": [{"kind": kind, "every": 3, "count": 2}]}) as url:
        address = f"{url}/v3/trades/X:BTCUSD?apiKey=k&limit=10"
        answers = [ask.get(address, timeout=PATIENCE_S) for _ in range(9)]
        faults = progress(url, "crypto")["faults"]
    assert faults == {kind: 2}
    is_struck = [number in (2, 5) for number in range(9)]
    if kind == "cut_page":
        assert [not answer.text.endswith("}") for answer in answers] == is_struck
    assert [answer.status_code for answer in answers] == [status if struck else 200 for struck in is_struck]
    assert all(("retry-after" in answer.headers) == (answer.status_code == 429) for answer in answers)


def test_a_symbol_changes_its_name(tape: SyntheticTape) -> None:
    rename = {"symbol": "VOO", "to": "VOOX", "at": "2024-03-05T17:00:00Z"}
    with serving(tape, replay=str(DAY), faults={"rename": [rename]}) as url:
        received = listened(url, "stocks", "T.VOO,T.VOOX")
        client = RESTClient("k", base=url, retries=0)
        on_rest = {
            name: [trade.sequence_number for trade in client.list_trades(name, timestamp=str(DAY), order="asc")]
            for name in ("VOO", "VOOX")
        }
        assert list(client.list_trades("VOO", timestamp="2024-03-06")) == []
    streamed: dict[str, list[int]] = {}
    for event in received.events:
        streamed.setdefault(event["sym"], []).append(event["q"])
    assert streamed == on_rest
    assert [*on_rest["VOO"], *on_rest["VOOX"]] == tape.trades("VOO", DAY)["sequence_number"].to_list()


def test_a_faults_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "faults.toml"
    path.write_text(
        '[[fault]]\nkind = "drop"\nevery = 5\nmarket = "crypto"\n'
        '[[rename]]\nsymbol = "A"\nto = "B"\nat = 2024-03-05T15:00:00Z\n'
    )
    faults = load(path)
    assert faults.fault == (Fault(kind="drop", every=5, market=Market.CRYPTO),)
    assert faults.rename[0].at_ns == int(dt.datetime(2024, 3, 5, 15, tzinfo=dt.UTC).timestamp()) * 10**9


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"fault": [{"kind": "drop", "every": 0}]}, "every"),
        ({"fault": [{"kind": "drop", "every": 5, "probability": 0.5}]}, "either"),
        ({"fault": [{"kind": "drop", "probability": 1.5}]}, "probability"),
        ({"fault": [{"kind": "drop", "probability": 0.0}]}, "probability"),
        ({"fault": [{"kind": "drop", "every": 5, "evry": 5}]}, "evry"),
        ({"fault": [{"kind": "drip", "every": 5}]}, "drip"),
        ({"rename": [{"symbol": "A", "to": "B", "at": "2024-03-05T15:00:30Z"}]}, "whole minute"),
    ],
)
def test_an_invalid_faults_file_is_refused(content: Mapping[str, object], says: str) -> None:
    with pytest.raises(FaultError, match=says):
        read(content, "faults.toml")


def test_a_missing_faults_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FaultError, match="nowhere"):
        load(tmp_path / "nowhere.toml")


def test_faults_that_are_due_together_occur_one_after_the_other() -> None:
    kinds = ("drop", "malformed_json", "close")
    document = {"fault": [{"kind": kind, "every": 10, "count": 2} for kind in kinds]}
    triggers = FaultTriggers(read(document, "test").fault)
    occurred = []
    while (left := triggers.events_left) < 1_000:
        fault = triggers.advance(left)
        occurred.append((left, fault.kind if fault else None))
    assert occurred[:3] == [(10, "drop"), (1, "malformed_json"), (1, "close")]
    assert Counter(kind for _, kind in occurred) == dict.fromkeys(kinds, 2)
    # One that is due all the time leaves room for the other.
    busy = FaultTriggers(read({"fault": [{"kind": kind, "every": 1} for kind in kinds[:2]]}, "test").fault)
    found = [fault.kind for fault in (busy.advance(1) for _ in range(10)) if fault]
    assert Counter(found) == {"drop": 5, "malformed_json": 5}


def test_corrections_cross_midnight(tape: SyntheticTape) -> None:
    delay = 20 * 3_600_000
    fault = {"kind": "late_correction", "every": 400, "delay_ms": delay, "channel": "XT"}
    days = [DAY, DAY + dt.timedelta(days=1)]
    with serving(tape, replay=f"{days[0]}:{days[-1]}", faults={"fault": [fault]}) as url:
        events = listened(url, "crypto", "XT.BTC-USD").of("XT")
    newest, prices, corrected = 0, {}, []
    for event in events:
        key = event["t"], event["i"]
        if key in prices:
            corrected.append((event["t"], newest))
        newest = max(newest, event["t"])
        prices[key] = event["p"]
    trades = [tape.trades(PAIR, day) for day in days]
    assert list(prices.values()) == [price for frame in trades for price in frame["price"]]
    assert len(corrected) == sum(frame.height // 400 for frame in trades)
    # Each comes twenty hours later, those of the last hours after the tape's end.
    for at, before in corrected:
        assert min(at + delay, newest) - MINUTES_MS <= before <= at + delay
