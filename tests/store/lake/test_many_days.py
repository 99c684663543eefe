"""Many partitions read at once are those read one after the other, also of old objects, of a bucket, and when one is replaced."""

import datetime as dt
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.tape import TRADES
from tapewatch.store.lake import many_days
from tapewatch.store.lake.lake import Lake, LayoutError, MissingPartitionError
from tapewatch.store.lake.many_days import read_symbol, written

DAYS = [Partition(dt.date(2024, 3, day), Market.STOCKS) for day in (4, 5, 6, 7)]
COLUMNS = ["time", "price", "size"]


def daily_trades(day: Partition, counts: dict[str, int]) -> pl.DataFrame:
    rows = [
        {"symbol": name, "time": day.session.regular_start + n * 1000, "sequence_number": n, "price": n + 1.5, "size": 2.0 + n,
         "exchange": 4, "conditions": "", "id": f"{name}{n}"}
        for name, count in counts.items() for n in range(count)
    ]  # fmt: skip
    return TRADES.conform(pl.DataFrame(rows))


def filled(lake: Lake) -> Lake:
    for number, day in enumerate(DAYS[:3]):
        lake.write(TRADES, day, daily_trades(day, {"AAPL": 5 + number, "MSFT": 3}))
    return lake


def one_by_one(lake: Lake, symbol: str) -> pl.DataFrame:
    return pl.concat(lake.read(TRADES, day, columns=COLUMNS, symbols=[symbol]) for day in DAYS[:3])


@pytest.mark.parametrize("is_local", [True, False])
@pytest.mark.parametrize("symbol", ["AAPL", "MSFT", "NONE"])
def test_at_once_equals_one_by_one(tmp_path: Path, is_local: bool, symbol: str) -> None:
    lake = filled(Lake(tmp_path if is_local else f"memory://many-{tmp_path.name}"))
    expected = one_by_one(lake, symbol)
    assert expected.height == {"AAPL": 18, "MSFT": 9, "NONE": 0}[symbol]
    assert read_symbol(lake, TRADES, DAYS[:3], symbol, COLUMNS).equals(expected)
    assert read_symbol(lake, TRADES, [], symbol, COLUMNS).schema == expected.schema
    assert written(lake, TRADES, DAYS) == DAYS[:3]
    with pytest.raises(MissingPartitionError, match=r"2024-03-07\|stocks"):
        read_symbol(lake, TRADES, DAYS, symbol, COLUMNS)


def test_an_object_that_is_older_than_a_column_is_completed(tmp_path: Path) -> None:
    lake, columns = filled(Lake(tmp_path)), ["time", "id"]
    place = lake.path(TRADES, DAYS[1]).path
    table = pq.read_table(place)
    pq.write_table(table.drop_columns(["id"]), place)
    expected = [lake.read(TRADES, day, columns=columns, symbols=["MSFT"]) for day in DAYS[:3]]
    assert read_symbol(lake, TRADES, DAYS[:3], "MSFT", columns).equals(pl.concat(expected))


def test_a_partition_that_is_replaced_meanwhile_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake, together = filled(Lake(tmp_path)), many_days._together

    def replaced_after(*arguments: object) -> pl.DataFrame:
        rows = together(*arguments)  # type: ignore[arg-type]
        lake.write(TRADES, DAYS[1], daily_trades(DAYS[1], {"AAPL": 9}))
        return rows

    monkeypatch.setattr(many_days, "_together", replaced_after)
    assert read_symbol(lake, TRADES, DAYS[:3], "AAPL", COLUMNS).height == 5 + 9 + 7


def test_the_layout_of_before_is_refused(tmp_path: Path) -> None:
    lake = filled(Lake(tmp_path))
    folder = Path(lake.path(TRADES, DAYS[1]).path).parent
    (folder / "part.parquet").rename(folder.with_name(f"{folder.name}.parquet"))
    with pytest.raises(LayoutError):
        written(lake, TRADES, DAYS)
    with pytest.raises(LayoutError):
        lake.partitions(TRADES, Market.STOCKS)
