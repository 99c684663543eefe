"""Candles at every zoom equal a plain resampling by pandas; days are read as views reach them, and again when rewritten."""

import datetime as dt
import math

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from dashboard.reading.history import Histories, _view
from dashboard.reading.levels import WIDTHS, Ladder, grouped
from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND, Market, Partition
from tapewatch.market.tables.live import LIVE_BARS
from tapewatch.market.tables.tape import BARS
from tapewatch.store.database.database import Database
from tapewatch.store.lake.lake import Lake
from tests.support.price_bars import walk
from tests.support.watched_home import DAY, LATER, day_of_bars, live_bars

_ANY = 10**19
_AGGREGATES = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}


def with_volume(bars: pl.DataFrame, seed: int = 3) -> pl.DataFrame:
    volume = np.random.default_rng(seed).exponential(100, bars.height)
    return bars.with_columns(volume=pl.Series(volume), vwap=pl.col("close") * 1.001)


def in_pandas(bars: pl.DataFrame, minutes: int) -> pd.DataFrame:
    frame = bars.to_pandas().set_index("time")
    return frame.resample(f"{minutes}min", origin="epoch").agg(_AGGREGATES).dropna()


@pytest.mark.long
@settings(max_examples=20)
@given(some.integers(0, 10_000))
def test_each_level_equals_resampling(seed: int) -> None:
    bars = with_volume(walk(seed, 700), seed)
    ladder = Ladder.of(bars, Market.CRYPTO)
    for level, minutes in enumerate(WIDTHS):
        wanted, got = in_pandas(bars, minutes), ladder.levels[level]
        assert got["time"].to_list() == wanted.index.as_unit("ns").astype("int64").tolist()
        for name in _AGGREGATES:
            np.testing.assert_allclose(got[name], wanted[name], rtol=1e-12)


def test_the_vwap_is_of_the_market_day_so_far() -> None:
    bars = with_volume(walk(5, 300, gaps=False))
    view = _view([Ladder.of(bars, Market.CRYPTO)], 0, _ANY, 10_000)
    wanted = (bars["vwap"] * bars["volume"]).cum_sum() / bars["volume"].cum_sum()
    np.testing.assert_allclose(view.candles["vwap"], wanted)
    closes = bars["close"].to_pandas()
    upper = closes.rolling(20).mean() + 2 * closes.rolling(20).std(ddof=0)
    np.testing.assert_allclose(view.candles["upper"].fill_null(np.nan), upper, rtol=1e-9)


def test_a_view_takes_the_narrowest_candles_that_fit_and_a_margin() -> None:
    bars = with_volume(walk(6, 5_000, gaps=False))
    ladder = Ladder.of(bars, Market.CRYPTO)
    first = ladder.first
    for minutes_shown, wanted in ((100, 1), (400, 5), (1_400, 15), (4_900, 60)):
        start, end = first + 50 * NS_PER_MINUTE, first + (50 + minutes_shown) * NS_PER_MINUTE
        view = _view([ladder], start, end, 100)
        assert view.minutes == wanted
        inside = view.candles.filter(
            pl.col("time").is_between(start / NS_PER_SECOND, end / NS_PER_SECOND, closed="left")
        )
        assert minutes_shown // wanted - 1 <= inside.height <= 100
        assert view.candles["time"].is_sorted()
        assert view.candles["time"].n_unique() == view.candles.height


def test_more_days_than_candles_are_joined_in_equal_numbers() -> None:
    days = pl.DataFrame(
        {"time": [i * 1440 * NS_PER_MINUTE for i in range(7)], "open": range(7), "high": range(7), "low": range(7)}
    )
    days = days.with_columns(close="open", volume=1.0, notional=1.0, day_notional=1.0, day_volume=1.0)
    joined = grouped(days, 3)
    assert joined["open"].to_list() == [0, 3, 6]
    assert joined["high"].to_list() == [2, 5, 6]
    assert joined["volume"].to_list() == [3, 3, 1]


def test_ladders_side_by_side_equal_one() -> None:
    bars = with_volume(walk(7, 4_000, gaps=False))
    days = bars.with_columns(day=pl.col("time").dt.date()).partition_by("day", maintain_order=True)
    parts = [Ladder.of(part, Market.CRYPTO) for part in days]
    whole = Ladder.of(bars, Market.CRYPTO)
    for start in range(0, 3_900, 777):
        bounds = (whole.first + start * NS_PER_MINUTE, whole.first + (start + 300) * NS_PER_MINUTE, 60)
        one, several = _view([whole], *bounds), _view(parts, *bounds)
        assert one.candles.equals(several.candles)
        assert one.minutes == several.minutes


def test_days_are_read_again_when_rewritten_and_live_bars_follow(lake: Lake, database: Database) -> None:
    histories = Histories(lake, database, live_s=0)
    start, end = DAY.session.regular_start, DAY.session.regular_end
    assert histories.view(Market.STOCKS, "AAPL", start, end, 500).candles.height == 25
    # A later day, then a bar of the present that the lake does not hold.
    lake.write(BARS, LATER, day_of_bars("AAPL", 1))
    histories._days.clear()
    assert histories.view(Market.STOCKS, "AAPL", LATER.session.regular_start, _ANY, 500).candles.height == 415
    now = dt.datetime(2024, 6, 4, 14, tzinfo=dt.UTC)
    database.upsert(LIVE_BARS, Partition(now.date(), Market.STOCKS), live_bars("AAPL", now, [5.0, 6.0]))
    newest = histories.view(Market.STOCKS, "AAPL", LATER.session.regular_start, _ANY, 500)
    assert newest.candles["close"].to_list()[-2:] == [5.0, 6.0]
    assert newest.last == int(now.timestamp() + 60) * NS_PER_SECOND
    lake.write(BARS, LATER, day_of_bars("AAPL", 1).head(300))
    again = histories.view(Market.STOCKS, "AAPL", LATER.session.regular_start, _ANY, 500)
    assert again.candles.height == 415 - 90 + 2
    assert histories.extent(Market.STOCKS, "AAPL", 1)[1] == newest.last + NS_PER_MINUTE


def test_views_share_live_bars_until_the_lake_has_a_newer_day(lake: Lake, database: Database) -> None:
    histories = Histories(lake, database, live_s=math.inf)
    noon = dt.datetime(2024, 6, 4, 14, tzinfo=dt.UTC)

    def count() -> int:
        return histories.view(Market.STOCKS, "AAPL", DAY.session.regular_start, _ANY, 1_000).candles.height

    assert count() == 25
    database.upsert(LIVE_BARS, Partition(noon.date(), Market.STOCKS), live_bars("AAPL", noon, [5.0, 6.0]))
    assert count() == 25
    lake.write(BARS, LATER, day_of_bars("AAPL", 1))
    histories._days.clear()
    assert count() == 25 + 390 + 2


def test_an_unknown_symbol_has_an_empty_view(lake: Lake, database: Database) -> None:
    view = Histories(lake, database).view(Market.STOCKS, "NONE", 0, _ANY, 100)
    assert (view.candles.height, view.first, view.last) == (0, 0, 0)
    assert Histories(lake, database).extent(Market.FOREX, "C:EUR-USD", 1) == (0, 0)


def test_histories_forget_the_least_recently_viewed(lake: Lake, database: Database) -> None:
    histories = Histories(lake, database, most_bars=30)
    for symbol in ("AAPL", "MSFT", "AAPL"):
        assert histories.view(Market.STOCKS, symbol, 0, _ANY, 100).candles.height == 25
    assert list(histories._kept) == [(Market.STOCKS, "AAPL")]
