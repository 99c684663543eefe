"""Wherever a collector is interrupted or killed, each event is on disk or inside a gap of the book."""

import datetime as dt
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from tapewatch.feeds.stream.decode.decoder import Frame
from tapewatch.feeds.stream.queue import Marker
from tapewatch.market.instruments import NS_PER_SECOND, Market, Partition
from tapewatch.market.schema import Table
from tapewatch.market.tables.stream import STREAM_TRADES
from tapewatch.store.database.database import DatabaseError
from tapewatch.store.spool.files import waiting
from tapewatch.store.spool.rows import read_rows
from tapewatch.store.spool.spool import SpoolWriter
from tapewatch.streaming.alerts.book import AlertBook
from tapewatch.streaming.collector import keeper as keeper_module
from tapewatch.streaming.collector.builder import Builder
from tapewatch.streaming.collector.judges.detectors import Detectors
from tapewatch.streaming.collector.keeper import Keeper, position_file
from tapewatch.streaming.collector.live_database import LiveDatabase, RowWriter
from tapewatch.streaming.collector.metrics import Latencies
from tapewatch.streaming.collector.pipeline import Pipeline
from tapewatch.streaming.detection.rules.settings import DetectionConfig
from tapewatch.streaming.detection.watch import Watch
from tapewatch.streaming.gaps.book import GapBook, gap_frame, gap_rows
from tapewatch.streaming.gaps.interruptions import Interruptions
from tapewatch.streaming.live.clock import TapeClock
from tapewatch.streaming.live.day_tapes import DayTapes
from tests.support.crash_points import Disk, Killed, killed_at

MARKET = Market.CRYPTO
MIDNIGHT = Partition(dt.date(2024, 3, 5), MARKET).session.day_start
STEP, DAY = NS_PER_SECOND // 10, 86_400 * NS_PER_SECOND
#: Shared, as no test here reads alerts: a book for each process would leave a thread behind.
WATCH = Watch(MARKET, DetectionConfig.load(), None)
ALERTS = AlertBook(LiveDatabase("sqlite://"), (), wait_s=0.0)
#: Events enough to know that the stream is back; enough for the tape's time only; too few for either.
ENOUGH, SOME, FEW = 600, 100, 20


class Store:
    """A database of gaps that may be unreachable."""

    def __init__(self, disk: Disk) -> None:
        self.disk, self.is_away, self.rows = disk, False, {}

    def upsert(self, table: Table, partition: Partition, frame: pl.DataFrame) -> int:
        if self.is_away:
            raise DatabaseError("away", is_transient=True)
        for row in gap_rows(frame):
            self.disk.do(self.rows.__setitem__, row["gap_id"], row)
        return frame.height

    def read(self, table: Table, *, market: Market, start: dt.datetime, where: Mapping[str, Any]) -> pl.DataFrame:
        return gap_frame([row for row in self.rows.values() if row["status"] in where["status"]])


