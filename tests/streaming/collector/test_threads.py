"""A collector's threads together: stops, failures and reads of the figures at the worst moment lose nothing."""

import datetime as dt
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from tapewatch.feeds.stream.decode.decoder import Frame
from tapewatch.feeds.stream.queue import Marker
from tapewatch.market.instruments import Market, Partition
from tapewatch.streaming.collector import receiver as receiver_module
from tapewatch.streaming.collector.builder import Builder
from tapewatch.streaming.collector.collector import Collector
from tapewatch.streaming.collector.config import CollectorConfig
from tapewatch.streaming.collector.keeper import Keeper
from tapewatch.streaming.collector.live_database import RowWriter
from tapewatch.streaming.collector.receiver import Receiver
from tapewatch.streaming.detection.rules.settings import DetectionConfig
from tapewatch.streaming.live.day_tapes import DayTapes
from tapewatch.streaming.live.tape import LiveTape

DAY, NEXT = (Partition(dt.date(2024, 3, day), Market.CRYPTO).session for day in (5, 6))
LAST = Marker("disconnected", 0, "stopped")


def collector_in(home: Path) -> Collector:
    return Collector(
        CollectorConfig(
            market=Market.CRYPTO,
            url="ws://127.0.0.1:1/crypto",
            key="a-key",
            subscriptions=["XT.*"],
            spool_root=home / "spool",
            run_folder=home / "run",
            database_url=f"sqlite:///{home / 'live.db'}",
            detection=DetectionConfig.load(),
        )
    )


class Worker:
    """Records the worker's calls in order; each time that it is idle, the next of `when_idle` is called."""

    def __init__(self, *when_idle: Callable[[], None]) -> None:
        self.when_idle = list(when_idle)
        self.done: list[Any] = []

    def handle(self, items: Sequence[Frame | Marker]) -> None:
        self.done += items

    def pass_time(self) -> None:
        if self.when_idle:
            self.when_idle.pop(0)()

    def finish(self, *, is_session_over: bool) -> None:
        self.done.append("session over" if is_session_over else "end")


def test_items_queued_right_before_the_end_are_handled(tmp_path: Path) -> None:
    collector = collector_in(tmp_path)

    def stop() -> None:
        collector.queue.mark(LAST)
        collector.queue.close()

    worker = collector._pipeline = Worker(stop)
    collector._work()
    assert worker.done == [LAST, "end"]


def test_items_queued_right_before_a_sessions_end_belong_to_it(tmp_path: Path) -> None:
    collector = collector_in(tmp_path)

    def end_session() -> None:
        collector.queue.mark(LAST)
        collector._receiver.session_over.set()

    worker = collector._pipeline = Worker(end_session, collector.queue.close)
    collector._work()
    assert worker.done == [LAST, "session over", "end"]


def test_a_day_may_open_while_the_figures_are_read() -> None:
    tapes = DayTapes(Market.CRYPTO)

    class Opening:
        """A tape whose figure is read while the next day opens."""

        information = None

        @property
        def too_late(self) -> int:
            tapes.resume(NEXT, LiveTape(NEXT))
            return 3

    tapes.resume(DAY, Opening())
    assert tapes.too_late_rows == 3


@pytest.mark.long
@pytest.mark.parametrize("thread", [Keeper, Builder])
def test_a_thread_that_fails_at_the_very_end_is_reported(tmp_path: Path, thread: type) -> None:
    collector = collector_in(tmp_path)
    name = "_flush" if thread is Keeper else "_emit"

    def fail(*_: object) -> None:
        raise OSError("no more")

    def stop(*_: object) -> None:
        collector._builder.finish(DAY.day_end)
        collector.stop()

    with (
        patch.object(thread, name, fail),
        patch.object(Receiver, "_stream", stop),
        pytest.raises(OSError, match="no more"),
    ):
        collector.run()


@pytest.mark.long
def test_rows_for_the_database_are_written_even_if_the_keeper_fails_to_close(tmp_path: Path) -> None:
    collector = collector_in(tmp_path)
    with (
        patch.object(Keeper, "close", side_effect=OSError("no space left")),
        patch.object(Receiver, "_stream", lambda *_: collector.stop()),
        patch.object(RowWriter, "close", return_value=0) as rows_closed,
        pytest.raises(OSError, match="no space left"),
    ):
        collector.run()
    rows_closed.assert_called_once()


@pytest.mark.long
def test_an_endless_name_lookup_does_not_delay_the_end(tmp_path: Path) -> None:
    collector = collector_in(tmp_path)
    may_end, ended = threading.Event(), []

    def look_up(*_: object) -> None:
        collector.stop()
        ended.append(may_end.wait(300))

    with patch.object(Receiver, "_receive", look_up), patch.object(receiver_module, "_LEAVE_S", 0):
        collector.run()
    assert not ended
    may_end.set()
