"""Batches of whole symbols from the lake."""

import datetime as dt

import polars as pl
import pytest

from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables import QUOTES, TRADES
from tapewatch.store.lake.lake import Lake, MissingPartitionError
from tapewatch.store.lake.tape import symbol_batches
from tests.support.tapes import random_tape

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
