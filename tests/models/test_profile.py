"""The profile: robust, shrunk, and defined for every symbol."""

import numpy as np
import polars as pl
import pytest

from models.profile import BUCKET_MINUTES, CLIP, WHOLE_DAY, Profile
from tapewatch.features.catalog import BY_NAME

FEATURES = (BY_NAME["volume_ratio"], BY_NAME["order_flow_imbalance"])


def rows(symbol: str, minutes: np.ndarray, volume: np.ndarray, flow: np.ndarray | None = None) -> pl.DataFrame:
    """Rows of a symbol with two features; no flow is null."""
    return pl.DataFrame(
        {
            "symbol": [symbol] * len(minutes),
            "session_minute": minutes,
            "volume_ratio": volume,
            "order_flow_imbalance": np.full(len(minutes), np.nan) if flow is None else flow,
        }
    ).with_columns(pl.col("order_flow_imbalance").fill_nan(None))


def logged(values: np.ndarray) -> np.ndarray:
    """Values of `volume_ratio` whose transform gives `values`."""
    return np.expm1(values)


@pytest.fixture(scope="module")
def profile() -> Profile:
    rng = np.random.default_rng(0)
    minutes = np.tile(np.arange(390), 120)
    busy = np.where(minutes < BUCKET_MINUTES, 5.0, 3.0)
    one = rows(
        "AAA", minutes, logged(busy + rng.normal(0, 0.5, minutes.size)), np.tanh(rng.normal(0, 0.5, minutes.size))
    )
    two = rows("BBB", minutes, logged(1.0 + rng.normal(0, 0.2, minutes.size)))
    return Profile.fit(pl.concat([one, two]), FEATURES)


def test_what_is_usual_depends_on_the_time_of_day(profile: Profile) -> None:
    same = logged(np.array([5.0, 5.0]))
    deviation = profile.standardise(rows("AAA", np.array([10, 100]), same))[:, 0]
    assert deviation[0] == pytest.approx(0, abs=0.15)
    assert deviation[1] == pytest.approx(4, abs=0.4), "two above the usual, in scales of a half"


def test_centre_and_scale_of_a_normal_sample(profile: Profile) -> None:
    row = profile.row_of["AAA", 3]
    assert profile.centre[row, 0] == pytest.approx(3.0, abs=0.05)
    assert profile.scale[row, 0] == pytest.approx(0.5, rel=0.1)


def test_a_null_feature_is_typical(profile: Profile) -> None:
    assert profile.standardise(rows("AAA", np.array([5]), logged(np.array([5.0]))))[0, 1] == 0


def test_an_unseen_symbol_is_compared_with_its_market_and_an_unseen_hour_with_the_day(profile: Profile) -> None:
    unseen = profile.standardise(rows("ZZZ", np.array([100]), logged(np.array([2.0]))))
    assert np.isfinite(unseen).all()
    market = profile.row_of["*stocks", WHOLE_DAY]
    assert unseen[0, 0] == pytest.approx((2.0 - profile.centre[market, 0]) / profile.scale[market, 0])
    late = profile.standardise(rows("AAA", np.array([900]), logged(np.array([3.0]))))
    day = profile.row_of["AAA", WHOLE_DAY]
    assert late[0, 0] == pytest.approx((3.0 - profile.centre[day, 0]) / profile.scale[day, 0])


def test_an_unseen_symbol_is_compared_with_its_own_market() -> None:
    minutes = np.tile(np.arange(60), 20)
    calm = rows("AAA", minutes, logged(np.full(1200, 1.0)))
    wild = rows("X:BBB-USD", minutes, logged(np.full(1200, 5.0)))
    profile = Profile.fit(pl.concat([calm, wild]), FEATURES)
    usual = {"ZZZ": 1.0, "X:ZZZ-USD": 5.0, "C:ZZZ-USD": 3.0}
    for symbol, level in usual.items():
        seen = profile.standardise(rows(symbol, np.array([5]), logged(np.array([level]))))[0, 0]
        assert abs(seen) < 1.0, "the unseen forex market is compared with all markets"
    assert profile.standardise(rows("ZZZ", np.array([5]), logged(np.array([5.0]))))[0, 0] > 10


def test_few_observations_weigh_little() -> None:
    many = rows("AAA", np.repeat(np.arange(60), 20), logged(np.full(1200, 1.0)))
    odd = rows("AAA", np.array([70]), logged(np.array([9.0])))
    profile = Profile.fit(pl.concat([many, odd]), FEATURES)
    assert profile.centre[profile.row_of["AAA", 2], 0] == pytest.approx(1.0 + 8.0 / 101, abs=0.01)


def robust(values: np.ndarray) -> tuple[float, float]:
    """Median, and the wider of two ranges as a normal standard deviation."""
    low, lower, middle, upper, high = np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95])
    return middle, max((upper - lower) / 1.349, (high - low) / 2 / 3.29)


def shrunk(own: float, parent: float, count: int, prior: float) -> float:
    return (count * own + prior * parent) / (count + prior)


