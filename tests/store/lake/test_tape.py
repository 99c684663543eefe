"""Batches of whole symbols from the lake."""

import datetime as dt

import polars as pl
import pytest

from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND, Market, Partition
from tapewatch.market.tables.tape import BARS, QUOTES, TRADES
from tapewatch.store.lake.lake import Lake, MissingPartitionError
from tapewatch.store.lake.tape import has_tape, has_ticks, symbol_batches, tape_end
from tests.support.made_up_run import bars
from tests.support.tapes import random_tape, tape_of

PARTITION = Partition(dt.date(2024, 3, 5), Market.STOCKS)


@pytest.fixture
def tape() -> tuple[pl.DataFrame, pl.DataFrame]:
    trades, quotes = random_tape(seed=5, symbols=("A", "B", "C", "D"), trades=100, quotes=200)
    return trades, quotes.filter(pl.col("symbol").cast(pl.String) != "B")


@pytest.mark.parametrize("max_rows", [1, 450, 10_000])
def test_batches_hold_every_row_once_and_never_split_a_symbol(tmp_path, tape, max_rows) -> None:
    trades, quotes = tape
    lake = Lake(tmp_path)
    lake.write(TRADES, PARTITION, trades)
    lake.write(QUOTES, PARTITION, quotes)
    batches = list(symbol_batches(lake, PARTITION, max_rows))
    assert pl.concat([batch[0] for batch in batches]).equals(trades.select(batches[0][0].columns))
    assert pl.concat([batch[1] for batch in batches]).equals(quotes.select(batches[0][1].columns))
    held = [set(pl.concat([t["symbol"], q["symbol"]]).cast(pl.String)) for t, q in batches]
    assert sum(map(len, held)) == len(set().union(*held)) == 4
    for (batch_trades, batch_quotes), symbols in zip(batches, held, strict=True):
        assert batch_trades.height + batch_quotes.height <= max_rows or len(symbols) == 1


def test_a_partition_without_quotes_yields_empty_quotes(tmp_path, tape) -> None:
    lake = Lake(tmp_path)
    lake.write(TRADES, PARTITION, tape[0])
    ((trades, quotes),) = symbol_batches(lake, PARTITION)
    assert trades.height == tape[0].height
    assert quotes.is_empty()
    assert quotes.schema["bid_price"] == pl.Float64


def test_a_missing_partition_is_an_error(tmp_path) -> None:
    with pytest.raises(MissingPartitionError, match="materialize it first"):
        list(symbol_batches(Lake(tmp_path), PARTITION))


def test_the_tape_ends_with_the_minute_of_its_last_row(tmp_path) -> None:
    lake, opening = Lake(tmp_path), PARTITION.session.regular_start
    assert (tape_end(lake, PARTITION), has_tape(lake, PARTITION)) == (PARTITION.session.day_start, False)
    trades, quotes = tape_of([(0, 10, 1), (600, 10, 1)], [(0, 9, 11), (659.9, 9, 11)])
    for table in (TRADES, QUOTES):
        lake.write(table, PARTITION, table.empty())
    assert (tape_end(lake, PARTITION), has_tape(lake, PARTITION)) == (PARTITION.session.day_start, True)
    assert not has_ticks(lake, PARTITION)
    lake.write(TRADES, PARTITION, trades)
    assert tape_end(lake, PARTITION) == opening + 11 * NS_PER_MINUTE
    lake.write(QUOTES, PARTITION, quotes)
    assert tape_end(lake, PARTITION) == opening + 11 * NS_PER_MINUTE
    lake.write(QUOTES, PARTITION, quotes.with_columns(pl.col("time").dt.offset_by("1s")))
    assert tape_end(lake, PARTITION) == opening + 12 * NS_PER_MINUTE
    assert has_ticks(lake, PARTITION)


def test_a_tape_of_bars_ends_with_its_last_bar(tmp_path) -> None:
    lake, day = Lake(tmp_path), Partition(dt.date(2024, 6, 3), Market.STOCKS)
    minutes = bars("AAA", Market.STOCKS, 1).head(100)
    lake.write(BARS, day, minutes)
    last = minutes["time"].dt.epoch("ns").max()
    assert tape_end(lake, day) == last + NS_PER_MINUTE == last + 60 * NS_PER_SECOND
    assert (has_ticks(lake, day), has_tape(lake, day)) == (False, True)