class SteppedKeeper(Keeper):
    """A keeper that works in the caller's thread on request, so that it can be killed between any two steps."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._thread = self

    def join(self) -> None:
        """Do what the thread does at its end: keep what is queued, and flush."""
        self.keep_all()
        self._flush()

    def start(self) -> None:
        if not self.is_started:
            self.is_started = True
            super().start()

    is_started = False

    def keep_all(self) -> None:
        """Keep what is queued, without writing it to disk."""
        while self._work.qsize():
            self._do_next()

    def flush(self) -> None:
        self.keep_all()
        self._flush()


@dataclass
class Tape:
    """What happens on the market: ten trades a second, unless it is quiet."""

    at: int = MIDNIGHT
    events: list[np.ndarray] = field(default_factory=list)

    def pass_by(self, count: int) -> np.ndarray:
        times = self.at + np.arange(count) * STEP
        self.at += count * STEP
        self.events.append(times)
        return times


def frame(times: np.ndarray) -> Frame:
    trades = ",".join(
        f'{{"ev":"XT","pair":"BTC-USD","p":100,"t":{t},"s":1,"c":[2],"i":"{t}","x":1,"r":1}}' for t in times // 10**6
    )
    return Frame(f"[{trades}]".encode(), int(times[-1]))


class Process:
    """One process of a collector: its worker and keeper."""

    def __init__(self, home: Path, tape: Tape, store: Store) -> None:
        self.tape, self.steady_s = tape, 0.0
        rows = RowWriter(LiveDatabase("sqlite://"))
        self.gaps = GapBook(store, home / "gaps.jsonl", MARKET)
        self.spool = SpoolWriter(home / "spool", MARKET, "collector")
        self.keeper = SteppedKeeper(self.spool, self.gaps, rows, flush_s=0)
        self.clock = TapeClock(steady=lambda: round(self.steady_s * 10**9))
        interruptions = Interruptions(
            MARKET,
            self.clock,
            self.keeper,
            last_ns=self.keeper.last_position,
            is_resumed=self.keeper.is_resumed,
            since_ns=self.keeper.since,
            steady=lambda: self.steady_s,
        )
        self.pipeline = Pipeline(
            MARKET,
            ["XT.*"],
            clock=self.clock,
            builder=Builder(DayTapes(MARKET), rows),
            interruptions=interruptions,
            detectors=Detectors(WATCH),
            alerts=ALERTS,
            latencies=Latencies(MARKET, CollectorRegistry()),
            rows=rows,
            keeper=self.keeper,
        )
        self.keeper.start()
        self.connect()

    def connect(self) -> None:
        self.mark("connected")
        self.pipeline.interruptions.granted(["XT.*"])

    def mark(self, kind: str, detail: str = "") -> None:
        self.pipeline.handle([Marker(kind, self.tape.at, detail, 1)])

    def do(self, step: str, count: int) -> None:
        match step:
            case "receive":
                self.pipeline.handle([frame(self.tape.pass_by(count))])
            case "disconnect":
                self.mark("disconnected", "gone")
                self.tape.pass_by(count)
                self.connect()
            case "drop":
                self.tape.pass_by(count)
                self.mark("dropped", "full")
            case "garble":
                self.tape.pass_by(count)
                self.pipeline.handle([Frame(b'[{"ev":', self.tape.at), frame(self.tape.pass_by(1))])
            case "quiet":
                self.tape.at += count * NS_PER_SECOND
            case "wait":
                self.steady_s += count / 100
                self.pipeline.pass_time()
            case "rest":
                self.mark("disconnected", "stopped")
                self.pipeline.finish(is_session_over=True)
                self.connect()
            case "keep":
                self.keeper.keep_all()
            case "flush":
                self.keeper.flush()

    def stop(self) -> None:
        self.mark("disconnected", "stopped")
        self.pipeline.finish(is_session_over=False)
        self.keeper.close()

    def die(self) -> None:
        """Release what the system releases when a process dies."""
        self.spool._lock.release()


@dataclass(frozen=True)
class Script:
    """The script of a process: events that pass before it, its steps, and the step at which it is killed; None lets it stop."""

    missed: int
    steps: Sequence[tuple[str, int]]
    kill: int | None = None
    is_away: bool = False


def run_all(home: Path, scripts: Sequence[Script]) -> tuple[Tape, list[dict[str, Any]]]:
    """Run processes in turn over one home, then a healthy one; returns the tape and the gaps known at the end."""
    tape, store = Tape(), Store(Disk())
    for script in [*scripts, Script(700, [("receive", ENOUGH), ("wait", 300), ("receive", ENOUGH)])]:
        if tape.events:
            tape.pass_by(script.missed)
        process: Process | None = None
        with killed_at(script.kill) as disk, suppress(Killed):
            store.disk, store.is_away = disk, script.is_away
            process = Process(home, tape, store)
            for step in script.steps:
                process.do(*step)
            if script.kill is None:
                process.stop()
        if process is not None:
            process.die()
        if not position_file(home / "spool" / MARKET).exists():
            # No process has received anything yet.
            tape = Tape()
    return tape, list(store.rows.values())


def lost(home: Path, tape: Tape, gaps: Sequence[dict[str, Any]]) -> list[float]:
    """Seconds of the first day with an event that is neither in the spool nor in a gap.

    Days before the first received one do not count.
    """
    times = np.concatenate(tape.events)
    found = [
        read_rows(STREAM_TRADES, [file])[0]["time"].to_physical().to_numpy()
        for files in waiting(home / "spool").values()
        for file in files
    ]
    received = np.concatenate(found)
    is_there = np.isin(times, received) | (times // DAY < received.min() // DAY)
    for gap in gaps:
        end = gap["end_time"] or tape.at
        is_there |= (times >= gap["start_time"]) & (times < end)
    return ((times[~is_there] - MIDNIGHT) / NS_PER_SECOND).tolist()


STEPS = st.one_of(
    st.tuples(st.sampled_from(["receive"]), st.sampled_from([1, 5, 20, 40, 300, ENOUGH])),
    st.tuples(st.sampled_from(["disconnect", "drop", "garble"]), st.sampled_from([1, 30, 150, 700])),
    st.tuples(st.sampled_from(["keep", "flush"]), st.just(0)),
    st.tuples(st.sampled_from(["wait"]), st.sampled_from([1, 150, 300, 2000])),
    st.tuples(st.sampled_from(["quiet"]), st.sampled_from([1, 15, 90, 43_200, 86_400])),
)
SCRIPTS = st.lists(
    st.builds(
        Script,
        st.sampled_from([0, 1, 30, 700]),
        st.lists(STEPS, max_size=10),
        st.one_of(st.none(), st.integers(0, 60)),
        st.booleans(),
    ),
    min_size=1,
    max_size=4,
)


@pytest.mark.long
@settings(max_examples=40)
@given(SCRIPTS)
def test_nothing_is_lost_wherever_a_process_is_killed(tmp_path_factory, scripts) -> None:
    home = tmp_path_factory.mktemp("home")
    with patch.object(keeper_module, "_GATHER_S", 0):
        tape, gaps = run_all(home, scripts)
    assert lost(home, tape, gaps) == []


def test_a_day_with_few_events_before_a_kill_becomes_a_gap_in_the_next_process(tmp_path) -> None:
    """Too few to know the tape's time, and the next process sees the day after."""
    for kill in range(8, 14):
        home = tmp_path / str(kill)
        tape, gaps = run_all(home, [Script(0, [("receive", 20), ("drop", 1), ("quiet", 86_400), ("flush", 0)], kill)])
        assert lost(home, tape, gaps) == [], kill


