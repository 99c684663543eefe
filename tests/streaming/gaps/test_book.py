"""The gap book: survives kills and an unavailable database; the same gap is one row."""

import datetime as dt
from pathlib import Path

import polars as pl
import pytest

from tapewatch.market.instruments import NS_PER_MINUTE, Market
from tapewatch.market.tables.live import GAPS
from tapewatch.store.database.database import Database
from tapewatch.store.spool.files import HealedInterval
from tapewatch.streaming.gaps.book import GROWING, OPEN, GapBook, gap_frame, gap_rows, save_gaps, until_merged
from tests.support.tapes import stock_session

START = stock_session().regular_start
NOW = START + NS_PER_MINUTE


@pytest.fixture
def database(tmp_path):
    with Database(f"sqlite:///{tmp_path / 'gaps.db'}") as opened:
        yield opened


def book(tmp_path: Path, database: Database | None) -> GapBook:
    return GapBook(database, tmp_path / "gaps.jsonl", Market.STOCKS)


def growing(gaps: GapBook) -> list[str]:
    return gaps.open_gaps().filter(pl.col("status") == GROWING)["gap_id"].to_list()


def test_a_gap_grows_gets_its_end_and_is_in_the_database(tmp_path, database) -> None:
    gaps = book(tmp_path, database)
    gap_id = gaps.open("disconnect", start_ns=START, now_ns=NOW, reason="reset by peer")
    (row,) = gap_rows(database.read(GAPS, market=Market.STOCKS))
    assert (row["gap_id"], row["status"], row["end_time"], row["reason"]) == (gap_id, GROWING, None, "reset by peer")
    assert gaps.close_growing(START + 5 * 10**9) == [gap_id]
    (row,) = gap_rows(database.read(GAPS, market=Market.STOCKS))
    assert (row["status"], row["start_time"], row["end_time"]) == (OPEN, START, START + 5 * 10**9)
    assert gaps.close_growing(START + 9 * 10**9) == []


def test_the_same_gap_is_one_row_and_another_symbol_another_row(tmp_path, database) -> None:
    gaps = book(tmp_path, database)
    for symbol in ("AAA", "AAA", "BBB", None):
        gaps.open("sequence", start_ns=START, end_ns=START + 10, now_ns=NOW, symbol=symbol, channel="trades")
    assert database.read(GAPS).height == 3


def test_opening_the_same_gap_again_extends_it_and_never_shortens_it(tmp_path, database) -> None:
    gaps = book(tmp_path, database)
    ends = []
    for end in (START + 10**9, START + 3 * 10**9, START + 2 * 10**9):
        gaps.open("restart", start_ns=START, end_ns=end, now_ns=NOW)
        ends += [row["end_time"] - START for row in gap_rows(book(tmp_path, database).open_gaps())]
    assert ends == [10**9, 3 * 10**9, 3 * 10**9]
    gaps.open("restart", start_ns=START, now_ns=NOW)
    assert growing(gaps) == database.read(GAPS)["gap_id"].to_list()


def test_without_a_database_gaps_wait_in_the_journal(tmp_path, database) -> None:
    away = book(tmp_path, None)
    grows = away.open("disconnect", start_ns=START, now_ns=NOW)
    ended = away.open("dropped", start_ns=START, end_ns=START + 7, now_ns=NOW)
    assert not away.flush()
    again = book(tmp_path, None)
    assert growing(again) == [grows]
    assert set(again.open_gaps()["gap_id"]) == {grows, ended}
    again.database = database
    assert again.flush()
    assert set(database.read(GAPS)["gap_id"]) == {grows, ended}


def test_a_restart_does_not_reopen_a_healed_gap(tmp_path, database) -> None:
    gaps = book(tmp_path, database)
    gaps.open("dropped", start_ns=START, end_ns=START + 7, now_ns=NOW)
    (row,) = gap_rows(database.read(GAPS))
    save_gaps(database, Market.STOCKS, [row | {"status": "healed", "healed_time": NOW}])
    book(tmp_path, database).flush()
    assert database.read(GAPS)["status"].to_list() == ["healed"]


def test_ended_gaps_are_dropped_and_stay_dropped_after_a_restart(tmp_path, database) -> None:
    gaps = book(tmp_path, database)
    for start in (START, START + 10**9, START + 2 * 10**9):
        gaps.open("dropped", start_ns=start, end_ns=start + 7, now_ns=NOW)
    first, second, _ = gap_rows(database.read(GAPS))
    save_gaps(database, Market.STOCKS, [first | {"status": "healed"}, second | {"status": "unhealable"}])
    assert gaps.count == 3
    assert book(tmp_path, None).count == 3
    gaps.forget_ended()
    assert gaps.open_gaps()["start_time"].to_physical().to_list() == [START + 2 * 10**9]
    assert book(tmp_path, None).count == 1
    gaps.flush()
    assert database.read(GAPS)["status"].to_list() == ["healed", "unhealable", "open"]


