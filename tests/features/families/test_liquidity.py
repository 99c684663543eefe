"""Liquidity worked out by hand, and against plain loops and NumPy."""

import math

import numpy as np
import polars as pl
import pytest

from tapewatch.features.families.rows import microstructure_more
from tapewatch.market.tables.features import MICROSTRUCTURE_MORE
from tests.features.families.conftest import MINUTES, Busy
from tests.support.tapes import stock_session, tape_of

SESSION = stock_session()


def rows_of(trades=(), quotes=()) -> list[dict]:
    rows = microstructure_more(*tape_of(trades, quotes), SESSION)
    MICROSTRUCTURE_MORE.check(rows)
    return rows.filter(pl.col("event_time").dt.timestamp("ns") >= SESSION.regular_start).to_dicts()


def test_price_impact_is_effective_less_realised_spread() -> None:
    trades = [(5, 10.02, 100), (10, 10.00, 50)]
    quotes = [(-30, 10.00, 10.02), (20, 10.02, 10.04), (38, 10.01, 10.05)]
    row = rows_of(trades, quotes)[0]
    # Both midquotes are 10.01 before and 10.03 thirty seconds later.
    bought, sold = 2 * (10.03 - 10.01) / 10.01, -2 * (10.03 - 10.01) / 10.01
    assert row["price_impact_bps"] == pytest.approx(1e4 * (100 * bought + 50 * sold) / 150)


def test_price_impact_and_spreads_of_five_minutes(busy: Busy) -> None:
    more, detector = busy.more, busy.detector
    # In the sums of whole windows all trades but those of the last 30 s are both effective and realised.
    impact, realised = more["price_impact_5m_bps"], more["realised_spread_5m_bps"]
    effective = more["effective_spread_5m_bps"]
    assert impact[:4].is_null().all()
    assert ((impact + realised)[10:MINUTES] / effective[10:MINUTES]).mean() == pytest.approx(1, abs=0.02)
    # Quotes stand all the time, so that five minutes weigh the same.
    quoted = detector["quoted_spread_bps"][:MINUTES]
    np.testing.assert_allclose(more["quoted_spread_5m_bps"][5:MINUTES], quoted.rolling_mean(5)[5:], rtol=1e-9)


def test_quotes_of_a_minute_by_hand() -> None:
    quotes = [(0, 10.00, 10.02, 100, 300), (20, 10.00, 10.02, 200, 300), (30, 10.00, 10.02, 100, 300), (40, 10.00, 10.04, 100, 100)]  # fmt: skip
    trades = [(50, 10.02, 100)]
    row = rows_of(trades, quotes)[0]
    narrow, wide = 1e4 * 0.02 / 10.01, 1e4 * 0.04 / 10.02
    mean = (40 * narrow + 20 * wide) / 60
    deviation = math.sqrt((40 * (narrow - mean) ** 2 + 20 * (wide - mean) ** 2) / 60)
    assert row["spread_volatility_bps"] == pytest.approx(deviation, rel=1e-9)
    depth = (20 * 400 + 10 * 500 + 10 * 400 + 20 * 200) / 60
    assert row["depth"] == pytest.approx(depth)
    assert row["size_quote_share"] == 0.5
    assert row["size_flicker"] == pytest.approx(200 / depth)
    assert row["micro_price"] == pytest.approx(10.02)
    assert row["micro_price_bps"] == pytest.approx(0, abs=1e-9)


def test_the_micro_price_leans_to_the_thin_side() -> None:
    row = rows_of(quotes=[(0, 10.00, 10.02, 300, 100)])[0]
    assert row["micro_price"] == pytest.approx((10.00 * 100 + 10.02 * 300) / 400)
    assert row["micro_price_bps"] == pytest.approx(1e4 * 0.005 / 10.01)
    assert row["spread_volatility_bps"] == 0


def test_without_valid_quotes_or_sizes() -> None:
    crossed = rows_of([(1, 10, 100)], [(0, 10.02, 10.00)])[0]
    for name in ("depth", "micro_price", "spread_volatility_bps", "size_flicker", "liquidity_score"):
        assert crossed[name] is None
    unsized = rows_of([(1, 10, 100)], [(0, 10.00, 10.02, 0, 0)])[0]
    assert (unsized["depth"], unsized["micro_price"]) == (None, None)
    assert unsized["spread_volatility_bps"] == 0


def test_quotes_a_trade() -> None:
    quotes = [(second, 10, 10.02) for second in range(0, 300, 10)]
    rows = rows_of([(1, 10, 100), (299, 10, 100)], quotes)
    assert [row["quote_to_trade_5m"] for row in rows[3:6]] == [None, 15, 24]
    assert rows[10]["quote_to_trade_5m"] is None


