"""The lake against the emulator's truth."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from tapewatch.emulator.tape.market_tape import SyntheticTape
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.tape import TRADES
from tapewatch.store.lake.lake import Lake

SEED = 7
_NS_PER_MS = 1_000_000


@dataclass(frozen=True)
class Difference:
    """How the lake's trades differ from the true ones: none should be `lost`, `doubled` or `wrong`."""

    expected: int
    lost: int
    doubled: int
    wrong: int

    @property
    def is_none(self) -> bool:
        """Whether the lake holds each trade once and unchanged."""
        return self.lost == self.doubled == self.wrong == 0

    def __str__(self) -> str:
        return f"{self.expected:,} trades: {self.lost} lost, {self.doubled} double, {self.wrong} wrong"


def identity(market: Market) -> list[str]:
    """The columns that identify a trade of a market, stated apart from the library on purpose."""
    return ["symbol", "exchange", "id"] if market is Market.CRYPTO else ["symbol", "sequence_number"]


def difference(lake: Lake, partition: Partition, symbols: Sequence[str], *, before_ns: int | None = None) -> Difference:
    """Compare a day of the lake with the synthetic market's, whole or before a time. Times are compared in milliseconds, as
    streams state them."""
    tape = SyntheticTape(SEED)
    trades = pl.concat(tape.trades(symbol, partition.date) for symbol in symbols)
    return _compared(lake, partition, trades, symbols, before_ns)


def renamed_difference(lake: Lake, partition: Partition, symbol: str, to: str, at: dt.datetime) -> Difference:
    """The same for one symbol that is renamed to `to` at `at`."""
    trades = SyntheticTape(SEED).trades(symbol, partition.date)
    name = pl.when(pl.col("time") < at).then(pl.lit(symbol)).otherwise(pl.lit(to))
    return _compared(lake, partition, trades.with_columns(name.alias("symbol")), (symbol, to))


def _compared(
    lake: Lake, partition: Partition, trades: pl.DataFrame, symbols: Sequence[str], before_ns: int | None = None
) -> Difference:
    key = identity(partition.market)
    is_before = pl.lit(value=True) if before_ns is None else pl.col("ms") < before_ns // _NS_PER_MS
    expected = _plain(trades, key).filter(is_before)
    tape = lake.read(TRADES, partition) if lake.exists(TRADES, partition) else TRADES.empty()
    held = _plain(tape.filter(pl.col("symbol").cast(pl.String).is_in(list(symbols))), key).filter(is_before)
    doubled = held.height - held.unique(key).height
    joined = expected.join(held.unique(key), on=key, how="full", suffix="_held", coalesce=True)
    lost = joined.filter(pl.col("price_held").is_null()).height
    invented = joined.filter(pl.col("price").is_null()).height
    is_other = (
        (pl.col("price") != pl.col("price_held"))
        | (pl.col("size") != pl.col("size_held"))
        | (pl.col("conditions") != pl.col("conditions_held"))
        | (pl.col("ms") != pl.col("ms_held"))
    )
    return Difference(expected.height, lost, doubled, invented + joined.filter(is_other).height)


def _plain(trades: pl.DataFrame, key: list[str]) -> pl.DataFrame:
    return trades.select(
        *(pl.col(name).cast(pl.String) for name in key),
        "price",
        "size",
        pl.col("conditions").cast(pl.String),
        ms=pl.col("time").to_physical() // _NS_PER_MS,
    )