def test_a_gap_extended_while_it_was_healed_is_opened_again(tmp_path, database) -> None:
    gaps = book(tmp_path, database)
    gaps.open("restart", start_ns=START, end_ns=START + 10**9, now_ns=NOW)
    (seen,) = gap_rows(database.read(GAPS))
    gaps = book(tmp_path, database)
    gaps.open("restart", start_ns=START, end_ns=START + 3 * 10**9, now_ns=NOW)
    save_gaps(database, Market.STOCKS, [seen | {"status": "healed"}])
    gaps.forget_ended()
    (row,) = gap_rows(database.read(GAPS))
    assert (row["status"], row["end_time"] - START) == (OPEN, 3 * 10**9)
    save_gaps(database, Market.STOCKS, [row | {"status": "healed"}])
    gaps.forget_ended()
    assert gaps.count == 0
    assert database.read(GAPS)["status"].to_list() == ["healed"]


def test_gaps_that_the_database_refuses_are_written_later(tmp_path) -> None:
    folder = tmp_path / "db"
    folder.mkdir()
    with Database(f"sqlite:///{folder / 'gaps.db'}") as opened:
        gaps = book(tmp_path, opened)
        opened.engine.dispose()
        moved = folder.rename(tmp_path / "gone")
        gaps.open("dropped", start_ns=START, end_ns=START + 7, now_ns=NOW)
        assert gaps.error
        opened.engine.dispose()
        moved.rename(folder)
        assert gaps.flush()
        assert gaps.error is None
        assert opened.read(GAPS).height == 1


def test_an_incomplete_last_line_is_ignored(tmp_path) -> None:
    gaps = book(tmp_path, None)
    gaps.open("dropped", start_ns=START, end_ns=START + 7, now_ns=NOW)
    with (tmp_path / "gaps.jsonl").open("a") as stream:
        stream.write('{"gap": {"gap_id": "st')
    again = book(tmp_path, None)
    again.open("dropped", start_ns=START + 100_000, end_ns=START + 200_000, now_ns=NOW)
    assert book(tmp_path, None).open_gaps().height == 2


def test_while_the_journal_cannot_be_written_nothing_goes_to_the_database(tmp_path, database) -> None:
    gaps, journal = book(tmp_path, database), tmp_path / "gaps.jsonl"
    saved = gaps.open("dropped", start_ns=START, end_ns=START + 7, now_ns=NOW)
    # A folder in its place makes writes fail, as on a full disk.
    kept = journal.rename(tmp_path / "kept")
    journal.mkdir()
    grows = gaps.open("disconnect", start_ns=START, now_ns=NOW)
    assert not gaps.flush()
    assert not gaps.is_noted
    assert database.read(GAPS)["gap_id"].to_list() == [saved]
    journal.rmdir()
    # Half a line was written.
    kept.rename(journal)
    with journal.open("a") as stream:
        stream.write('{"gap": {"gap_id": "st')
    assert gaps.flush()
    assert set(database.read(GAPS)["gap_id"]) == {saved, grows}
    assert set(book(tmp_path, None).open_gaps()["gap_id"]) == {saved, grows}


def test_a_book_opens_on_a_full_disk(tmp_path, database) -> None:
    first = book(tmp_path, None).open("dropped", start_ns=START, end_ns=START + 7, now_ns=NOW)
    blocker = tmp_path / ".gaps.jsonl.tmp"
    blocker.mkdir()
    gaps = book(tmp_path, database)
    second = gaps.open("dropped", start_ns=START + 100_000, end_ns=START + 200_000, now_ns=NOW)
    assert not gaps.flush()
    blocker.rmdir()
    assert gaps.flush()
    assert set(book(tmp_path, None).open_gaps()["gap_id"]) == {first, second}


def test_gap_rows_is_the_inverse_of_gap_frame(tmp_path) -> None:
    gaps = book(tmp_path, None)
    gaps.open("disconnect", start_ns=START, now_ns=NOW)
    frame = gaps.open_gaps()
    GAPS.check(frame)
    assert gap_frame(gap_rows(frame)).equals(frame)
    assert frame["start_time"][0] == dt.datetime.fromtimestamp(START // 10**9, dt.UTC)


def test_a_gap_is_healed_when_no_row_of_its_heal_waits_in_the_spool() -> None:
    rows = [
        {"gap_id": f"{symbol} {status}", "symbol": symbol, "channel": "all", "cause": "disconnect", "status": status}
        | {"start_time": 100_000, "end_time": 200_000, "opened_time": 0, "attempts": 1}
        for symbol in (None, "AAA")
        for status in ("healed", "unhealable")
    ]
    gaps = gap_frame(rows)

    def healed(*waiting: HealedInterval) -> list[str | None]:
        found = until_merged(gaps, waiting)
        assert found.filter(pl.col("status") == "unhealable").height == 2
        return found.filter(pl.col("status") == "healed")["symbol"].to_list()

    assert healed() == [None, "AAA"]
    assert healed(HealedInterval("BBB", 150_000, 160_000)) == ["AAA"]
    assert healed(HealedInterval("AAA", 150_000, 160_000)) == []
    assert healed(HealedInterval("", 0, 100_001)) == []
    assert healed(HealedInterval("", 0, 100_000), HealedInterval("AAA", 200_000, 300_000)) == [None, "AAA"]
