"""The keeper with a real spool and a real database: many small batches joined, and a storm of unreadable events."""

from contextlib import suppress
from pathlib import Path
from unittest.mock import patch

import polars as pl
import pytest

from tapewatch.feeds.stream.decode.decoder import Frame, FrameDecoder, StreamBatch
from tapewatch.market.instruments import Market
from tapewatch.market.tables.live import LIVE_QUARANTINE
from tapewatch.market.tables.tape import QUARANTINE
from tapewatch.store.database.database import Database
from tapewatch.store.spool.files import waiting
from tapewatch.store.spool.quarantine import quarantine_folder, quarantined
from tapewatch.store.spool.spool import SpoolWriter
from tapewatch.streaming.collector.keeper import Keeper
from tapewatch.streaming.collector.live_database import LiveDatabase, RowWriter
from tapewatch.streaming.gaps.book import GapBook
from tapewatch.streaming.gaps.holes import Hole, HoleFinder
from tests.streaming.collector.test_lives import SteppedKeeper
from tests.support.crash_points import Killed, killed_at

NOW_MS = 1_709_650_000_000
NOW = NOW_MS * 1_000_000
STORM = 7_000


def trades(first: int, count: int) -> pl.DataFrame:
    frame = FrameDecoder(Market.CRYPTO).decode(
        [
            Frame(
                b'[{"ev":"XT","pair":"BTC-USD","p":100,"t":%d,"s":1,"c":[2],"i":"%d","x":1,"r":1}]' % (NOW_MS + n, n),
                NOW,
            )
            for n in range(first, first + count)
        ]
    )
    return frame.trades


def refused(count: int) -> pl.DataFrame:
    return QUARANTINE.conform(
        pl.DataFrame({"raw": [f"{n:05d}" for n in range(count)]}).with_columns(
            source=pl.lit("stream"), line=pl.lit(1), reason=pl.lit("no number")
        )
    )


def test_everything_is_kept_in_order_and_every_unreadable_event_too(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'live.db'}"
    database = LiveDatabase(url)
    rows = RowWriter(database)
    rows.start()
    gaps = GapBook(database, tmp_path / "gaps.jsonl", Market.CRYPTO)
    keeper = Keeper(SpoolWriter(tmp_path / "spool", Market.CRYPTO, "collector"), gaps, rows, flush_s=60)
    keeper.start()
    for first in range(0, 1_000, 10):
        keeper.keep(StreamBatch(trades=trades(first, 10)), NOW + first)
    keeper.open_gap("disconnect", start_ns=NOW)
    keeper.keep(StreamBatch(refused=refused(STORM)), NOW + 1_000)
    keeper.bound_gaps(NOW + 10**9)
    keeper.close()
    assert rows.close(60) == 0
    database.close()
    ((file,),) = waiting(tmp_path / "spool").values()
    times = pl.read_ipc_stream(file.path)["time"].to_physical()
    assert times.to_list() == [NOW + n * 1_000_000 for n in range(1_000)]
    assert keeper.last_position == NOW + 1_000
    assert gaps.open_gaps()["status"].to_list() == ["open"]
    kept = quarantined(quarantine_folder(tmp_path / "spool", Market.CRYPTO))
    assert kept["raw"].to_list() == refused(STORM)["raw"].to_list()
    assert (keeper.refused_rows, keeper.quarantine.rows_dropped) == (STORM, 0)
    with Database(url) as opened:
        sent = opened.read(LIVE_QUARANTINE)
    assert 0 < sent.height <= 2 * 5_000
    assert set(sent["entry_id"]) <= set(kept["entry_id"])