def test_a_connection_lost_before_the_tapes_time_is_known_and_until_the_next_day(tmp_path) -> None:
    for home, events, kill in (("stopped", 1, None), ("judged", ENOUGH, None), ("killed", ENOUGH, 60)):
        steps = [("receive", 1), ("disconnect", 1), ("quiet", 86_400), ("receive", events)]
        tape, gaps = run_all(tmp_path / home, [Script(0, steps, kill)])
        assert lost(tmp_path / home, tape, gaps) == []


def test_a_connection_lost_before_the_tapes_time_is_known_is_not_back_by_waiting(tmp_path) -> None:
    steps = [("receive", 1), ("disconnect", 150), ("wait", 300), ("receive", 1)]
    tape, gaps = run_all(tmp_path, [Script(0, steps)])
    assert lost(tmp_path, tape, gaps) == []


def gaps_after_run(home: Path, store: Store, second: int, events: int) -> list[tuple[str, float, float]]:
    """Receive from a second of the first day on, then stop; returns all gaps known then, in seconds of that day.

    The clock stands still: only the number of events shows that the stream is back.
    """
    process = Process(home, Tape(MIDNIGHT + second * NS_PER_SECOND), store)
    if events:
        process.do("receive", events)
    process.stop()
    spans = [(row["cause"], row["start_time"], row["end_time"]) for row in store.rows.values()]
    return [(cause, *((at - MIDNIGHT) / NS_PER_SECOND for at in span)) for cause, *span in spans]


def test_a_second_process_starts_where_the_first_ended(tmp_path) -> None:
    store = Store(Disk())
    assert gaps_after_run(tmp_path, store, 0, ENOUGH) == []
    ((cause, start, end),) = gaps_after_run(tmp_path, store, 300, ENOUGH)
    assert (cause, start) == ("restart", pytest.approx(50, abs=1))
    assert 300 < end < 365


@pytest.mark.parametrize("events", [SOME, FEW])
def test_a_process_too_short_to_judge_what_it_missed_leaves_that_to_the_next(tmp_path, events) -> None:
    store = Store(Disk())
    gaps_after_run(tmp_path, store, 0, ENOUGH)
    assert gaps_after_run(tmp_path, store, 300, events) == []
    ((cause, start, end),) = gaps_after_run(tmp_path, store, 400, ENOUGH)
    assert (cause, start) == ("restart", pytest.approx(50, abs=1)), "from the last noted position"
    assert end > 400


@pytest.mark.parametrize("events", [SOME, FEW, 0])
def test_a_first_process_too_short_to_judge_is_noted_too(tmp_path, events) -> None:
    """Even if the second process starts at once, the events between the two are lost."""
    store = Store(Disk())
    assert gaps_after_run(tmp_path, store, 0, events) == []
    ((cause, start, end),) = gaps_after_run(tmp_path, store, 10, ENOUGH)
    assert (cause, start) == ("late_start", 0)
    assert end > 10
