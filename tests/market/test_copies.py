"""Which copy of a row stays: the identity of every market's rows, and the copies that others replace."""

import duckdb
import numpy as np
import polars as pl
import pytest

from tapewatch.market.copies import IS_CORRECTION_RECORD, identity, is_numbered, is_superseded
from tapewatch.market.instruments import Market
from tapewatch.market.live_tables import INDEX_VALUES, STREAM_BARS
from tapewatch.market.tables import DELIVERED_BARS, QUOTES, TRADES

NUMBER = ("symbol", "sequence_number")


@pytest.mark.parametrize(
    ("market", "of_trades", "of_quotes"),
    [
        (Market.STOCKS, NUMBER, NUMBER),
        (Market.FUTURES, NUMBER, NUMBER),
        (Market.OPTIONS, (), NUMBER),
        (Market.CRYPTO, ("symbol", "exchange", "id"), ()),
        (Market.FOREX, (), ()),
    ],
)
def test_identity_of_each_market(market: Market, of_trades: tuple[str, ...], of_quotes: tuple[str, ...]) -> None:
    assert (identity(TRADES, market), identity(QUOTES, market)) == (of_trades, of_quotes)
    assert (is_numbered(TRADES, market), is_numbered(QUOTES, market)) == (of_trades == NUMBER, of_quotes == NUMBER)
    assert identity(DELIVERED_BARS, market) == ("symbol", "time")
    assert identity(STREAM_BARS, market) == ("symbol", "clock", "time")
    assert identity(INDEX_VALUES, market) == ()


def test_a_source_may_state_numbers_that_the_stream_lacks() -> None:
    assert identity(TRADES, Market.OPTIONS, has_numbers=True) == NUMBER
    assert identity(TRADES, Market.CRYPTO, has_numbers=False) == ("symbol", "exchange", "id")


def test_the_last_of_equal_rows_is_not_superseded() -> None:
    symbol, number = np.array([1, 1, 1, 2, 2]), np.array([5, 5, 6, 6, 6])
    assert is_superseded([symbol, number]).tolist() == [True, False, False, True, False]


def test_a_correction_record_is_the_same_in_polars_and_duckdb() -> None:
    frame = pl.DataFrame({"correction": pl.Series([None, 0, 8, 9, 10, 12], dtype=pl.Int8)})
    expected = [False, False, False, False, True, True]
    assert frame.select(pl.sql_expr(IS_CORRECTION_RECORD)).to_series().to_list() == expected
    with duckdb.connect() as database:
        database.register("rows", frame.to_arrow())
        assert [row[0] for row in database.sql(f"SELECT {IS_CORRECTION_RECORD} FROM rows").fetchall()] == expected  # noqa: S608
