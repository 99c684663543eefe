"""Lives of one collector's worker and keeper, one after the other over one home: nothing between them is forgotten."""

import datetime as dt
from pathlib import Path

import numpy as np
from prometheus_client import CollectorRegistry

from tapewatch.feeds.frame_queue import Marker
from tapewatch.feeds.stream_frames import Frame
from tapewatch.market.instruments import NS_PER_SECOND, Market, Partition
from tapewatch.store.spool import SpoolWriter
from tapewatch.streaming.alerts import AlertBook
from tapewatch.streaming.builder import Builder
from tapewatch.streaming.clock import TapeClock
from tapewatch.streaming.day_tapes import DayTapes
from tapewatch.streaming.detection import Watch
from tapewatch.streaming.gaps import GapBook
from tapewatch.streaming.interruptions import Interruptions
from tapewatch.streaming.keeper import Keeper
from tapewatch.streaming.live_database import LiveDatabase, RowWriter
from tapewatch.streaming.live_tape import LiveTape
from tapewatch.streaming.metrics import Latencies
from tapewatch.streaming.pipeline import Pipeline
from tapewatch.streaming.rules_settings import DetectionConfig

MARKET = Market.CRYPTO
MIDNIGHT = Partition(dt.date(2024, 3, 5), MARKET).session.day_start
#: Enough events to know when the stream is back, and too few.
ENOUGH, FEW = 600, 20

Gap = tuple[str, int, int]


def frame(first_ns: int, events: int) -> Frame:
    """Ten trades a second."""
    times = (first_ns + np.arange(events) * NS_PER_SECOND // 10) // 1_000_000
    trades = ",".join(
        f'{{"ev":"XT","pair":"BTC-USD","p":100,"t":{t},"s":1,"c":[2],"i":"{t}","x":1,"r":1}}' for t in times
    )
    return Frame(f"[{trades}]".encode(), first_ns)


def life(home: Path, second: int, events: int) -> list[Gap]:
    """A process that receives so many events from a second of the day on, and ends; the gaps known then, in such seconds.

    No time passes for it: only the number of events says that the stream is there.
    """
    first_ns = MIDNIGHT + second * NS_PER_SECOND
    database = LiveDatabase(f"sqlite:///{home / 'live.db'}")
    rows, gaps = RowWriter(database), GapBook(database, home / "gaps.jsonl", MARKET)
    keeper = Keeper(SpoolWriter(home / "spool", MARKET, "collector"), gaps, rows, flush_s=0.01)
    clock = TapeClock(steady=lambda: 0)
    pipeline = Pipeline(
        MARKET,
        ["XT.*"],
        clock=clock,
        builder=Builder(DayTapes(MARKET, lambda session, start_ns: LiveTape(session, emit_from_ns=start_ns)), rows),
        interruptions=Interruptions(
            MARKET, clock, keeper, last_ns=keeper.last_position, is_resumed=keeper.is_resumed, steady=lambda: 0.0
        ),
        watch=Watch(MARKET, DetectionConfig.load(), None),
        alerts=AlertBook(database, (), wait_s=0.0),
        latencies=Latencies(MARKET, CollectorRegistry()),
        rows=rows,
        keeper=keeper,
    )
    keeper.start()
    pipeline.handle([Marker("connected", first_ns, "here")])
    pipeline.interruptions.granted(["XT.*"])
    if events:
        pipeline.handle([frame(first_ns, events)])
    keeper.close()
    database.close()
    found = gaps.open_gaps().select("cause", "start_time", "end_time").rows()
    return [
        (cause, *(round(at.timestamp()) - MIDNIGHT // NS_PER_SECOND for at in (start, end)))
        for cause, start, end in found
    ]


def test_a_first_life_from_the_start_misses_nothing(tmp_path: Path) -> None:
    assert life(tmp_path, 0, ENOUGH) == []


def test_a_second_life_remembers_where_the_first_ended(tmp_path: Path) -> None:
    life(tmp_path, 0, ENOUGH)
    ((cause, start, end),) = life(tmp_path, 300, ENOUGH)
    assert (cause, start) == ("restart", 50)
    assert 300 < end < 365


def test_a_life_too_short_to_judge_what_it_missed_leaves_that_to_the_next(tmp_path: Path) -> None:
    life(tmp_path, 0, ENOUGH)
    assert life(tmp_path, 300, FEW) == []
    ((cause, start, end),) = life(tmp_path, 400, ENOUGH)
    assert (cause, start) == ("restart", 50), "from the last life that knew"
    assert end > 400


def test_a_first_life_too_short_to_judge_is_remembered_too(tmp_path: Path) -> None:
    """However soon the second is there: what came between the two is on no disk."""
    for events in (FEW, 0):
        home = tmp_path / str(events)
        home.mkdir()
        assert life(home, 0, events) == []
        ((cause, start, end),) = life(home, 10, ENOUGH)
        assert (cause, start) == ("late_start", 0)
        assert end > 10
