"""Names and days of spool files."""

import datetime as dt
from pathlib import Path

import polars as pl
import pytest

from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.stream import STREAM_TRADES
from tapewatch.store.spool.files import (
    HealedInterval,
    SpoolFile,
    highest_numbers,
    market_days,
    market_files,
    waiting_for,
)

DAY = dt.date(2024, 3, 5)
STOCKS = Partition(DAY, Market.STOCKS)


@pytest.mark.parametrize("heals", [None, HealedInterval("X:BTC-USD", 5, 9), HealedInterval("A@B/C", 0, 1)])
def test_a_file_is_parsed_from_its_name(tmp_path: Path, heals: HealedInterval | None) -> None:
    file = SpoolFile.at(tmp_path, "healer", 42, "stream_trades", heals)
    parsed = SpoolFile.parse(Path(file.path).name, file.path, 7)
    assert parsed == file
    assert (parsed.heals, parsed.bytes, parsed.path) == (heals, 7, file.path)
    assert parsed.name == "healer-000000000042-stream_trades"
    assert SpoolFile.parse(Path(file.path).name, file.path).bytes == 0


def test_files_are_listed_in_order_of_their_numbers_with_sizes(tmp_path: Path) -> None:
    folder = tmp_path / "stocks" / "2024-03-05"
    folder.mkdir(parents=True)
    for number, producer in ((10, "collector"), (9, "healer"), (9, "collector"), (2, "collector")):
        Path(SpoolFile.at(folder, producer, number, "stream_trades").path).write_bytes(b"x" * number)
    (folder / ".collector-000000000011-stream_trades.arrow.tmp").touch()
    (folder / "notes.txt").touch()
    (tmp_path / "stocks" / "not-a-day").mkdir()
    files = waiting_for(tmp_path, STOCKS)
    assert [(f.number, f.producer, f.bytes) for f in files] == [
        (2, "collector", 2),
        (9, "collector", 9),
        (9, "healer", 9),
        (10, "collector", 10),
    ]
    assert highest_numbers(files) == {"collector": 10, "healer": 9}
    assert list(market_files(tmp_path / "stocks")) == [DAY]
    assert [f.bytes for f in market_files(tmp_path / "stocks")[DAY]] == [0] * 4, "only names are read"
    bounded = waiting_for(tmp_path, STOCKS, {"collector": 9})
    assert [(f.number, f.producer) for f in bounded] == [(2, "collector"), (9, "collector")]


def test_rows_are_divided_at_the_first_and_last_instant_of_a_day() -> None:
    start, end = STOCKS.session.day_start, STOCKS.session.day_end
    frame = pl.DataFrame({"time": [start - 1, start, end - 1, end]}).with_columns(
        pl.col("time").cast(STREAM_TRADES.schema["time"])
    )
    found = {day: rows["time"].to_physical().to_list() for day, rows in market_days(frame, Market.STOCKS)}
    assert found == {
        DAY - dt.timedelta(days=1): [start - 1],
        DAY: [start, end - 1],
        DAY + dt.timedelta(days=1): [end],
    }
    saturday = frame.with_columns(
        pl.lit(dt.datetime(2024, 3, 9, 15, tzinfo=dt.UTC)).cast(frame["time"].dtype).alias("time")
    )
    ((closed, rows),) = market_days(pl.concat([saturday, saturday]), Market.STOCKS)
    assert closed is None
    assert rows.height == 8
    assert list(market_days(frame.clear(), Market.STOCKS)) == []
