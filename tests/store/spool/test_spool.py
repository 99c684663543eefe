"""The spool: flushed rows are on disk under their day and numbers only grow, however the process ends."""

import datetime as dt
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from unittest.mock import patch

import polars as pl
import pytest

from tapewatch.market.instruments import NS_PER_MINUTE, Market, Partition, session_of
from tapewatch.market.tables.live import LIVE_BARS
from tapewatch.market.tables.stream import STREAM_BARS, STREAM_TRADES
from tapewatch.market.tables.tape import TIME
from tapewatch.store.spool import rows as spool_rows
from tapewatch.store.spool.files import (
    HealedInterval,
    SpoolFile,
    highest_numbers,
    market_days,
    waiting,
    waiting_for,
)
from tapewatch.store.spool.rows import DamagedFileError, read_rows, write_rows
from tapewatch.store.spool.spool import SpoolError, SpoolState, SpoolWriter
from tests.support.crash_points import Killed, killed_at
from tests.support.live_rows import rows_of
from tests.support.streams import Batch, trades_at
from tests.support.tapes import DAY, stock_session

OPEN = stock_session().regular_start
STOCKS = Partition(DAY, Market.STOCKS)


def read_all(root: Path, partition: Partition = STOCKS) -> pl.DataFrame:
    return read_rows(STREAM_TRADES, waiting_for(root, partition))[0]


def test_rows_are_invisible_until_flushed_and_then_equal(tmp_path) -> None:
    rows = trades_at(range(OPEN, OPEN + 1000, 10))
    with SpoolWriter(tmp_path, Market.STOCKS, "collector") as writer:
        writer.add(Batch(trades=rows))
        assert waiting(tmp_path) == {}
        assert writer.flush() == 1
        assert read_all(tmp_path).equals(rows)
        assert writer.state.newest == OPEN + 990
        assert writer.flush() == 0


def test_numbers_grow_through_restarts_even_once_the_files_are_merged(tmp_path) -> None:
    numbers = []
    for second in range(3):
        with SpoolWriter(tmp_path, Market.STOCKS, "collector") as writer:
            writer.add_rows(STREAM_TRADES, trades_at([OPEN + second * 10**9]))
        (file,) = waiting_for(tmp_path, STOCKS)
        numbers.append(file.number)
        Path(file.path).unlink()
    assert numbers == sorted(set(numbers))


def test_no_number_is_used_twice_if_the_disk_refused_the_state(tmp_path) -> None:
    """The process is killed after its first file, when the disk accepts writes again; the file is merged."""
    writer = SpoolWriter(tmp_path, Market.STOCKS, "collector")
    writer.add_rows(STREAM_TRADES, trades_at([OPEN]))
    with patch.object(os, "fsync", side_effect=OSError("no space left")):
        writer.flush()
    with killed_at(7), suppress(Killed):
        writer.flush()
    (file,) = waiting_for(tmp_path, STOCKS)
    Path(file.path).unlink()
    writer._lock.release()
    with SpoolWriter(tmp_path, Market.STOCKS, "collector") as again:
        again.add_rows(STREAM_TRADES, trades_at([OPEN]))
    (later,) = waiting_for(tmp_path, STOCKS)
    assert later.number > file.number


def test_a_heal_that_no_number_can_be_noted_for_is_refused_in_words(tmp_path) -> None:
    refuses = patch.object(os, "fsync", side_effect=OSError("no space left"))
    with (
        SpoolWriter(tmp_path, Market.STOCKS, "healer") as writer,
        refuses,
        pytest.raises(SpoolError, match="heal again"),
    ):
        writer.add_heal(STREAM_TRADES, trades_at([OPEN]), HealedInterval("AAA", OPEN, OPEN + 1))


def test_a_second_writer_of_the_same_producer_is_refused_until_the_first_closes(tmp_path) -> None:
    first = SpoolWriter(tmp_path, Market.STOCKS, "collector")
    with pytest.raises(SpoolError, match="another process"):
        SpoolWriter(tmp_path, Market.STOCKS, "collector")
    SpoolWriter(tmp_path, Market.STOCKS, "healer").close()
    first.close()
    SpoolWriter(tmp_path, Market.STOCKS, "collector").close()


@pytest.mark.parametrize("words", ["", "{}", "[]", '{"next_number": '])
def test_a_damaged_state_is_an_error_until_it_is_removed(tmp_path, words) -> None:
    with SpoolWriter(tmp_path, Market.STOCKS, "healer") as writer:
        writer.add_rows(STREAM_TRADES, trades_at([OPEN]))
    state = tmp_path / "stocks" / "healer.state.json"
    state.write_text(words)
    for _ in range(2):
        with pytest.raises(SpoolError, match=f"{state.name} is damaged"):
            SpoolWriter(tmp_path, Market.STOCKS, "healer")
    state.unlink()
    SpoolWriter(tmp_path, Market.STOCKS, "healer").close()


