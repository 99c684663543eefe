"""The recorded days: exact counts, the known oddities, and an independent reader's frames."""

import datetime as dt
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tapewatch.feeds.files.source import FlatFileSource
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.tape import QUOTES, TRADES
from tapewatch.store.lake.lake import Lake
from tests.support.recorded import TICK_DAYS, recorded_quotes, recorded_trades

pytestmark = pytest.mark.real_tape
_TRADES = dict(zip(TICK_DAYS, (388_417, 654_140, 641_559), strict=True))
_CROSSED = {"AIG": (95, 188, 54), "IBM": (43, 40, 57), "BAC": (0, 0, 0)}


def _stocks(date: dt.date) -> Partition:
    return Partition(date, Market.STOCKS)


@pytest.mark.long
@pytest.mark.parametrize("date", TICK_DAYS)
def test_loading_trades_twice_gives_the_same(market_data: Path, tmp_path: Path, date: dt.date) -> None:
    source, lake = FlatFileSource(str(market_data)), Lake(tmp_path)
    objects = []
    for _ in range(2):
        load = source.trades(_stocks(date))
        written = lake.write(TRADES, _stocks(date), load)
        objects.append(Path(written.path).read_bytes())
        assert written.rows == load.source_rows == _TRADES[date]
        assert (load.duplicates, load.quarantine.height) == (0, 0)
    assert objects[0] == objects[1]
    independent = recorded_trades(market_data, date).with_columns(trf_time=pl.lit(None, pl.Datetime("ns", "UTC")))
    assert_frame_equal(lake.read(TRADES, _stocks(date)), independent, categorical_as_str=True)


@pytest.mark.long
@pytest.mark.parametrize("date", TICK_DAYS)
def test_quotes_and_how_many_are_crossed(market_data: Path, tmp_path: Path, date: dt.date) -> None:
    load, lake = FlatFileSource(str(market_data)).quotes(_stocks(date)), Lake(tmp_path)
    lake.write(QUOTES, _stocks(date), load)
    assert (load.duplicates, load.quarantine.height) == (0, 0)
    quotes = lake.read(QUOTES, _stocks(date))
    crossed = quotes.filter((pl.col("bid_price") > pl.col("ask_price")) & (pl.col("ask_price") > 0))
    counts = dict(crossed.group_by(pl.col("symbol").cast(pl.String)).len().rows())
    assert {s: counts.get(s, 0) for s in _CROSSED} == {s: n[TICK_DAYS.index(date)] for s, n in _CROSSED.items()}
    independent = recorded_quotes(market_data, date).select(
        "symbol", "time", "sequence_number", "bid_price", "ask_size"
    )
    assert_frame_equal(quotes.select(independent.columns), independent, categorical_as_str=True)


def test_every_recorded_bar_loads(market_data: Path) -> None:
    source = FlatFileSource(str(market_data))
    rows = 0
    for market in (Market.STOCKS, Market.CRYPTO, Market.INDICES):
        for date in source.available(market)["bars"]:
            load = source.bars(Partition(date, market))
            rows += sum(frame.height for frame in load)
            assert load.quarantine.is_empty(), (market, date)
    assert rows == 16_651 + 15_386 + 1_812


@pytest.mark.parametrize(
    ("date", "symbol", "minutes"),
    [
        (dt.date(2008, 3, 7), "SHY", 336),
        (dt.date(2008, 3, 10), "SHY", 316),
        (dt.date(2015, 12, 24), "GOOG", 227),
        (dt.date(2014, 6, 9), "AAPL", None),
        (dt.date(2014, 6, 23), "TWX", 6),
        (dt.date(2013, 7, 1), "FOXA", 408),
    ],
)
def test_summer_time_half_days_splits_and_renamed_tickers(
    market_data: Path, date: dt.date, symbol: str, minutes: int | None
) -> None:
    load = FlatFileSource(str(market_data)).bars(_stocks(date), [symbol])
    bars = pl.concat(load)
    assert minutes is None or bars.height == minutes
    assert load.source_rows == bars.height > 0


def test_a_split_is_delivered_raw(market_data: Path) -> None:
    bars = pl.concat(FlatFileSource(str(market_data)).bars(_stocks(dt.date(2014, 6, 9)), ["AAPL"]))
    assert bars.row(0, named=True)["open"] == 645.57
    assert bars.row(-1, named=True)["close"] < 100


def test_forex_from_either_feed(market_data: Path) -> None:
    counts = []
    for root in (market_data, market_data / "alt_feeds" / "fxcm"):
        source = FlatFileSource(str(root))
        for date in source.available(Market.FOREX)["quotes"]:
            load = source.quotes(Partition(date, Market.FOREX))
            quotes = pl.concat(load)
            assert quotes["sequence_number"].to_list() == list(range(1, quotes.height + 1))
            counts.append(quotes.height)
            assert load.quarantine.is_empty()
    assert counts == [44_864, 41_367, 87_833, 99_897, 89_724, 165_612]


def test_daily_bars_of_every_year(market_data: Path) -> None:
    source = FlatFileSource(str(market_data))
    loads = [source.day_bars(Market.STOCKS, year) for year in range(1998, 2022)]
    assert sum(frame.height for load in loads for frame in load) == 70_025
    assert all(load.quarantine.is_empty() for load in loads)
