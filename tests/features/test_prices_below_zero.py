"""Bars and features of futures whose prices cross zero: features that need a logarithm are null, others are unchanged."""

import datetime as dt
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal, assert_series_equal

from tapewatch.bars.time_bars import minute_bars, reconcile
from tapewatch.features.microstructure import microstructure
from tapewatch.features.range_volatility import day_volatility
from tapewatch.market.instruments import Market, Session, session_of
from tapewatch.market.tables.tape import BARS, DELIVERED_BARS, MICROSTRUCTURE
from tapewatch.streaming.live.tape import LiveTape
from tests.support.live import assert_as_batch, chunks, fed, streamed
from tests.support.sides import aggressor_sides
from tests.support.tapes import random_tape, tape_of

FEW = settings(max_examples=8, deadline=None)
SEEDS = st.integers(0, 10_000)
#: Features of volumes, counts, times and the order of prices.
UNMOVED = (
    "volume", "trade_count", "buy_volume", "sell_volume", "buy_count", "sell_count", "order_flow_imbalance", "vpin",
    "volume_ratio", "trade_count_ratio", "sustained_volume_2m", "signed_volume_ratio", "flow_score_3m", "trade_age_s",
    "depth_imbalance", "best_level_ofi", "quote_count", "crossed_share", "quote_age_s", "tape_age_s",
)  # fmt: skip
#: Features that need prices above zero.
RELATIVE = (
    "return_bps", "range_bps", "realised_volatility_bps", "trailing_return_bps", "drawdown_bps", "roll_spread_bps",
    "amihud_illiquidity", "kyle_lambda", "return_score", "volatility_ratio", "quoted_spread_bps", "effective_spread_bps",
    "realised_spread_bps", "spread_ratio",
)  # fmt: skip


def futures_session() -> Session:
    session = session_of(Market.FUTURES, dt.date(2020, 4, 20))
    assert session is not None
    return session


SESSION = futures_session()


def tapes(seed: int, fall: float) -> tuple[tuple[pl.DataFrame, pl.DataFrame], tuple[pl.DataFrame, pl.DataFrame]]:
    """A random tape about 50, and the same with every price lower by `fall`; an empty side stays empty."""
    trades, quotes = random_tape(seed, session=SESSION)
    low = []
    for side in ("bid", "ask"):
        price, size = f"{side}_price", f"{side}_size"
        is_empty = pl.col(price) == 0
        quotes = quotes.with_columns(pl.when(is_empty).then(0.0).otherwise(pl.col(size) + 1).alias(size))
        low.append(pl.when(is_empty).then(0.0).otherwise((pl.col(price) - fall).round(3)).alias(price))
    return (trades, quotes), (trades.with_columns((pl.col("price") - fall).round(3)), quotes.with_columns(low))


@FEW
@given(SEEDS, st.sampled_from([49.98, 50.0, 50.02, 87.63]))
def test_bars_fall_with_the_prices(seed: int, fall: float) -> None:
    (trades, _), (low_trades, _) = tapes(seed, fall)
    bars, low = minute_bars(trades, SESSION), minute_bars(low_trades, SESSION)
    DELIVERED_BARS.check(low, Market.FUTURES)
    moved = bars.with_columns(pl.col("open", "high", "low", "close", "vwap") - fall)
    assert_frame_equal(low, moved, abs_tol=1e-9, rel_tol=0)
    both = reconcile(low, low)
    BARS.check(both, Market.FUTURES)
    assert both["is_price_equal"].all()


@FEW
@given(SEEDS, st.sampled_from([49.98, 50.0, 50.02, 87.63]))
def test_features_of_price_differences_do_not_change(seed: int, fall: float) -> None:
    high, low = tapes(seed, fall)
    assert_series_equal(aggressor_sides(*high, SESSION), aggressor_sides(*low, SESSION))
    rows, low_rows = microstructure(*high, SESSION), microstructure(*low, SESSION)
    MICROSTRUCTURE.check(low_rows, Market.FUTURES)
    assert_frame_equal(low_rows.select(UNMOVED), rows.select(UNMOVED), rel_tol=1e-12)
    moved = rows.select(pl.col("last_price", "mid_price") - fall)
    assert_frame_equal(low_rows.select("last_price", "mid_price"), moved, abs_tol=1e-9, rel_tol=0)


def test_far_below_zero_everything_relative_is_null() -> None:
    _, low = tapes(3, 87.63)
    rows = microstructure(*low, SESSION)
    assert rows["last_price"].max() < 0
    assert {name: rows[name].count() for name in RELATIVE} == dict.fromkeys(RELATIVE, 0)


@pytest.mark.long
@FEW
@given(SEEDS, st.integers(1, 700), st.sampled_from([50.0, 87.63]))
def test_live_rows_equal_batch_rows(seed: int, size: int, fall: float) -> None:
    _, (trades, quotes) = tapes(seed, fall)
    tape = LiveTape(SESSION, part_ticks=20)
    assert_as_batch(fed(tape, chunks(*streamed(trades, quotes), size)), trades, quotes, SESSION)


def rows_of(trades=(), quotes=()) -> dict[int, dict]:
    rows = microstructure(*tape_of(trades, quotes, session=SESSION, symbol="CLK0"), SESSION)
    MICROSTRUCTURE.check(rows, Market.FUTURES)
    return {row["session_minute"]: row for row in rows.head(6).to_dicts()}


