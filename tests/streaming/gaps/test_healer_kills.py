"""A healer killed at each of its durable steps in turn: the gap stays open until its rows are in the spool."""

import functools
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from unittest.mock import patch

import polars as pl
import pytest

from tapewatch.feeds.plans.table import TapeTable
from tapewatch.market.instruments import NS_PER_SECOND, Partition
from tapewatch.market.tables.live import GAPS
from tapewatch.market.tables.stream import STREAM_TRADES
from tapewatch.market.tables.tape import TRADES
from tapewatch.store.database.database import Database
from tapewatch.store.lake.lake import Lake
from tapewatch.store.spool.spool import SpoolWriter
from tapewatch.streaming.gaps import healer
from tapewatch.streaming.gaps.book import GapBook
from tapewatch.streaming.ingest.ingest import ingest
from tests.streaming.ingest.test_ingest import FOREX, NOW, OPEN, STOCKS
from tests.support.crash_points import Killed, killed_at
from tests.support.streams import trades_at

SYMBOLS = ("AAA", "BBB")
TIMES = range(OPEN, OPEN + 12 * NS_PER_SECOND, NS_PER_SECOND // 2)


class Record:
    """A source of record that has every trade, to the nanosecond."""

    name = "rest"

    def ready_at(self, partition: Partition, end: int) -> int:
        return 0

    def tapes(self, market, day, today) -> tuple[list[TapeTable], str]:
        return [TapeTable.TRADES], ""

    def between(self, tape: TapeTable, partition: Partition, symbols: Sequence[str], start: int, end: int):
        for symbol in symbols:
            of_symbol = trades_at([time + 7 for time in TIMES], symbol=symbol)
            yield (
                symbol,
                TRADES.conform(
                    of_symbol.filter(pl.col("time").to_physical().is_between(start, end, closed="left")).drop(
                        "received_time"
                    )
                ),
            )


def heal(home: Path, partition: Partition, moment: int | None) -> int:
    """One round of the healer, killed at step `moment`; returns the number of steps."""
    with (
        Database(f"sqlite:///{home / 'live.db'}") as database,
        killed_at(moment) as disk,
        suppress(Killed),
        patch.object(healer, "change_gap", functools.partial(disk.do, healer.change_gap)),
    ):
        healer.Healer(database, [Record()], home / "spool", lambda _: SYMBOLS, Lake(home / "lake")).heal_once(NOW)
    return disk.moments


def merged(home: Path, partition: Partition) -> pl.DataFrame:
    """The lake's trades after everything that waits is merged."""
    ingest(Lake(home / "lake"), home / "spool", partition, None, NOW)
    return Lake(home / "lake").read(TRADES, partition)


def write_stream_with_hole(home: Path, partition: Partition) -> None:
    """Spool a stream of two symbols with a hole, and record its gap."""
    home.mkdir()
    with SpoolWriter(home / "spool", partition.market, "collector") as writer:
        for symbol in SYMBOLS:
            rows = trades_at(list(TIMES), symbol=symbol)
            writer.add_rows(STREAM_TRADES, pl.concat([rows[:8], rows[14:]]))
    with Database(f"sqlite:///{home / 'live.db'}") as database:
        book = GapBook(database, home / "gaps.jsonl", partition.market)
        book.open("disconnect", start_ns=TIMES[6], end_ns=TIMES[16], now_ns=OPEN)


@pytest.mark.slow
@pytest.mark.parametrize("partition", [STOCKS, FOREX], ids=lambda partition: partition.market)
def test_a_healer_killed_at_any_step_leaves_the_gap_to_the_next_one(tmp_path, partition) -> None:
    write_stream_with_hole(tmp_path / "undisturbed", partition)
    moments = heal(tmp_path / "undisturbed", partition, None)
    expected = merged(tmp_path / "undisturbed", partition)
    assert expected.height == len(SYMBOLS) * len(TIMES)
    for moment in range(moments):
        home = tmp_path / str(moment)
        write_stream_with_hole(home, partition)
        heal(home, partition, moment)
        if moment % 2:
            # Half of the rows may be merged before the other half is written.
            merged(home, partition)
        heal(home, partition, None)
        assert merged(home, partition).equals(expected), moment
        with Database(f"sqlite:///{home / 'live.db'}") as database:
            assert database.read(GAPS)["status"].to_list() == ["healed"]
