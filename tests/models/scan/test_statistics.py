"""The statistics of the scan against a plain count in NumPy, and without the future."""

import numpy as np
import pytest

from models.scan.kernel import scan_bins
from models.scan.layout import (
    AGE,
    INPUTS,
    LEVELS,
    MOVES,
    PEERS,
    PRICE,
    ROOT_SIZE,
    SIDE,
    SIDES,
    SPREAD,
    STATISTICS,
    TICK_SLOTS,
    TRADE_SLOTS,
    VARIANTS,
    Usual,
    fresh_rings,
)

BINS, SYMBOLS = 1500, 3
AT = {name: place for place, name in enumerate(STATISTICS)}


def inputs(seed: int = 1) -> np.ndarray:
    """A random day of three symbols."""
    rng = np.random.default_rng(seed)
    values = rng.poisson(3.0, (SYMBOLS, INPUTS, BINS)).astype(np.float64)
    values[:, PRICE] = 1e5 + rng.normal(0, 1.0, (SYMBOLS, BINS)).cumsum(axis=1)
    values[:, SPREAD] = 1.0 + rng.random((SYMBOLS, BINS))
    values[:, SIDE] = rng.integers(-3, 4, (SYMBOLS, BINS))
    values[:, SIDES] = np.abs(values[:, SIDE]) + rng.integers(0, 2, (SYMBOLS, BINS))
    values[:, AGE] = rng.random((SYMBOLS, BINS)) * 5
    return values


def usual(peers: int = 2) -> Usual:
    """What is usual, with both other symbols as peers."""
    minutes = BINS // 12
    peer = np.full((SYMBOLS, PEERS), -1, dtype=np.int64)
    weight = np.zeros((SYMBOLS, VARIANTS, PEERS))
    for symbol in range(SYMBOLS):
        peer[symbol, :peers] = [other for other in range(SYMBOLS) if other != symbol][:peers]
        weight[symbol, 0, :peers] = 0.4
        weight[symbol, 1, 1:peers] = weight[symbol, 2, : peers - 1] = 0.6
    variants = np.full(SYMBOLS, 1 + peers, dtype=np.int64)
    level = np.full((SYMBOLS, LEVELS, minutes), 36.0)
    return Usual(level, np.full((SYMBOLS, minutes), 3.0), peer, weight, variants, np.full((SYMBOLS, VARIANTS), 1.5))


def measured(values: np.ndarray, of: Usual) -> np.ndarray:
    """All statistics of a day at once."""
    out = np.full((SYMBOLS, len(STATISTICS), values.shape[2]), np.nan)
    scan_bins(values, 0, 0, of, fresh_rings(SYMBOLS), out)
    return out


def level_of(series: np.ndarray, t: int, width: int, profile: float) -> float:
    """The usual sum of a minute, recounted."""
    ends = [t - width - 12 - 12 * back for back in range(30)]
    sums = [series[end - 11 : end + 1].sum() for end in ends if end >= 11]
    if len(sums) < 5:
        return profile
    share = len(sums) / 30
    return float(np.exp(share * np.log(np.median(sums) + 0.05) + (1 - share) * np.log(profile + 0.05)) - 0.05)


@pytest.mark.parametrize("t", [30, 130, 500, 1400])
def test_counts_against_a_recount(t: int) -> None:
    values, found = inputs(), measured(inputs(), usual(peers=0))
    for symbol in range(SYMBOLS):
        slots = values[symbol, TRADE_SLOTS]
        level = level_of(slots, t, 24, 36.0)
        expected = np.log((slots[t - 23 : t + 1].sum() / 2 + 0.1 * level) / (1.1 * level))
        assert found[symbol, AT["trade_slots"], t] == pytest.approx(expected, rel=1e-9)
        if t >= 84:
            side, sides = values[symbol, SIDE, t - 83 : t + 1], values[symbol, SIDES, t - 83 : t + 1]
            expected = abs(side.sum()) / np.sqrt(sides.sum() + 5)
            assert found[symbol, AT["sides"], t] == pytest.approx(expected, rel=1e-9)
            expected = abs(side.sum()) / np.sqrt((sides.sum() + 5) * (7 * level_of(slots, t, 84, 36.0) + 5))
            assert found[symbol, AT["net_trades"], t] == pytest.approx(expected, rel=1e-9)
        spread = values[symbol, SPREAD]
        caps = [8 * level_of(spread, at, 24, 36.0) / 12 for at in range(t - 23, t + 1)]
        expected = np.log(np.minimum(spread[t - 23 : t + 1], caps).mean() / (level_of(spread, t, 24, 36.0) / 12))
        assert found[symbol, AT["spread"], t] == pytest.approx(expected, rel=1e-9)
        total = values[symbol, 4]
        all_level, level = level_of(total, t, 12, 36.0), level_of(slots, t, 12, 36.0)
        ratio = np.log((total[t - 11 : t + 1].sum() + 0.1 * all_level + 1) / (1.1 * all_level + 1))
        trading = np.log((slots[t - 11 : t + 1].sum() + 0.1 * level + 1) / (1.1 * level + 1))
        assert found[symbol, AT["tick_slots"], t] == pytest.approx(ratio - 0.5 * max(0, trading), rel=1e-9)
        expected = np.sqrt(values[symbol, AGE, t] * max(level_of(total, t, 12, 36.0), 0.5) / 60)
        assert found[symbol, AT["silence"], t] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("t", [130, 500, 1400])
