"""Frames of the tape as arrays."""

import datetime as dt

import numpy as np
import polars as pl
import pytest

from tapewatch.market.arrays import (
    EXTENDED_SHIFT,
    SIDE_SHIFT,
    flat,
    flat_trades,
    session_bounds,
    symbol_runs,
    trade_traits,
    withdrawn,
)
from tapewatch.market.conditions import STOCK_UPDATE_RULES, Updates
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.tape import TRADES

STOCKS = Partition(dt.date(2024, 3, 5), Market.STOCKS).session
CRYPTO = Partition(dt.date(2024, 3, 5), Market.CRYPTO).session


def categories(*values: str | None) -> pl.Series:
    return pl.Series(values, dtype=pl.Categorical)


@pytest.mark.parametrize(
    ("corrections", "expected"),
    [
        ([0, 1, None, 6], []),
        ([], []),
        ([None], []),
        ([0, 7, None, 1], [False, True, False, False]),
        ([8, 10, 11, 12, 6], [True, True, True, True, False]),
    ],
)
def test_errors_cancellations_and_records_count_for_nothing(
    corrections: list[int | None], expected: list[bool]
) -> None:
    marked = withdrawn(pl.Series(corrections, dtype=pl.Int8))
    assert marked.tolist() == expected
    assert not marked.flags.writeable


@pytest.mark.parametrize("pieces", [1, 2])
def test_columns_become_read_only_arrays(pieces: int) -> None:
    def column(values: list[object], dtype: pl.DataType) -> pl.Series:
        whole = pl.Series("c", values, dtype=dtype)
        return whole if pieces == 1 else pl.concat([whole[:1], whole[1:]], rechunk=False)

    for series, null, expected in (
        (column([1, 2, 3], pl.Int64()), None, [1, 2, 3]),
        (column([1, None, 3], pl.Int64()), -1, [1, -1, 3]),
        (column([1.5, 2.5], pl.Float64()), 9.0, [1.5, 2.5]),
        (column([5, 7], pl.Datetime("ns", "UTC")), None, [5, 7]),
    ):
        array = flat(series, null=null)
        assert array.tolist() == expected
        assert not array.flags.writeable
    missing = flat(column([1.5, None], pl.Float64()))
    assert missing[0] == 1.5
    assert np.isnan(missing[1])
    words = column(["b", "a", "b"], pl.Categorical())
    assert flat(words).tolist() == words.to_physical().to_list()


@pytest.mark.parametrize(
    ("symbols", "offsets"), [([], [0]), (["A"], [0, 1]), (["A", "A", "B", "C", "C"], [0, 2, 3, 5])]
)
def test_runs_of_symbols(symbols: list[str], offsets: list[int]) -> None:
    names, found = symbol_runs(pl.DataFrame({"symbol": categories(*symbols)}))
    assert names == tuple(sorted(set(symbols)))
    assert found.tolist() == offsets


@pytest.mark.parametrize("symbols", [["B", "A"], ["A", "B", "A"]])
def test_symbols_out_of_order_are_refused(symbols: list[str]) -> None:
    with pytest.raises(ValueError, match="A comes after B: rows must be sorted by symbol"):
        symbol_runs(pl.DataFrame({"symbol": categories(*symbols)}))


def test_traits_hold_the_updates_of_both_hours_and_the_side() -> None:
    conditions = categories("", "12", "2", "14", "1", None)
    codes = conditions.to_physical()
    stocks = trade_traits(conditions, STOCKS, STOCK_UPDATE_RULES, exclude_price_codes=(14,))

    def parts(traits: np.ndarray, row: int) -> tuple[int, int, int]:
        value = int(traits[codes[row]])
        return value & 7, (value >> EXTENDED_SHIFT) & 7, value >> SIDE_SHIFT

    everything, volume = int(Updates.EVERYTHING), int(Updates.VOLUME)
    assert parts(stocks, 0) == (everything, everything, 1)
    assert parts(stocks, 1) == (volume, everything, 1)
    assert parts(stocks, 2) == (volume, volume, 1)
    assert parts(stocks, 3) == (volume, everything, 1)
    assert parts(stocks, 4) == (everything, everything, 1)
    crypto = trade_traits(conditions, CRYPTO, STOCK_UPDATE_RULES)
    assert parts(crypto, 2) == (everything, everything, 2)
    assert parts(crypto, 4) == (everything, everything, 0)
    assert parts(crypto, 1) == (everything, everything, 1)
    assert trade_traits(categories(), STOCKS, STOCK_UPDATE_RULES).tolist() == [0]


def test_trades_as_arrays() -> None:
    frame = pl.DataFrame(
        {
            "symbol": ["A", "A", "B"],
            "time": [1, 2, 1],
            "sequence_number": [1, 2, 1],
            "price": [1.0, 2.0, 3.0],
            "size": [10.0, 20.0, 30.0],
            "exchange": [1, 1, 1],
            "conditions": ["", "2", ""],
            "correction": [0, 8, None],
        }
    )
    symbols, trades = flat_trades(TRADES.conform(frame), STOCKS, STOCK_UPDATE_RULES)
    assert symbols == ("A", "B")
    assert trades.offsets.tolist() == [0, 2, 3]
    assert trades.time.tolist() == [1, 2, 1]
    assert trades.price.tolist() == [1.0, 2.0, 3.0]
    assert trades.size.tolist() == [10.0, 20.0, 30.0]
    assert trades.withdrawn.tolist() == [False, True, False]
    assert trades.traits[trades.condition[1]] & 7 == Updates.VOLUME


def test_bounds_of_a_session() -> None:
    bounds = session_bounds(STOCKS)
    assert (bounds.day_start, bounds.day_end) == (STOCKS.day_start, STOCKS.day_end)
    assert (bounds.regular_start, bounds.regular_end) == (STOCKS.regular_start, STOCKS.regular_end)