def test_the_position_does_not_pass_a_hole_that_the_book_could_not_write(tmp_path: Path) -> None:
    rows = RowWriter(LiveDatabase("sqlite://"))
    gaps = GapBook(None, tmp_path / "gaps.jsonl", Market.CRYPTO)
    keeper = Keeper(SpoolWriter(tmp_path / "spool", Market.CRYPTO, "collector"), gaps, rows, flush_s=60)
    keeper.start()
    with (
        patch.object(HoleFinder, "see", return_value=[Hole("X:BTC-USD", "trades", NOW, NOW + 1, "1 skipped")]),
        patch.object(GapBook, "open", side_effect=OSError("no space left")),
    ):
        keeper.keep(StreamBatch(trades=trades(0, 10)), NOW + 10)
        keeper.close()
    assert isinstance(keeper.failure, OSError)
    assert keeper.last_position is None


def test_rows_that_a_full_disk_refuses_at_the_end_are_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gaps = GapBook(None, tmp_path / "gaps.jsonl", Market.CRYPTO)
    spool = SpoolWriter(tmp_path / "spool", Market.CRYPTO, "collector")
    keeper = Keeper(spool, gaps, RowWriter(LiveDatabase("sqlite://")), flush_s=60)
    with patch.object(SpoolWriter, "_write_held", side_effect=OSError(28, "No space left on device")):
        keeper.start()
        keeper.keep(StreamBatch(trades=trades(0, 10)), NOW + 10)
        keeper.close()
    assert "10 rows could not be written to the spool" in caplog.text
    assert "No space left on device" in caplog.text
    assert gaps.open_gaps()["cause"].to_list() == ["spool"]


@pytest.mark.slow
def test_killed_at_any_step_the_position_never_passes_unwritten_quarantine(tmp_path: Path) -> None:
    noted = []
    for moment in range(30):
        home = tmp_path / str(moment)
        rows = RowWriter(LiveDatabase("sqlite://"))
        keeper = SteppedKeeper(
            SpoolWriter(home / "spool", Market.CRYPTO, "collector"),
            GapBook(None, home / "gaps.jsonl", Market.CRYPTO),
            rows,
            flush_s=60,
        )
        keeper.start()
        keeper.keep(StreamBatch(trades=trades(0, 10), refused=refused(3)), NOW + 10)
        with killed_at(moment), suppress(Killed):
            keeper.flush()
        noted.append(keeper.last_position is not None)
        kept = quarantined(quarantine_folder(home / "spool", Market.CRYPTO))
        assert kept.height == 3 or not noted[-1], moment
    assert set(noted) == {False, True}


def test_a_position_that_meets_a_full_disk_is_written_at_the_next_flush(tmp_path: Path) -> None:
    rows = RowWriter(LiveDatabase("sqlite://"))
    gaps = GapBook(None, tmp_path / "gaps.jsonl", Market.CRYPTO)
    spool = SpoolWriter(tmp_path / "spool", Market.CRYPTO, "collector")
    keeper = SteppedKeeper(spool, gaps, rows, flush_s=60)
    keeper.start()
    keeper.keep(StreamBatch(trades=trades(0, 10)), NOW + 10)
    # A folder in its place makes the write fail as a full disk does.
    in_its_place = spool.folder / ".collector.position.tmp"
    in_its_place.mkdir()
    keeper.flush()
    assert (spool.rows_written, keeper.last_position) == (10, None)
    in_its_place.rmdir()
    keeper.flush()
    assert keeper.last_position is not None


def test_the_position_does_not_pass_a_gap_that_its_journal_could_not_write(tmp_path: Path) -> None:
    journal = tmp_path / "gaps.jsonl"
    gaps = GapBook(None, journal, Market.CRYPTO)
    spool = SpoolWriter(tmp_path / "spool", Market.CRYPTO, "collector")
    keeper = SteppedKeeper(spool, gaps, RowWriter(LiveDatabase("sqlite://")), flush_s=60)
    keeper.start()
    journal.unlink()
    journal.mkdir()
    keeper.keep(StreamBatch(trades=trades(0, 10)), NOW + 10)
    keeper.open_gap("disconnect", start_ns=NOW)
    keeper.flush()
    assert (spool.rows_written, keeper.last_position) == (10, None)
    journal.rmdir()
    keeper.flush()
    keeper.flush()
    assert keeper.last_position is not None
    assert GapBook(None, journal, Market.CRYPTO).count == 1