def test_what_quotes_and_moves_explain_is_taken_off_as_recounted(t: int) -> None:
    values = inputs()
    values[:, TICK_SLOTS] = values[:, TRADE_SLOTS] + 2.0 * values[:, TICK_SLOTS]
    found = measured(values, usual(peers=0))
    for symbol in range(SYMBOLS):
        slots, ticks, spread = (values[symbol, row] for row in (TRADE_SLOTS, TICK_SLOTS, SPREAD))
        rate = (ticks - slots)[t - 23 : t + 1].sum() / 2
        level = max(level_of(ticks, t, 24, 36.0) - level_of(slots, t, 24, 36.0), 0.0)
        quoting = max(np.log((rate + 0.1 * level + 0.5) / (1.1 * level + 0.5)), 0.0)
        trades = found[symbol, AT["trade_slots"], t]
        assert found[symbol, AT["trades_without_quotes"], t] == pytest.approx(trades - 0.5 * quoting, rel=1e-9)
        moves = np.abs(np.diff(values[symbol, PRICE], prepend=np.nan))
        moves[0] = 0.0
        level = level_of(moves, t, 24, 36.0)
        moving = max(np.log((moves[t - 23 : t + 1].sum() / 2 + 0.1 * level) / (1.1 * level)), 0.0)
        own = found[symbol, AT["spread"], t]
        assert found[symbol, AT["spread_without_moves"], t] == pytest.approx(own - 0.3 * moving, rel=1e-9)
        expected = np.log(spread[t - 11 : t + 1].sum() / np.sqrt(level_of(spread, t, 12, 36.0) * 36.0))
        assert found[symbol, AT["spread_of_the_hour"], t] == pytest.approx(expected, rel=1e-9)


def test_moves_of_a_price_of_coarse_ticks_are_judged() -> None:
    values, of = inputs(), usual(peers=0)
    values[:, PRICE] = 1e5
    values[:, PRICE, 1000:1036:2] += 7.0
    of.level[:, MOVES] = 0.0
    found = measured(values, of)[0, AT["moves"]]
    assert np.isfinite(found[100:]).all()
    assert found[1036] > found[900] + 2


def test_a_fall_is_measured_by_the_last_half_hour_s_moves_too() -> None:
    calm, wild = inputs(), inputs()
    wild[0, PRICE] = 1e5 + 6.0 * (wild[0, PRICE] - 1e5)
    for values in (calm, wild):
        values[0, PRICE, 1000:1010] -= np.linspace(20, 100, 10)
    at = slice(1008, 1028)
    fewer = [
        measured(calm, usual(peers=0))[0, AT[name], at].max() / measured(wild, usual(peers=0))[0, AT[name], at].max()
        for name in ("fall_and_recovery", "fall_and_recovery_now")
    ]
    assert fewer[1] > 1.3 * fewer[0]


def test_a_peers_volume_is_taken_off() -> None:
    values = inputs()
    values[:, (TRADE_SLOTS, ROOT_SIZE), 1000:1030] *= 8
    common = measured(values, usual())[0, AT["trade_slots"], 1023]
    values = inputs()
    values[0, (TRADE_SLOTS, ROOT_SIZE), 1000:1030] *= 8
    own = measured(values, usual())[0, AT["trade_slots"], 1023]
    assert common < 0.5
    assert own > 1.0


def test_a_jump_counts_only_beyond_every_set_of_peers() -> None:
    values = inputs()
    values[0, PRICE, 1000:] += 80
    assert measured(values, usual())[0, AT["jump"], 1003:1006].max() > 4
    values[1:, PRICE, 1000:] += 80 / 0.8
    assert measured(values, usual())[0, AT["jump"], 1003:1006].max() < 4


def test_a_fall_that_recovers_is_a_flash_crash_and_a_fall_that_stays_is_none() -> None:
    crash = inputs()
    crash[0, PRICE, 1000:1010] -= np.linspace(20, 100, 10)
    stays = inputs()
    stays[0, PRICE, 1000:] -= 100
    at = slice(1008, 1028)
    assert measured(crash, usual())[0, AT["fall_and_recovery"], at].max() > 8
    assert measured(stays, usual())[0, AT["fall_and_recovery"], at].max() < 3


@pytest.mark.long
def test_the_future_changes_nothing_and_parts_equal_the_whole() -> None:
    values, of = inputs(), usual()
    whole = measured(values, of)
    changed = values.copy()
    changed[:, :, 900:] = inputs(2)[:, :, 900:] * 7
    np.testing.assert_array_equal(measured(changed, of)[:, :, :900], whole[:, :, :900])
    rings, first, rng = fresh_rings(SYMBOLS), 0, np.random.default_rng(5)
    parts = np.full_like(whole, np.nan)
    for stop in [*np.sort(rng.choice(np.arange(1, BINS), 60, replace=False)).tolist(), BINS]:
        scan_bins(values[:, :, first:stop], first, 0, of, rings, parts[:, :, first:stop])
        first = stop
    np.testing.assert_array_equal(parts, whole)


def test_a_series_that_a_symbol_lacks_is_not_judged() -> None:
    values, of = inputs(), usual()
    of.level[1, 6] = np.nan
    values[1, SPREAD] = np.nan
    values[2, PRICE] = np.nan
    found = measured(values, of)
    assert np.isnan(found[1, AT["spread"]]).all()
    assert np.isfinite(found[0, AT["spread"], 100:]).all()
    assert not np.isfinite(found[2, AT["fall_and_recovery"]]).any()