def test_rows_of_two_days_become_two_files_and_rows_of_a_closed_day_are_returned(tmp_path) -> None:
    next_day = OPEN + 24 * 60 * NS_PER_MINUTE
    saturday = session_of(Market.STOCKS, dt.date(2024, 3, 8)).regular_start + 24 * 60 * NS_PER_MINUTE
    with SpoolWriter(tmp_path, Market.STOCKS, "collector") as writer:
        refused = writer.add_rows("stream_trades", trades_at([OPEN, next_day, saturday]))
    assert refused.height == 1
    assert "no trading day" in refused["reason"][0]
    assert {p.date for p in waiting(tmp_path)} == {DAY, DAY + dt.timedelta(days=1)}


@pytest.mark.parametrize("market", list(Market))
def test_every_row_is_in_the_session_of_its_day_or_in_none(market) -> None:
    start = int(dt.datetime(2024, 3, 7, tzinfo=dt.UTC).timestamp()) * 10**9
    frame = trades_at(range(start, start + 6 * 86_400 * 10**9, 7 * NS_PER_MINUTE))
    split = dict(market_days(frame, market))
    assert sum(part.height for part in split.values()) == frame.height
    for day, part in split.items():
        times = part["time"].to_physical()
        if day is not None:
            session = session_of(market, day)
            assert times.is_between(session.day_start, session.day_end, closed="left").all()
            assert next(iter(market_days(part, market)))[0] == day
    if market is Market.CRYPTO:
        assert None not in split


def test_a_heal_file_names_its_stretch(tmp_path) -> None:
    interval = HealedInterval("AAA/B-@:", OPEN, OPEN + 100)
    with SpoolWriter(tmp_path, Market.STOCKS, "healer") as writer:
        (file,) = writer.add_heal(STREAM_TRADES, trades_at([OPEN, OPEN + 50]), interval)
        assert (writer.rows_written, writer.rows_held) == (2, 0)
        writer.add_rows(STREAM_TRADES, trades_at([OPEN]))
    (healed, _) = waiting_for(tmp_path, STOCKS)
    assert (healed, healed.heals) == (file, interval)
    assert read_rows(STREAM_TRADES, [file])[0].equals(trades_at([OPEN, OPEN + 50]))
    plain = [f for f in waiting_for(tmp_path, STOCKS) if f.number != file.number]
    assert [f.heals for f in plain] == [None]
    assert highest_numbers(waiting_for(tmp_path, STOCKS)) == {"healer": plain[0].number}
    assert waiting_for(tmp_path, STOCKS, {"healer": file.number}) == [
        f for f in waiting_for(tmp_path, STOCKS) if f.number == file.number
    ]


def test_many_files_are_read_as_one_and_a_truncated_file_is_an_error(tmp_path) -> None:
    written = []
    with SpoolWriter(tmp_path, Market.STOCKS, "healer") as writer:
        for rows in (3, 0, 1, 2):
            frame = trades_at(range(OPEN + len(written) * 100, OPEN + len(written) * 100 + rows))
            (file,) = writer.add_heal(STREAM_TRADES, frame, HealedInterval("AAA", OPEN, OPEN + 100))
            written.append((file, frame))
    rows, counts = read_rows(STREAM_TRADES, [file for file, _ in written])
    assert counts == [3, 0, 1, 2]
    assert rows.equals(pl.concat(frame for _, frame in written))
    whole = Path(written[2][0].path).read_bytes()
    for length in range(len(whole)):
        Path(written[2][0].path).write_bytes(whole[:length])
        with pytest.raises(DamagedFileError):
            read_rows(STREAM_TRADES, waiting_for(tmp_path, STOCKS))


def test_files_with_other_columns_are_read_with_current_ones(tmp_path) -> None:
    rows = trades_at([OPEN, OPEN + 10])
    with SpoolWriter(tmp_path, Market.STOCKS, "collector") as writer:
        for row in (rows[:1], rows[1:]):
            writer.add_rows(STREAM_TRADES, row)
            writer.flush()
    first, _ = waiting_for(tmp_path, STOCKS)
    with Path(first.path).open("wb") as stream:
        write_rows(rows[:1].with_columns(mood=pl.lit("good")), stream)
    assert read_all(tmp_path).equals(rows)