def test_returns_across_zero_are_null() -> None:
    prices = [2.0, 1.0, -1.0, -2.0, 1.0, 2.0]
    minutes = rows_of([(60 * i + 30, price, 10) for i, price in enumerate(prices)])
    assert [minutes[i]["last_price"] for i in range(6)] == prices
    half, double = -1e4 * math.log(2), 1e4 * math.log(2)
    assert [minutes[i]["return_bps"] for i in range(6)] == [
        None,
        pytest.approx(half),
        None,
        None,
        None,
        pytest.approx(double),
    ]
    # A sum without the undefined returns would not be the return over the window.
    assert [minutes[i]["trailing_return_bps"] for i in range(6)] == [None, pytest.approx(half), *[None] * 4]
    assert [minutes[i]["range_bps"] for i in range(6)] == [0, 0, None, None, 0, 0]
    assert minutes[5]["drawdown_bps"] == 0
    assert minutes[3]["drawdown_bps"] is None
    assert [minutes[i]["realised_volatility_bps"] for i in range(2, 5)] == [None] * 3
    assert minutes[5]["notional"] == 20
    assert minutes[3]["notional"] == -20


def test_a_price_of_zero_is_a_price() -> None:
    minutes = rows_of([(10, 0.01, 5), (20, 0.0, 7)], [(5, 0.0, 0.01), (30, -0.01, 0.0, 100, 300)])
    row = minutes[0]
    assert row["last_price"] == 0
    assert row["mid_price"] == -0.005
    assert (row["buy_volume"], row["sell_volume"]) == (5, 7)
    assert row["crossed_share"] == 0
    assert row["quoted_spread_bps"] is None
    assert row["depth_imbalance"] == pytest.approx(-0.5 * 30 / 55)


def test_a_minute_whose_midpoint_touches_zero_has_no_relative_spread() -> None:
    trades = [(10, 0.06, 5), (70, -0.01, 5), (130, 0.06, 5)]
    quotes = [(0, 0.04, 0.06), (65, -0.01, 0.01), (75, 0.04, 0.06)]
    minutes = rows_of(trades, quotes)
    spread = pytest.approx(1e4 * 0.02 / 0.05)
    assert [minutes[i]["quoted_spread_bps"] for i in range(3)] == [spread, None, spread]
    assert [minutes[i]["effective_spread_bps"] for i in range(3)] == [spread, None, spread]


def test_an_empty_side_is_none_and_a_side_at_zero_is_one() -> None:
    empty = rows_of([(10, -0.01, 5)], [(5, 0.0, 0.01, 0, 100)])[0]
    assert empty["mid_price"] is None
    stated = rows_of([(10, -0.01, 5)], [(5, 0.0, 0.01, 100, 100)])[0]
    assert stated["mid_price"] == 0.005


def test_minutes_that_touch_zero_give_no_impact() -> None:
    """Amihud's and Kyle's measures leave out a minute with a price of exactly zero, though its return is defined."""
    steps = [0.1, -0.05, 0.2, -0.1, 0.15, 0.05, -0.2, 0.1, 0.3, -0.15, 0.1]
    price, trades = 10.0, [(1.0, 10.0, 100.0)]
    touching = (3, 7)
    for minute, step in enumerate(steps, 1):
        price = round(price + step, 2)
        trades += [(60 * minute + 1, price, 100.0 + minute)]
        if minute in touching:
            trades[-1:-1] = [(60 * minute + 0.5, 0.0, 5000.0)]
    rows = microstructure(*tape_of(trades, session=SESSION, symbol="CLK0"), SESSION).head(12).to_dicts()
    kept = [row for minute, row in enumerate(rows) if minute not in touching and row["return_bps"] is not None]
    impact = [1e6 * abs(row["return_bps"]) / row["notional"] for row in kept]
    assert rows[3]["return_bps"] is not None
    assert rows[-1]["amihud_illiquidity"] == pytest.approx(sum(impact) / len(impact))
    assert rows[-1]["kyle_lambda"] is None, "nine minutes are too few"


def test_bars_without_logarithms_are_left_out_of_the_day_s_volatility() -> None:
    trades, _ = tape_of([(60 * i, price, 1) for i, price in enumerate([1.0, -1.0, 1.0])], session=SESSION)
    assert day_volatility(minute_bars(trades, SESSION))["bars"].to_list() == [2]


def test_other_markets_ignore_prices_below_zero() -> None:
    session = session_of(Market.OPTIONS, dt.date(2020, 4, 20))
    assert session is not None
    trades, quotes = tape_of([(10, -1.0, 5), (20, 0.0, 5)], [(5, -1.0, 1.0)], session=session)
    assert minute_bars(trades, session).height == 0
    row = microstructure(trades, quotes, session).to_dicts()[0]
    assert (row["last_price"], row["mid_price"], row["volume"]) == (None, None, 10)


def test_nothing_is_infinite_where_prices_touch_zero() -> None:
    random = np.random.default_rng(11)
    ticks = np.sort(random.integers(0, 600, 300)).tolist()
    trades = [(at, float(price), 1) for at, price in zip(ticks, random.integers(-2, 3, 300) / 100, strict=True)]
    quotes = [
        (at, (p - 1) / 100, (p + 1) / 100) for at, p in zip(ticks, random.integers(-3, 4, 300).tolist(), strict=True)
    ]
    rows = microstructure(*tape_of(trades, quotes, session=SESSION), SESSION)
    MICROSTRUCTURE.check(rows, Market.FUTURES)
    assert rows["volume"].sum() == len(trades)