def test_corwin_and_schultz(busy: Busy) -> None:
    high, low = (busy.bars[name].to_numpy() for name in ("high", "low"))
    estimates = [math.nan]
    for (h1, l1), (h2, l2) in zip(zip(high, low, strict=True), zip(high[1:], low[1:], strict=True), strict=False):
        beta = math.log(h1 / l1) ** 2 + math.log(h2 / l2) ** 2
        gamma = math.log(max(h1, h2) / min(l1, l2)) ** 2
        scale = 3 - 2 * math.sqrt(2)
        alpha = (math.sqrt(2 * beta) - math.sqrt(beta)) / scale - math.sqrt(gamma / scale)
        estimates.append(max(0.0, 2 * (math.exp(alpha) - 1) / (1 + math.exp(alpha))))
    assert sum(estimate > 0 for estimate in estimates) > 30
    check_means(busy.column("corwin_schultz_bps"), estimates, lambda mean: 1e4 * mean)


def test_abdi_and_ranaldo(busy: Busy) -> None:
    close, high, low = (np.log(busy.bars[name].to_numpy()) for name in ("close", "high", "low"))
    middle = (high + low) / 2
    products = [math.nan, *((close[:-1] - middle[:-1]) * (close[:-1] - middle[1:]))]
    check_means(busy.column("abdi_ranaldo_bps"), products, lambda mean: 2e4 * math.sqrt(max(mean, 0)))


def check_means(found: np.ndarray, estimates: list[float], measure) -> None:
    """Means of 30 estimates, the first of which is unknown; 10 are enough."""
    assert np.isnan(found[:10]).all()
    for row in range(10, MINUTES):
        assert found[row] == pytest.approx(measure(np.mean(estimates[max(1, row - 29) : row + 1])), rel=1e-9)


def test_abdi_and_ranaldo_find_a_constant_spread() -> None:
    """Closes at bid or ask by chance, a midquote that walks a little: the estimate is near the spread."""
    generator = np.random.default_rng(2)
    trades, middle = [], 100.0
    for second in range(0, 390 * 60, 2):
        middle += generator.normal(0, 0.0005)
        trades.append((second, round(middle + generator.choice([-0.05, 0.05]), 6), 100))
    rows = rows_of(trades)
    found = np.array([row["abdi_ranaldo_bps"] for row in rows[30:390]])
    assert found.mean() == pytest.approx(10, rel=0.1)
    found = np.array([row["corwin_schultz_bps"] for row in rows[30:390]])
    assert found.mean() == pytest.approx(10, rel=0.1)


def test_hasbrouck(busy: Busy) -> None:
    returns = np.diff(np.log(busy.column("last_price")), prepend=np.nan) * 1e4
    flow = np.zeros(MINUTES)
    before, quote = None, 0
    for at, price, size in busy.trades:
        while quote < len(busy.quotes) and busy.quotes[quote][0] < at:
            before, quote = busy.quotes[quote], quote + 1
        flow[int(at // 60)] += math.copysign(math.sqrt(price * size), price - (before[1] + before[2]) / 2) / 1e3
    for row in (10, 40, MINUTES - 1):
        window = slice(max(1, row - 29), row + 1)
        slope = np.linalg.lstsq(flow[window][:, np.newaxis], returns[window])[0][0]
        assert busy.column("hasbrouck_lambda")[row] == pytest.approx(slope, rel=1e-9)
    assert np.isnan(busy.column("hasbrouck_lambda")[:10]).all()


def test_the_score_of_liquidity(busy: Busy) -> None:
    spread, depth = busy.column("quoted_spread_bps"), busy.column("depth")
    trades = busy.column("trade_count")
    found = busy.column("liquidity_score")
    assert np.isnan(found[:5]).all()
    for row in range(10, MINUTES):
        usual, last = slice(max(0, row - 30), row), slice(row - 4, row + 1)
        logs = [
            math.log(spread[usual].mean() / spread[last].mean()),
            math.log(depth[last].mean() / depth[usual].mean()),
            math.log((1 + trades[last].mean()) / (1 + trades[usual].mean())),
        ]
        # The quote of the first minute begins 50 ms late.
        assert found[row] == pytest.approx(np.mean(logs), abs=1e-9 if row > 40 else 1e-3)


def test_wider_spreads_less_depth_and_fewer_trades_lower_the_score() -> None:
    quotes = [(0, 10.00, 10.02, 500, 500), (40 * 60, 9.95, 10.07, 100, 100)]
    trades = [(second, 10, 100) for second in range(0, 40 * 60, 10)]
    rows = rows_of(trades, quotes)
    assert rows[38]["liquidity_score"] == pytest.approx(0, abs=1e-9)
    assert rows[45]["liquidity_score"] < -1
