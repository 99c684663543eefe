"""Each distortion of a stretch against its formula, with the same random draws."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from tapewatch.labels.injection.distortions import (
    BLOWOUT_MULTIPLE,
    FLOW_VOLUME,
    JUMP_VOLATILITIES,
    SPIKE_VOLUME,
    Stretch,
    Usual,
    one_sided_flow,
    price_jump,
    spread_blowout,
    volume_spike,
)
from tapewatch.market.instruments import NS_PER_SECOND, Market
from tests.support.tapes import stock_session, tape_of

OPEN = stock_session().regular_start
START, END = 1000, 1100
USUAL = Usual(
    market=Market.STOCKS,
    tick=0.01,
    minute_volatility=0.01,
    spread=0.04,
    trades_per_minute=30.0,
    volume_per_minute=6000.0,
    sizes=np.array([100.0, 200.0, 300.0]),
)


def stretch_of(trades: list[tuple], quotes: list[tuple] | None, standing: tuple = (990, 49.98, 50.02)) -> Stretch:
    """A stretch of 100 seconds; the price and the quote before it are about 50."""
    tape, _ = tape_of(trades)
    _, quoted = tape_of(quotes=quotes or ())
    has_quotes = quotes is not None
    return Stretch(
        tape,
        quoted if has_quotes else None,
        OPEN + START * NS_PER_SECOND,
        OPEN + END * NS_PER_SECOND,
        tape_of(quotes=[standing])[1] if has_quotes else None,
        50.0,
    )


SECONDS = [1000, 1005, 1010, 1030, 1050, 1075, 1099]
PLAIN = stretch_of([(at, 50.0, 100) for at in SECONDS], [(at, 49.98, 50.02) for at in SECONDS[1:]])


def drawn(seed: int) -> tuple[np.random.Generator, np.random.Generator]:
    """The same draws twice: for the distortion and for the expectation."""
    return np.random.default_rng(seed), np.random.default_rng(seed)


def in_ticks(amount: np.ndarray) -> np.ndarray:
    return np.round(np.round(amount / 0.01) * 0.01, 10)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(
    ("volatility", "tick", "floor"),
    [(0.01, 0.01, 0.0), (1e-7, 0.01, 20 / 1e4), (1e-7, 0.5, 3 * 0.5 / 50.0)],
    ids=["volatility", "basis points", "ticks"],
)
def test_a_jump_rises_stays_and_comes_back(seed, volatility, tick, floor) -> None:
    rng, same = drawn(seed)
    found = price_jump(PLAIN, replace(USUAL, minute_volatility=volatility, tick=tick), rng)
    sign = same.choice([-1.0, 1.0])
    height = sign * max(same.uniform(*JUMP_VOLATILITIES) * volatility, floor)
    share = np.array([0.0, 0.5, 1.0, 1.0, 1.0, 0.5, 0.02])
    shift = np.round(np.round(50 * np.expm1(height * share) / tick) * tick, 10)
    np.testing.assert_allclose(found.trades["price"], 50 + shift, rtol=0, atol=1e-9)
    # The standing quote is repeated at the start, the last one at the last nanosecond.
    assert found.quotes["time"].to_physical().to_list() == [
        PLAIN.start_ns, *PLAIN.quotes["time"].to_physical().to_list(), PLAIN.end_ns - 1,
    ]  # fmt: skip
    np.testing.assert_allclose(found.quotes["bid_price"], 49.98 + np.append(shift, 0), rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.quotes["ask_price"], 50.02 + np.append(shift, 0), rtol=0, atol=1e-9)
    assert abs(shift).max() >= 0.1


def test_a_jump_needs_three_trades() -> None:
    for count, is_enough in ((2, False), (3, True)):
        stretch = stretch_of([(1000 + 20 * i, 50.0, 1) for i in range(count)], None)
        assert (price_jump(stretch, USUAL, np.random.default_rng(0)) is not None) == is_enough


@pytest.mark.parametrize(("spread", "usual"), [(0.04, 0.04), (0.001, 0.01)])
def test_a_spread_widens_and_trades_move_out_on_their_side(spread, usual) -> None:
    """Trades above the middle of the quote go up, those below go down, those at it stay."""
    prices = [50.01, 49.99, 50.0, 50.02, 49.98, 50.01, 49.99]
    stretch = replace(PLAIN, trades=tape_of([(at, p, 1) for at, p in zip(SECONDS, prices, strict=True)])[0])
    rng, same = drawn(4)
    found = spread_blowout(stretch, replace(USUAL, spread=spread), rng)
    half = (same.uniform(*BLOWOUT_MULTIPLE) - 1) / 2 * usual
    wide = in_ticks(half * np.array([1, 1, 1, 1, 1, 1, 0.05]))
    assert wide[0] > 0
    np.testing.assert_allclose(found.trades["price"], prices + np.array([1, -1, 0, 1, -1, 1, -1]) * wide, atol=1e-9)
    np.testing.assert_allclose(found.quotes["bid_price"], 49.98 - np.append(wide, 0), rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.quotes["ask_price"], 50.02 + np.append(wide, 0), rtol=0, atol=1e-9)


def test_a_spread_stays_wide_for_four_fifths_of_the_stretch() -> None:
    at = [1079, 1085, 1095]
    stretch = replace(PLAIN, quotes=tape_of(quotes=[(second, 49.98, 50.02) for second in at])[1])
    rng, same = drawn(1)
    found = spread_blowout(stretch, USUAL, rng)
    half = (same.uniform(*BLOWOUT_MULTIPLE) - 1) / 2 * 0.04
    expected = 50.02 + in_ticks(half * np.array([1, 0.75, 0.25]))
    np.testing.assert_allclose(found.quotes["ask_price"][1:-1], expected, rtol=0, atol=1e-9)


def test_an_empty_side_stays_empty_and_no_price_falls_to_zero() -> None:
    stretch = stretch_of([(1050, 0.02, 1)], [(1010, 0.0, 0.05), (1020, 0.02, 0.0), (1030, 0.01, 0.03)])
    found = spread_blowout(stretch, replace(USUAL, spread=0.5), np.random.default_rng(0))
    assert found.quotes["bid_price"].to_list()[1:4] == [0.0, 0.02, 0.01]
    assert found.quotes["ask_price"][2] == 0.0


def test_without_quotes_nothing_can_widen() -> None:
    assert spread_blowout(stretch_of([(1000, 50, 1)], None), USUAL, np.random.default_rng(0)) is None


def test_the_touch_is_the_last_two_sided_quote() -> None:
    stretch = stretch_of([(1000, 50, 1)], [(1010, 49, 51), (1020, 0, 52), (1030, 47, 0), (1040, 46, 54)])
    times = OPEN + np.array([1000, 1009.999, 1010, 1025, 1035, 1040, 1099]) * NS_PER_SECOND
    bid, ask = stretch.touch(times.astype(np.int64))
    assert bid.tolist() == [49.98, 49.98, 49, 49, 49, 46, 46]
    assert ask.tolist() == [50.02, 50.02, 51, 51, 51, 54, 54]
    alone = stretch_of([(1010, 60, 1), (1020, 70, 1)], None)
    for side in alone.touch((OPEN + np.array([1000, 1010, 1019, 1020]) * NS_PER_SECOND).astype(np.int64)):
        assert side.tolist() == [50, 60, 60, 70]


@pytest.mark.parametrize("sizes", [[100.0, 200.0, 300.0], [0.5, 0.25, 1.0]])
def test_a_volume_spike_adds_trades_on_both_sides_at_the_touch(sizes) -> None:
    rng, same = drawn(7)
    usual = replace(USUAL, sizes=np.array(sizes), volume_per_minute=60 * np.mean(sizes))
    found = volume_spike(PLAIN, usual, rng)
    assert found.quotes is PLAIN.quotes
    assert found.trades.head(7).equals(PLAIN.trades)
    added = found.trades[7:]
    multiple = same.uniform(*SPIKE_VOLUME) - 1
    minutes = 100 / 60
    assert added.height == round(30 * minutes * multiple / 2)
    is_whole = min(sizes) >= 1
    assert added["size"].sum() == pytest.approx(multiple * usual.volume_per_minute * minutes, rel=0.01)
    assert (added["size"].round(0) == added["size"]).all() == is_whole
    assert added["size"].min() > 0
    assert set(added["price"]) == {49.98, 50.02}
    assert added["time"].is_sorted()
    assert added["time"].to_physical().is_between(PLAIN.start_ns, PLAIN.end_ns, closed="left").all()
    assert added["sequence_number"].null_count() == added.height
    assert set(added["conditions"].cast(pl.String)) == {""}


def test_a_spike_of_a_thin_symbol_has_three_trades_of_at_least_one_share() -> None:
    usual = replace(USUAL, trades_per_minute=0.01, volume_per_minute=0.5, sizes=np.array([1.0, 2.0]))
    added = volume_spike(PLAIN, usual, np.random.default_rng(0)).trades[7:]
    assert added.height == 3
    assert added["size"].min() >= 1


def test_without_a_trade_to_copy_there_is_no_volume() -> None:
    for distortion in (volume_spike, one_sided_flow):
        assert distortion(stretch_of([], [(1010, 49, 51)]), USUAL, np.random.default_rng(0)) is None
        assert distortion(PLAIN, replace(USUAL, sizes=np.array([])), np.random.default_rng(0)) is None


def test_added_trades_of_crypto_state_the_side_that_they_take() -> None:
    found = volume_spike(PLAIN, replace(USUAL, market=Market.CRYPTO), np.random.default_rng(3))
    added = found.trades[7:].select("price", pl.col("conditions").cast(pl.String)).unique()
    # The vendor's codes: 2 where a buyer was the aggressor, 1 where a seller was.
    assert sorted(added.rows()) == [(49.98, "1"), (50.02, "2")]


def test_added_trades_are_not_withdrawn_and_keep_what_the_source_states() -> None:
    odd = PLAIN.trades.with_columns(
        correction=pl.lit(1, pl.Int8), participant_time=pl.col("time"), trf_id=pl.lit(3, pl.Int16)
    )
    for trades, correction in ((odd, 0), (PLAIN.trades, None)):
        added = volume_spike(replace(PLAIN, trades=trades), USUAL, np.random.default_rng(0)).trades[7:]
        assert set(added["correction"]) == {correction}
        assert added["participant_time"].equals(added["time"]) == (correction == 0)
        assert added["trf_id"].null_count() == added.height


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("market", [Market.STOCKS, Market.CRYPTO])
def test_one_sided_flow_with_quotes_lies_on_one_side_of_the_touch(seed, market) -> None:
    found = one_sided_flow(PLAIN, replace(USUAL, market=market), np.random.default_rng(seed))
    (price,) = set(found.trades["price"])
    (code,) = set(found.trades["conditions"].cast(pl.String))
    assert price in (49.98, 50.02)
    assert found.trades["time"].is_sorted()
    if market is Market.CRYPTO:
        assert code == ("2" if price == 50.02 else "1")
    multiple = np.random.default_rng(seed).uniform(*FLOW_VOLUME) - 1
    assert found.trades.height == 7 + max(round(30 * 100 / 60 * multiple / 2), 3)


@pytest.mark.parametrize("seed", range(4))
def test_one_sided_flow_without_quotes_never_turns(seed) -> None:
    stretch = stretch_of([(1010, 50.3, 1), (1050, 49.6, 1), (1090, 50.1, 1)], None)
    prices = one_sided_flow(stretch, USUAL, np.random.default_rng(seed)).trades["price"].to_numpy()
    steps = np.diff(prices)
    is_up = prices[0] > 50
    assert prices[0] == pytest.approx(50.01 if is_up else 49.99)
    assert (steps >= 0).all() if is_up else (steps <= 0).all()
    assert prices[-1] == pytest.approx(50.3 if is_up else 49.6)


def test_both_sides_are_drawn() -> None:
    prices = [one_sided_flow(PLAIN, USUAL, np.random.default_rng(seed)).trades["price"][0] for seed in range(12)]
    assert set(prices) == {49.98, 50.02}
