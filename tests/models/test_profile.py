"""The profile: robust, shrunk, never without an answer."""

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
    """On the scale that `volume_ratio` is modelled on."""
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


def test_an_unseen_symbol_is_held_against_the_market_and_an_unseen_hour_against_the_day(profile: Profile) -> None:
    unseen = profile.standardise(rows("ZZZ", np.array([100]), logged(np.array([2.0]))))
    assert np.isfinite(unseen).all()
    market = profile.row_of["*stocks", WHOLE_DAY]
    assert unseen[0, 0] == pytest.approx((2.0 - profile.centre[market, 0]) / profile.scale[market, 0])
    late = profile.standardise(rows("AAA", np.array([900]), logged(np.array([3.0]))))
    day = profile.row_of["AAA", WHOLE_DAY]
    assert late[0, 0] == pytest.approx((3.0 - profile.centre[day, 0]) / profile.scale[day, 0])


def test_an_unseen_symbol_is_held_against_its_own_market_not_against_others() -> None:
    minutes = np.tile(np.arange(60), 20)
    calm = rows("AAA", minutes, logged(np.full(1200, 1.0)))
    wild = rows("X:BBB-USD", minutes, logged(np.full(1200, 5.0)))
    profile = Profile.fit(pl.concat([calm, wild]), FEATURES)
    usual = {"ZZZ": 1.0, "X:ZZZ-USD": 5.0, "C:ZZZ-USD": 3.0}
    for symbol, level in usual.items():
        seen = profile.standardise(rows(symbol, np.array([5]), logged(np.array([level]))))[0, 0]
        assert abs(seen) < 1.0, "forex was never seen: all markets stand for it"
    assert profile.standardise(rows("ZZZ", np.array([5]), logged(np.array([5.0]))))[0, 0] > 10


def test_few_observations_weigh_little() -> None:
    many = rows("AAA", np.repeat(np.arange(60), 20), logged(np.full(1200, 1.0)))
    odd = rows("AAA", np.array([70]), logged(np.array([9.0])))
    profile = Profile.fit(pl.concat([many, odd]), FEATURES)
    assert profile.centre[profile.row_of["AAA", 2], 0] == pytest.approx(1.0 + 8.0 / 101, abs=0.01)


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