def test_rows_stay_held_while_the_disk_is_full(tmp_path) -> None:
    writer = SpoolWriter(tmp_path, Market.STOCKS, "collector", held_rows=250)
    rows = trades_at(range(OPEN, OPEN + 100))
    writer.add_rows(STREAM_TRADES, rows)
    writer.flush()
    day = tmp_path / "stocks" / str(DAY)
    moved = day.rename(tmp_path / "aside")
    day.write_text("in the way")
    before = writer.state.newest
    for _ in range(2):
        writer.add_rows(STREAM_TRADES, rows)
        assert writer.flush() == 0
        assert writer.error
    assert (writer.rows_held, writer.take_losses(), writer.state.newest) == (200, [], before)
    writer.add_rows(STREAM_TRADES, rows)
    writer.flush()
    (loss,) = writer.take_losses()
    assert (loss.rows, loss.first, loss.last) == (300, OPEN, OPEN + 99)
    day.unlink()
    moved.rename(day)
    writer.add_rows(STREAM_TRADES, rows)
    assert writer.flush() == 1
    assert writer.error is None
    assert read_all(tmp_path).height == 200
    writer.close()


def test_a_refused_state_is_written_later_even_without_more_rows(tmp_path) -> None:
    with SpoolWriter(tmp_path, Market.STOCKS, "collector") as writer:
        writer.add_rows(STREAM_TRADES, trades_at([OPEN]))
        writer.flush()
        # A folder of that name refuses the file as a full disk does.
        in_its_place = writer.folder / ".collector.state.json.tmp"
        in_its_place.mkdir()
        writer.add_rows(STREAM_TRADES, trades_at([OPEN + 1]))
        assert writer.flush() == 1
        assert (writer.error is None, writer.rows_held) == (False, 0)
        in_its_place.rmdir()
        assert writer.flush() == 0
        assert writer.error is None
    with SpoolWriter(tmp_path, Market.STOCKS, "collector") as writer:
        assert writer.state.newest == OPEN + 1


@pytest.mark.parametrize("count", [1, 100])
def test_rows_that_the_disk_refuses_at_close_are_losses(tmp_path, count) -> None:
    writer = SpoolWriter(tmp_path, Market.STOCKS, "collector")
    (tmp_path / "stocks" / str(DAY)).write_text("in the way")
    writer.add_rows(STREAM_TRADES, trades_at(range(OPEN, OPEN + count)))
    writer.close()
    assert [(loss.rows, loss.first, loss.last) for loss in writer.take_losses()] == [(count, OPEN, OPEN + count - 1)]
    assert (writer.rows_held, writer.rows_dropped) == (0, count)


_WRITE_FOREVER = """
import sys, pathlib
from tapewatch.store.spool.spool import SpoolWriter
from tapewatch.market.instruments import Market
from tests.support.streams import trades_at
writer = SpoolWriter(pathlib.Path(sys.argv[1]), Market.STOCKS, "collector")
number = int(sys.argv[2])
while True:
    writer.add_rows("stream_trades", trades_at([int(sys.argv[3]) + number], first_number=number))
    writer.flush()
    print(number, flush=True)
    number += 1
"""


@pytest.mark.slow
def test_killed_at_any_moment_nothing_flushed_is_lost_and_the_state_is_no_newer_than_the_files(tmp_path) -> None:
    flushed: list[int] = []
    for _ in range(4):
        first = flushed[-1] + 1 if flushed else 1
        process = subprocess.Popen(
            [sys.executable, "-c", _WRITE_FOREVER, str(tmp_path), str(first), str(OPEN)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "POLARS_MAX_THREADS": "1"},
        )
        assert process.stdout
        flushed += [int(process.stdout.readline()) for _ in range(7)]
        process.send_signal(signal.SIGKILL)
        flushed += [int(line) for line in process.stdout.read().split("\n")[:-1]]
        process.wait()
        numbers = read_all(tmp_path)["sequence_number"]
        assert set(flushed) <= set(numbers)
        with SpoolWriter(tmp_path, Market.STOCKS, "collector") as writer:
            assert writer.state.newest is not None
            assert OPEN + flushed[-1] - 1 <= writer.state.newest <= OPEN + int(numbers.max())
    files = waiting_for(tmp_path, STOCKS)
    assert len({file.number for file in files}) == len(files)
    assert not list(tmp_path.glob("*/*/.*.tmp"))


