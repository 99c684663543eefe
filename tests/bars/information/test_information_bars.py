"""Bars of other clocks: worked by hand, against a plain loop, and the same however the tape is cut."""

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tapewatch.bars.information.build import InformationBars
from tapewatch.bars.information.clocks import Clock, Thresholds
from tapewatch.market.instruments import Market
from tapewatch.market.tables.derived import INFORMATION_BARS
from tests.support.recorded import TICK_DAYS, recorded_trades
from tests.support.synthetic_days import days, synthetic_day
from tests.support.tapes import stock_session, tape_of

#: (seconds, price, size): sides by the tick rule are 0, +1, +1, -1, -1, +1.
TRADES = [(1, 10.0, 100), (2, 10.1, 200), (3, 10.1, 50), (4, 10.0, 300), (5, 10.0, 10), (6, 10.2, 500)]


def built(clock: Clock, fixed: float, rows: list[tuple[float, float, float]] = TRADES) -> pl.DataFrame:
    """The bars of a fixed threshold."""
    trades, _ = tape_of(rows)
    return InformationBars(clock, Thresholds(fixed={"AAA": fixed})).add(trades, stock_session())


@pytest.mark.parametrize(
    ("clock", "threshold", "closed_after"),
    [
        (Clock.TICK, 2, [2, 4, 6]),
        (Clock.VOLUME, 300, [2, 4, 6]),
        (Clock.DOLLAR, 3000, [2, 4, 6]),
        (Clock.TICK_IMBALANCE, 2, [3, 5]),  # 0 1 2 | -1 -2 | 1
        (Clock.VOLUME_IMBALANCE, 250, [3, 4, 6]),  # 0 200 250 | -300 | -10 490
        (Clock.DOLLAR_IMBALANCE, 2525, [3, 4, 6]),
        (Clock.TICK_RUN, 2, [3, 5]),  # buys 0 1 2 | sells 1 2 | buys 1
        (Clock.VOLUME_RUN, 290, [4, 6]),  # buys 0 200 250, sells 300 | sells 10, buys 500
        (Clock.DOLLAR_RUN, 2950, [4, 6]),
    ],
)
def test_worked_by_hand(clock: Clock, threshold: float, closed_after: list[int]) -> None:
    bars = built(clock, threshold)
    assert bars["transactions"].cum_sum().to_list() == closed_after
    assert bars["number"].to_list() == list(range(1, len(closed_after) + 1))
    assert set(bars["threshold"]) == {float(threshold)}


def test_the_columns_of_a_bar() -> None:
    row = built(Clock.VOLUME, 600).row(0, named=True)
    assert (row["open"], row["high"], row["low"], row["close"]) == (10.0, 10.1, 10.0, 10.0)
    assert row["volume"] == 650
    assert row["vwap"] == pytest.approx((100 * 10 + 250 * 10.1 + 300 * 10) / 650)
    assert (row["buy_volume"], row["sell_volume"]) == (250, 300)
    assert (row["end_time"] - row["start_time"]).total_seconds() == 3
    assert row["known_time"] == row["end_time"]


def test_conditions_keep_prices_and_volume_out() -> None:
    # Code 37 (odd lot) enters the volume alone; 15 (official close) enters nothing.
    trades, _ = tape_of([(1, 10.0, 1, ""), (2, 99.0, 1, "37"), (3, 77.0, 9, "15"), (4, 10.1, 1, "")])
    bars = InformationBars(Clock.TICK, Thresholds(fixed={"AAA": 3})).add(trades, stock_session())
    assert bars.select("high", "volume", "transactions").rows() == [(10.1, 3.0, 3)]


def reference(clock: Clock, trades: pl.DataFrame, of: Thresholds) -> list[int]:
    """The number of trades in each bar of one symbol, by a plain loop over regular trades."""
    sizes: list[int] = []
    signs, amounts = [], []
    last, direction = None, 0
    means: dict[str, float] = {}
    for price, size in trades.select("price", "size").iter_rows():
        if last is not None and price != last:
            direction = 1 if price > last else -1
        last = price
        signs.append(direction)
        amounts.append((1.0, size, size * price)[clock.unit])
        sign, amount = np.array(signs), np.array(amounts)
        found = {
            "trades": float(len(signs)),
            "unit": amount.mean(),
            "signed": (sign * amount).mean(),
            "buys": amount[sign > 0].sum() / len(signs),
            "sells": amount[sign < 0].sum() / len(signs),
        }
        if not means:
            is_closed = len(signs) >= of.trades
        else:
            expected = np.clip(means["trades"], of.trades / of.reach, of.trades * of.reach)
            least = of.least_imbalance * means["unit"]
            measure, threshold = [
                (amount.sum(), of.trades * means["unit"]),
                (abs((sign * amount).sum()), expected * max(abs(means["signed"]), least)),
                (
                    max(amount[sign > 0].sum(), amount[sign < 0].sum()),
                    expected * max(means["buys"], means["sells"], least),
                ),
            ][clock.form]
            is_long = clock.form > 0 and len(signs) >= of.reach * of.trades
            is_closed = is_long or measure >= threshold * (1 - 1e-12)
        if is_closed:
            weight = 2 / (of.memory + 1)
            means = {k: v if not means else means[k] + weight * (v - means[k]) for k, v in found.items()}
            sizes.append(len(signs))
            signs, amounts = [], []
    return sizes


