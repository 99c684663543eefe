"""Features from bars alone: those of the ticks where bars can tell, null where they cannot."""

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tapewatch.bars.time_bars import minute_bars
from tapewatch.features.from_bars import bar_features
from tapewatch.features.microstructure import microstructure
from tapewatch.market.instruments import NS_PER_MINUTE, Market
from tapewatch.market.tables.tape import DELIVERED_BARS, MICROSTRUCTURE, TIME
from tests.support.synthetic_days import SyntheticDay, days, synthetic_day

#: What a minute's bar holds whole.
TOLD = (
    "symbol", "event_time", "known_time", "is_regular", "session_minute", "last_price", "volume", "notional", "trade_count",
    "return_bps", "range_bps", "trailing_return_bps", "drawdown_bps", "amihud_illiquidity", "volume_ratio",
    "trade_count_ratio", "sustained_volume_2m", "sustained_volume_3m", "return_score",
)  # fmt: skip
UNKNOWN = (
    "mid_price", "order_flow_imbalance", "realised_volatility_bps", "roll_spread_bps", "kyle_lambda", "vpin",
    "flow_score_3m", "flow_score_5m", "volatility_ratio", "quoted_spread_bps", "effective_spread_bps", "realised_spread_bps",
    "spread_ratio", "depth_imbalance", "best_level_ofi", "quote_count", "quote_rate_hz", "quote_count_ratio",
    "crossed_share", "quote_age_s",
)  # fmt: skip


@pytest.fixture(scope="module")
def day() -> SyntheticDay:
    """Crypto trades: each enters volume, extremes and last price."""
    return synthetic_day(Market.CRYPTO, days(Market.CRYPTO)[0])


@pytest.fixture(scope="module")
def bars(day: SyntheticDay) -> pl.DataFrame:
    return minute_bars(day.trades, day.session)


def test_what_bars_tell_is_what_the_trades_tell(day: SyntheticDay, bars: pl.DataFrame) -> None:
    found = bar_features(bars, day.session)
    MICROSTRUCTURE.check(found)
    assert_frame_equal(found.select(TOLD), microstructure(day.trades, None, day.session).select(TOLD), rel_tol=1e-9)
    assert found.select(pl.col(UNKNOWN).null_count()).row(0) == (found.height,) * len(UNKNOWN)


def test_a_minute_without_a_bar_is_silent(day: SyntheticDay) -> None:
    minutes = [minute for minute in range(200) if not 100 <= minute <= 104]
    starts = pl.Series("time", [day.session.day_start + minute * NS_PER_MINUTE for minute in minutes]).cast(TIME)
    flat = dict.fromkeys(("open", "high", "low", "close"), pl.lit(100.0)) | {"volume": pl.lit(3.0)}
    bars = DELIVERED_BARS.conform(pl.DataFrame({"time": starts}).with_columns(symbol=pl.lit("X:BTC-USD"), **flat))
    found = bar_features(bars, day.session)
    assert found.height == 1440
    silent = found.filter(pl.col("session_minute").is_between(99, 105))
    assert silent["tape_age_s"].to_list() == [0, 60, 120, 180, 240, 300, 0]
    assert silent["return_bps"].to_list() == [0.0] * 7
    assert silent["volume"].to_list() == [3, 0, 0, 0, 0, 0, 3]


def test_no_row_depends_on_what_follows(day: SyntheticDay, bars: pl.DataFrame) -> None:
    whole = bar_features(bars, day.session)
    cut = day.session.day_start + 700 * NS_PER_MINUTE
    symbols = bars["symbol"].cast(pl.String).unique().to_list()
    seen = bars.filter(pl.col("time").dt.epoch("ns") < cut)
    alone = bar_features(seen, day.session, through_ns=cut, symbols=symbols)
    assert alone.equals(whole.filter(pl.col("known_time").dt.epoch("ns") <= cut))
    assert alone.height == 700 * len(symbols)


def test_an_index_has_prices_alone(day: SyntheticDay, bars: pl.DataFrame) -> None:
    values = bars.with_columns(volume=pl.lit(0.0), vwap=None, transactions=None)
    found = bar_features(DELIVERED_BARS.conform(values), day.session)
    assert found["volume_ratio"].null_count() == found.height
    assert found["return_bps"].null_count() < 100
    assert bar_features(DELIVERED_BARS.empty(), day.session).is_empty()