@pytest.mark.parametrize("shape", ["peaked", "broad"])
def test_centre_and_scale_are_shrunk_level_by_level(shape: str) -> None:
    """All markets, the market, the symbol and its half hour, weighted by their numbers of observations."""
    rng = np.random.default_rng(5)
    counts = {"AAA": 60, "BBB": 7, "X:CCC-USD": 40}
    # Peaked: the range from 5 to 95 % is the wider one; broad: the quartiles are.
    draw = {
        "peaked": lambda n: rng.choice([-9, 0, 0, 0, 0, 0, 0, 9], n) + rng.normal(0, 0.1, n),
        "broad": lambda n: rng.uniform(-1, 1, n),
    }[shape]
    level = {"AAA": 20.0, "BBB": 30.0, "X:CCC-USD": 25.0}
    values = {symbol: level[symbol] + draw(count) for symbol, count in counts.items()}
    minutes = {symbol: np.arange(count) - 3 for symbol, count in counts.items()}
    profile = Profile.fit(pl.concat(rows(s, minutes[s], logged(values[s])) for s in counts), FEATURES)

    def assert_is(key: tuple[str, int], centre: float, scale: float) -> None:
        row = profile.row_of[key]
        assert profile.centre[row, 0] == pytest.approx(centre)
        assert profile.scale[row, 0] == pytest.approx(scale)

    top = robust(np.concatenate(list(values.values())))
    assert_is(("*", WHOLE_DAY), *top)

    def settled(own: np.ndarray, parent: tuple[float, float], prior: float, floor: float) -> tuple[float, float]:
        centre, scale = robust(own)
        shrunk_scale = shrunk(scale, parent[1], own.size, prior)
        return shrunk(centre, parent[0], own.size, prior), max(shrunk_scale, floor * parent[1], 0.05)

    stocks = settled(np.concatenate([values["AAA"], values["BBB"]]), top, 10, 0.1)
    assert_is(("*stocks", WHOLE_DAY), *stocks)
    day = settled(values["AAA"], stocks, 10, 0.1)
    assert_is(("AAA", WHOLE_DAY), *day)
    bucket = np.maximum(minutes["AAA"], 0) // 30
    for at in (0, 1):
        assert_is(("AAA", at), *settled(values["AAA"][bucket == at], day, 100, 0.25))
    assert_is(("BBB", WHOLE_DAY), *settled(values["BBB"], stocks, 10, 0.1))
    assert ("AAA", -1) in profile.row_of
    assert ("AAA", 2) not in profile.row_of


def test_scales_have_floors() -> None:
    """A constant market keeps a tenth of all markets' scale, a constant half hour a quarter of its symbol's day."""
    rng = np.random.default_rng(2)
    wild = rows("X:AAA-USD", np.zeros(2000, dtype=int), logged(20 + 10 * rng.normal(size=2000)))
    calm = rows("BBB", np.zeros(2000, dtype=int), logged(np.full(2000, 20.0)))
    profile = Profile.fit(pl.concat([wild, calm]), FEATURES)
    whole = profile.scale[profile.row_of["*", WHOLE_DAY], 0]
    assert profile.scale[profile.row_of["*stocks", WHOLE_DAY], 0] == pytest.approx(0.1 * whole)
    minutes = np.repeat([0, 40], [5000, 5000])
    values = np.concatenate([np.full(5000, 20.0), 20 + 10 * rng.normal(size=5000)])
    profile = Profile.fit(rows("AAA", minutes, logged(values)), FEATURES)
    day = profile.scale[profile.row_of["AAA", WHOLE_DAY], 0]
    assert profile.scale[profile.row_of["AAA", 0], 0] == pytest.approx(0.25 * day)
    level = Profile.fit(rows("AAA", np.zeros(9, dtype=int), logged(np.full(9, 2.0))), FEATURES)
    assert set(level.scale[:, 0]) == {0.05}


def test_a_constant_feature_has_a_scale_and_extremes_are_clipped() -> None:
    profile = Profile.fit(rows("AAA", np.arange(60), logged(np.full(60, 1.0))), FEATURES)
    deviation = profile.standardise(rows("AAA", np.array([1, 2, 3]), np.array([np.inf, 1e300, 0.0])))
    assert deviation[:2, 0].tolist() == [CLIP, CLIP]
    assert -CLIP <= deviation[2, 0] < 0


def test_outliers_do_not_move_it() -> None:
    rng = np.random.default_rng(1)
    clean = rng.normal(3, 0.5, 600)
    dirty = clean.copy()
    dirty[:12] = 50
    minutes = np.zeros(600, dtype=int)
    a, b = (Profile.fit(rows("AAA", minutes, logged(values)), FEATURES) for values in (clean, dirty))
    np.testing.assert_allclose(a.centre[:, 0], b.centre[:, 0], atol=0.03)
    np.testing.assert_allclose(a.scale[:, 0], b.scale[:, 0], rtol=0.1)


def test_a_table_and_back(profile: Profile) -> None:
    restored = Profile.from_frame(profile.to_frame())
    assert restored.features == profile.features
    assert dict(restored.row_of) == dict(profile.row_of)
    assert np.array_equal(restored.centre, profile.centre)
    assert np.array_equal(restored.scale, profile.scale)
