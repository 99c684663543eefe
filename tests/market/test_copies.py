"""Which copy of a row stays: the identity of every market's rows, and the copies that others replace."""

import duckdb
import numpy as np
import polars as pl
import pytest

from tapewatch.market.copies import (
    IS_CORRECTION_RECORD,
    has_identity,
    identity,
    is_numbered,
    is_superseded,
    number_the_rest,
)
from tapewatch.market.instruments import Market
from tapewatch.market.tables.stream import INDEX_VALUES, STREAM_BARS
from tapewatch.market.tables.tape import DELIVERED_BARS, QUOTES, TRADES

NUMBER = ("symbol", "sequence_number")
TRADE = (*NUMBER, "exchange", "id")


@pytest.mark.parametrize(
    ("market", "of_trades", "of_quotes"),
    [
        (Market.STOCKS, TRADE, NUMBER),
        (Market.FUTURES, (), ()),
        (Market.OPTIONS, (), NUMBER),
        (Market.CRYPTO, ("symbol", "exchange", "id"), ()),
        (Market.FOREX, (), ()),
    ],
)
def test_identity_of_each_market(market: Market, of_trades: tuple[str, ...], of_quotes: tuple[str, ...]) -> None:
    assert (identity(TRADES, market), identity(QUOTES, market)) == (of_trades, of_quotes)
    assert (is_numbered(TRADES, market), is_numbered(QUOTES, market)) == (of_trades == TRADE, of_quotes == NUMBER)
    assert identity(DELIVERED_BARS, market) == ("symbol", "time")
    assert identity(STREAM_BARS, market) == ("symbol", "clock", "time")
    assert identity(INDEX_VALUES, market) == ()


def test_a_number_0_is_none_and_a_missing_id_is_a_value() -> None:
    rows = pl.DataFrame(
        {
            "symbol": ["A"] * 4,
            "sequence_number": [0, None, 5, 5],
            "exchange": [1, 1, 1, None],
            "id": ["1", "2", None, "4"],
        }
    )
    assert rows.select(has_identity(TRADE, TRADES, Market.STOCKS)).to_series().to_list() == [False, False, True, False]
    crypto = has_identity(identity(TRADES, Market.CRYPTO), TRADES, Market.CRYPTO)
    assert rows.select(crypto).to_series().to_list() == [True, True, False, False]
    nameless = rows.with_columns(id=pl.Series(["0", "", "00", "0x"]), exchange=pl.lit(1))
    assert nameless.select(crypto).to_series().to_list() == [False, False, True, True]


def test_rows_without_a_number_get_one_below_zero_that_rises_with_time() -> None:
    rows = pl.DataFrame({"symbol": ["A", "A", "A", "B", "B"], "sequence_number": [0, 7, None, 0, 9]})
    assert number_the_rest(rows)["sequence_number"].to_list() == [-2, 7, -1, -1, 9]
    assert number_the_rest(rows.head(3), over=None)["sequence_number"].to_list() == [-2, 7, -1]
    assert number_the_rest(rows.filter(pl.col("sequence_number") > 0))["sequence_number"].to_list() == [7, 9]


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