@pytest.mark.parametrize("clock", list(Clock))
def test_adaptive_thresholds_against_a_plain_loop(clock: Clock) -> None:
    rng = np.random.default_rng(4)
    prices = np.round(50 + np.cumsum(rng.choice([-0.01, 0, 0, 0.01], 3000)), 2)
    rows = [
        (1 + at, float(price), float(size))
        for at, (price, size) in enumerate(zip(prices, rng.integers(1, 900, 3000), strict=True))
    ]
    trades, _ = tape_of(rows)
    thresholds = Thresholds(trades=40, memory=5)
    bars = InformationBars(clock, thresholds).add(trades, stock_session())
    assert bars["transactions"].to_list() == reference(clock, trades, thresholds)
    assert bars.height > 10


@pytest.mark.parametrize("market", [Market.STOCKS, Market.CRYPTO])
def test_day_by_day_and_batch_by_batch_equals_at_once(market: Market) -> None:
    tapes = [(synthetic_day(market, day).trades, synthetic_day(market, day).session) for day in days(market)[:2]]
    for clock in (Clock.DOLLAR, Clock.VOLUME_IMBALANCE, Clock.TICK_RUN):
        whole, cut = InformationBars(clock), InformationBars(clock)
        at_once = pl.concat([whole.add(trades, session) for trades, session in tapes])
        pieces = []
        for trades, session in tapes:
            start = session.regular_start
            batch = ((trades["time"].dt.epoch("ns") - start) // (97 * 60 * 10**9)).alias("batch")
            for _, part in (
                trades.with_columns(batch).sort("batch", maintain_order=True).group_by("batch", maintain_order=True)
            ):
                pieces.append(cut.add(part.drop("batch"), session))
                # A restart in between.
                saved = cut.save()
                cut = InformationBars(clock)
                cut.load(saved)
        order = [pl.col("symbol").cast(pl.String), "number"]
        assert_frame_equal(pl.concat(pieces).sort(order), at_once.sort(order), check_exact=True)
        assert not list(INFORMATION_BARS.problems(at_once, market))
        assert at_once["symbol"].n_unique() >= 5


@pytest.mark.real_tape
def test_nothing_is_lost_on_a_recorded_day(market_data: Path) -> None:
    date = TICK_DAYS[0]
    trades = recorded_trades(market_data, date).sort(pl.col("symbol").cast(pl.String), "time", "sequence_number")
    clock = InformationBars(Clock.DOLLAR)
    bars = clock.add(trades, stock_session(date))
    opened = clock.save()
    codes = pl.col("conditions").cast(pl.String).str.split(",").list
    eligible = trades.filter(~codes.contains("15") & ~codes.contains("16"))
    assert bars["transactions"].sum() + opened["transactions"].sum() == eligible.height
    assert bars["volume"].sum() + opened["volume"].sum() == pytest.approx(eligible["size"].sum())
    # Bars of about equal dollars: nothing like the minutes' spread of volume.
    later = bars.filter(pl.col("number") > 1)
    dollars = later["vwap"] * later["volume"]
    assert later.group_by("symbol").agg(pl.len())["len"].min() > 20
    assert (dollars >= later["threshold"] * (1 - 1e-9)).all()


def test_bad_tape_closes_no_bar_of_nothing() -> None:
    assert built(Clock.VOLUME, 100, []).is_empty()
    assert built(Clock.VOLUME, 100, [(1, 10.0, 0.0), (2, 10.0, 0.0)]).is_empty()
    first = InformationBars(Clock.DOLLAR, Thresholds(trades=2))
    zero, _ = tape_of([(1, 10.0, 0.0), (2, 10.0, 0.0)])
    assert first.add(zero, stock_session(dt.date(2024, 3, 5)))["vwap"].to_list() == [None]


def test_impossible_thresholds_are_refused() -> None:
    with pytest.raises(ValueError, match="fixed threshold of AAA is 0"):
        Thresholds(fixed={"AAA": 0})
    with pytest.raises(ValueError, match="trades >= 1"):
        Thresholds(trades=0)
