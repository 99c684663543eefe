"""Order flow worked out by hand, and against plain loops, NumPy and SciPy."""

import math

import numpy as np
import polars as pl
import pytest
from scipy.stats import norm

from tapewatch.features.families.rows import microstructure_more
from tapewatch.market.tables.features import IMBALANCE_MINUTES, MICROSTRUCTURE_MORE
from tests.features.families.conftest import MINUTES, Busy
from tests.support.tapes import stock_session, tape_of

SESSION = stock_session()
QUOTE = (-30, 10.00, 10.02)
BUY, SELL = 10.02, 10.00


def first_minute(trades, quotes=(QUOTE,)) -> dict:
    rows = microstructure_more(*tape_of(trades, quotes), SESSION)
    MICROSTRUCTURE_MORE.check(rows)
    return rows.filter(pl.col("event_time").dt.timestamp("ns") == SESSION.regular_start).row(0, named=True)


def test_a_minute_by_hand() -> None:
    sizes = [100, 40, 300, 200, 10]
    prices = [BUY, SELL, BUY, BUY, SELL]
    row = first_minute([(at, price, size) for at, (price, size) in enumerate(zip(prices, sizes, strict=True))])
    assert (row["signed_volume"], row["signed_count"], row["aggressor_ratio"]) == (550, 1, 0.6)
    assert row["imbalance_1m"] == pytest.approx(550 / 650)
    assert row["imbalance_3m"] is None
    assert (row["trade_size_median"], row["trade_size_p90"]) == (100, pytest.approx(260))
    assert row["largest_trade_share"] == pytest.approx(300 / 650)


def test_trades_that_enter_no_volume_have_no_size() -> None:
    # 15 is an official close, which is no trade.
    row = first_minute([(1, BUY, 100), (2, BUY, 900, "15")])
    assert (row["trade_size_median"], row["largest_trade_share"]) == (100, 1)


def test_without_trades_or_quotes() -> None:
    row = first_minute([], [QUOTE])
    assert (row["signed_volume"], row["signed_count"]) == (0, 0)
    assert all(row[name] is None for name in ("aggressor_ratio", "imbalance_1m", "trade_size_median", "bulk_imbalance"))
    row = first_minute([(1, 10, 100), (2, 11, 100)], [])
    assert row["aggressor_ratio"] == 1
    assert row["ofi_depth_1m"] is None


@pytest.mark.parametrize("width", IMBALANCE_MINUTES)
def test_imbalance_of_windows(busy: Busy, width: int) -> None:
    buy, sell = busy.column("buy_volume"), busy.column("sell_volume")
    found = busy.column(f"imbalance_{width}m")
    assert np.isnan(found[: width - 1]).all()
    for row in range(width - 1, MINUTES):
        bought, sold = buy[row - width + 1 : row + 1].sum(), sell[row - width + 1 : row + 1].sum()
        assert found[row] == pytest.approx((bought - sold) / (bought + sold), rel=1e-9)


def test_the_sides_follow_one_another_as_numpy_says(busy: Busy) -> None:
    signs = []
    before = None
    # The quote in force is strictly earlier; all trades are at its bid or ask.
    quote = 0
    for at, price, _ in busy.trades:
        while quote < len(busy.quotes) and busy.quotes[quote][0] < at:
            before = busy.quotes[quote]
            quote += 1
        signs.append(1 if price > (before[1] + before[2]) / 2 else -1)
    minutes = np.array([at // 60 for at, _, _ in busy.trades])
    pairs = np.column_stack([signs[:-1], signs[1:]])
    for row in (9, 45, 100, MINUTES - 1):
        inside = pairs[(minutes[1:] <= row) & (minutes[1:] > row - 30)]
        expected = np.corrcoef(inside.T)[0, 1]
        assert busy.column("sign_autocorrelation")[row] == pytest.approx(expected, rel=1e-9)


def test_sides_that_never_change_have_no_correlation() -> None:
    rows = microstructure_more(*tape_of([(at, BUY, 100) for at in range(50)], [QUOTE]), SESSION)
    assert rows["sign_autocorrelation"].is_null().all()


@pytest.mark.parametrize("width", [1, 5, 15])
def test_order_flow_imbalance_over_depth(busy: Busy, width: int) -> None:
    pressure, depth = np.zeros((2, MINUTES))
    for (_, bid, ask, bid_size, ask_size), (at, new_bid, new_ask, new_bid_size, new_ask_size) in zip(
        busy.quotes, busy.quotes[1:], strict=False
    ):
        value = (new_bid_size if new_bid >= bid else 0) - (bid_size if new_bid <= bid else 0)
        value += (ask_size if new_ask >= ask else 0) - (new_ask_size if new_ask <= ask else 0)
        pressure[int(at // 60)] += value
    times = [quote[0] for quote in busy.quotes] + [MINUTES * 60]
    for (_, _, _, bid_size, ask_size), start, end in zip(busy.quotes, times, times[1:], strict=False):
        for minute in range(int(start // 60), min(int(end // 60) + 1, MINUTES)):
            held = min(end, minute * 60 + 60) - max(start, minute * 60)
            depth[minute] += (bid_size + ask_size) / 2 * held
    found = busy.column(f"ofi_depth_{width}m")
    assert np.isnan(found[: width - 1]).all()
    for row in range(max(width - 1, 1), MINUTES):
        window = slice(row - width + 1, row + 1)
        # The first quote of the day comes with the first minute.
        elapsed = 60 * width - (busy.quotes[0][0] if row == width - 1 else 0)
        assert found[row] == pytest.approx(pressure[window].sum() / (depth[window].sum() / elapsed), rel=1e-9)


def test_bulk_classification(busy: Busy) -> None:
    price, volume = busy.column("last_price"), busy.column("volume")
    change = np.diff(price, prepend=np.nan)
    found, of_window = busy.column("bulk_imbalance"), busy.column("bulk_imbalance_15m")
    expected = np.full(MINUTES, np.nan)
    for row in range(10, MINUTES):
        window = change[max(1, row - 29) : row + 1]
        expected[row] = 2 * norm.cdf(change[row] / np.std(window, ddof=1)) - 1
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    for row in range(60, MINUTES):
        weights = volume[row - 14 : row + 1]
        assert of_window[row] == pytest.approx(np.average(expected[row - 14 : row + 1], weights=weights), rel=1e-9)


def test_bulk_classification_needs_a_move() -> None:
    rows = microstructure_more(*tape_of([(60 * at, 10, 100) for at in range(60)]), SESSION)
    assert rows["bulk_imbalance"].is_null().all()
    assert not math.isnan(rows["signed_volume"][0])