def test_only_rows_above_the_limit_are_dropped_oldest_first(tmp_path) -> None:
    writer = SpoolWriter(tmp_path, Market.STOCKS, "collector", held_rows=100)
    next_day = OPEN + 24 * 60 * NS_PER_MINUTE
    for day in (DAY, DAY + dt.timedelta(days=1)):
        (tmp_path / "stocks" / str(day)).write_text("in the way")
    writer.add_rows(STREAM_TRADES, trades_at([*range(OPEN, OPEN + 60), *range(next_day, next_day + 40)]))
    writer.flush()
    assert (writer.rows_held, writer.rows_dropped, writer.take_losses()) == (100, 0, [])
    writer.add_rows(STREAM_TRADES, trades_at([next_day + 40]))
    writer.flush()
    assert (writer.rows_held, writer.rows_dropped) == (41, 60)
    assert [(loss.rows, loss.first, loss.last) for loss in writer.take_losses()] == [(60, OPEN, OPEN + 59)]


def test_refused_rows_are_numbered_from_one(tmp_path) -> None:
    saturday = session_of(Market.STOCKS, dt.date(2024, 3, 8)).regular_start + 24 * 60 * NS_PER_MINUTE
    with SpoolWriter(tmp_path, Market.STOCKS, "collector") as writer:
        for count in (1, 3):
            refused = writer.add_rows(STREAM_TRADES, trades_at(range(saturday, saturday + count)))
            assert refused["line"].to_list() == list(range(1, count + 1))


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xff\xff\xff" + bytes(4) + b"\xff\xff\xff\xff" + bytes(4),
        b"\xff\xff\xff\xff" + (1_000).to_bytes(4, "little") + bytes(100),
        b"PAR1" + (8).to_bytes(4, "little") + bytes(100),
    ],
    ids=["ends at once", "a schema longer than the file", "another format"],
)
def test_a_file_that_does_not_begin_with_a_schema_is_named(tmp_path, content) -> None:
    file = SpoolFile.at(tmp_path, "collector", 1, STREAM_TRADES.name)
    Path(file.path).write_bytes(content)
    with pytest.raises(DamagedFileError, match=f"{Path(file.path).name} is not an Arrow stream"):
        read_rows(STREAM_TRADES, [file])


def test_files_are_read_in_groups_up_to_a_size_and_larger_ones_alone(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(spool_rows, "_PIECE_BYTES", 10)
    sizes = (4, 6, 4, 6, 1, 20, 10)
    files = [SpoolFile(at, "collector", "stream_trades", str(tmp_path), None, size) for at, size in enumerate(sizes)]
    groups = [[file.bytes for file in piece] for piece in spool_rows._pieces(files)]
    assert groups == [[4, 6], [4, 6], [1], [20], [10]]


def test_each_table_has_a_file_of_its_own_name(tmp_path) -> None:
    at_open = pl.lit(OPEN).cast(TIME)
    bars = STREAM_BARS.conform(rows_of(LIVE_BARS, 3).with_columns(time=at_open, received_time=at_open))
    with SpoolWriter(tmp_path, Market.STOCKS, "collector") as writer:
        writer.add(Batch(trades=trades_at([OPEN, OPEN + 1]), bars=bars))
        assert writer.flush() == 2
        assert (writer.rows_written, writer.files_written, writer.rows_held) == (5, 2, 0)
    assert sorted(file.table for file in waiting_for(tmp_path, STOCKS)) == ["stream_bars", "stream_trades"]


def test_the_state_has_the_latest_receipt_whatever_the_order_of_arrival(tmp_path) -> None:
    with SpoolWriter(tmp_path, Market.STOCKS, "collector") as writer:
        for received in ((OPEN + 5, OPEN + 9), (OPEN + 3,)):
            frames = [trades_at([OPEN], received=at) for at in received]
            writer.add_rows(STREAM_TRADES, pl.concat(frames))
            writer.flush()
            assert writer.state.last_received == OPEN + 9
    with SpoolWriter(tmp_path, Market.STOCKS, "collector") as again:
        assert again.state.last_received == OPEN + 9


def test_without_a_state_numbers_continue_after_the_waiting_files(tmp_path) -> None:
    for _ in range(3):
        with SpoolWriter(tmp_path, Market.STOCKS, "collector") as writer:
            writer.add_rows(STREAM_TRADES, trades_at([OPEN]))
        (tmp_path / "stocks" / "collector.state.json").unlink()
    assert len({file.number for file in waiting_for(tmp_path, STOCKS)}) == 3


def test_the_newest_event_is_that_of_all_tables() -> None:
    assert SpoolState({"stream_trades": 3, "stream_quotes": 7, "stream_bars": 5}).newest == 7
    assert SpoolState().newest is None
