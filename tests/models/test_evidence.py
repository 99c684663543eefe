"""Evidence: calibrated surprises, and contributions by feature."""

import numpy as np
import polars as pl
import pytest

from models.evidence import DETECTOR_FEATURES, Evidence, Tails, signs
from models.profile import Profile, folds_of
from tapewatch.features.catalog import BY_NAME
from tests.support import detectors


@pytest.fixture(scope="module")
def fitted(training_rows: pl.DataFrame) -> tuple[Evidence, np.ndarray]:
    return Evidence.fit(training_rows, DETECTOR_FEATURES)


def test_only_directions_with_a_kind_count() -> None:
    found = {(sign.feature.name, sign.is_high): sign.kind for sign in signs(DETECTOR_FEATURES)}
    assert found["volume_ratio", True] == "volume_spike"
    assert found["volume_ratio", False] == BY_NAME["volume_ratio"].low
    assert ("quoted_spread_bps", False) not in found, "a narrow spread is no sign of trouble"


def test_a_surprise_is_minus_the_log_of_how_rare_it_is(
    fitted: tuple[Evidence, np.ndarray], training_rows: pl.DataFrame
) -> None:
    evidence, _ = fitted
    surprises = evidence.surprises(training_rows)
    assert (surprises >= 0).all()
    columns = [i for i, s in enumerate(evidence.signs) if s.feature.name in ("volume_ratio", "return_bps")]
    for level in (2.0, 3.0):
        share = (surprises[:, columns] >= level).mean(axis=0)
        np.testing.assert_allclose(np.log(share), -level, atol=0.7)


def test_surprise_grows_with_the_deviation(fitted: tuple[Evidence, np.ndarray]) -> None:
    evidence, _ = fitted
    steps = np.linspace(-15, 15, 301)[:, None] * np.ones(len(DETECTOR_FEATURES))
    surprises = evidence.surprises_of(steps, pl.Series(["AAPL"] * len(steps)))
    for i, sign in enumerate(evidence.signs):
        path = surprises[:, i] if sign.is_high else surprises[::-1, i]
        assert (np.diff(path) >= 0).all()
        assert (path[:151] == 0).all(), "nothing on the other side is surprising"


def test_evidence_is_the_mean_of_the_two_greatest_surprises(
    fitted: tuple[Evidence, np.ndarray], unseen_rows: pl.DataFrame
) -> None:
    evidence, _ = fitted
    surprises, inputs = evidence.surprises(unseen_rows), evidence.inputs(unseen_rows)
    for k, kind in enumerate(evidence.kinds):
        members = [i for i, sign in enumerate(evidence.signs) if sign.kind == kind]
        expected = np.sort(surprises[:, members], axis=1)[:, -2:].mean(axis=1)
        np.testing.assert_allclose(inputs[:, k], expected)
    kinds = len(evidence.kinds)
    np.testing.assert_array_equal(inputs[:, kinds:], np.tile(inputs[:, :kinds].max(axis=1)[:, None], 8))


def test_contributions_find_the_features_behind_them(
    fitted: tuple[Evidence, np.ndarray], unseen_rows: pl.DataFrame
) -> None:
    evidence, _ = fitted
    rows = unseen_rows.head(50)
    contributions = np.random.default_rng(0).normal(size=(50, len(evidence.kinds) + 8))
    by_feature = evidence.to_features(rows, contributions)
    np.testing.assert_allclose(by_feature.sum(axis=1), contributions.sum(axis=1))
    only_spread = np.zeros_like(contributions)
    only_spread[:, evidence.kinds.index("spread_blowout")] = 1.0
    moved = {DETECTOR_FEATURES[i].name for i in np.flatnonzero(evidence.to_features(rows, only_spread).any(axis=0))}
    assert moved
    assert all("spread_blowout" in (BY_NAME[name].high, BY_NAME[name].low) for name in moved)


def test_a_days_inputs_come_from_the_other_days(
    training_rows: pl.DataFrame, fitted: tuple[Evidence, np.ndarray]
) -> None:
    _, inputs = fitted
    first_day = training_rows["event_time"].dt.date() == training_rows["event_time"].dt.date()[0]
    evidence, again = Evidence.fit(training_rows.filter(~first_day), DETECTOR_FEATURES)
    standing_alone = evidence.profile.standardise(training_rows.filter(first_day))
    assert np.isfinite(standing_alone).all()
    assert again.shape == (int((~first_day).sum()), inputs.shape[1])


def test_each_market_has_its_own_tails(training_rows: pl.DataFrame) -> None:
    wild = training_rows.with_columns(
        symbol=pl.lit("X:") + pl.col("symbol").cast(pl.String) + "-USD",
        volume_ratio=pl.col("volume_ratio").log1p().pow(3).exp() - 1,
    )
    tame = training_rows.with_columns(pl.col("symbol").cast(pl.String))
    evidence, _ = Evidence.fit(pl.concat([tame, wild]), DETECTOR_FEATURES)
    assert set(evidence.tails) == {"*", "*stocks", "*crypto"}
    row = next(i for i, s in enumerate(evidence.signs) if s.feature.name == "volume_ratio" and s.is_high)
    steps = np.full((1, len(DETECTOR_FEATURES)), 6.0)
    of = {name: evidence.surprises_of(steps, pl.Series([name]))[0, row] for name in ("AAPL", "X:AAPL-USD", "C:EUR-USD")}
    assert of["AAPL"] > of["C:EUR-USD"] > of["X:AAPL-USD"], "an unseen market is compared with all of them"


def test_a_few_anomalies_among_the_training_minutes_barely_move_the_tail() -> None:
    rng = np.random.default_rng(0)
    clean = rng.exponential(1.0, (20_000, 1))
    dirty = clean.copy()
    dirty[:100] += 40.0
    far = np.array([[12.0]])
    assert Tails.fit(dirty).surprises(far)[0, 0] == pytest.approx(Tails.fit(clean).surprises(far)[0, 0], rel=0.2)
    assert Tails.fit(clean).surprises(far)[0, 0] == pytest.approx(12.0, rel=0.1), "minus the log of how rare it is"


def test_a_surprise_follows_knots_and_then_an_exponential_tail() -> None:
    tails = Tails(np.array([[1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, 2.0]]), np.array([0.5, 0.25]))
    deviations = np.array([-1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 3.5, 4.0, 5.0, 9.0, 20.0, np.nextafter(0, 1)])
    found = tails.surprises(np.column_stack([deviations, deviations]))
    at = -np.log([0.2, 0.1, 0.05])
    np.testing.assert_allclose(
        found[:, 0],
        [0, 0, 0, 0, at[0] / 2, at[0], at[1], (at[1] + at[2]) / 2, at[2], at[2] + 2, at[2] + 10, 20, 0],
    )
    inside = at[1] + (at[2] - at[1]) * deviations[4] / 2
    np.testing.assert_allclose(found[[1, 4, 5, 9], 1], [0, inside, at[2], at[2] + 12])
    assert found[-1, 1] == pytest.approx(at[1]), "any deviation is beyond three knots at zero"


def test_knots_are_quantiles_not_below_zero_and_the_tail_has_its_least_length() -> None:
    rng = np.random.default_rng(3)
    wide, narrow = rng.exponential(4.0, 5000), rng.exponential(0.01, 5000)
    directed = np.column_stack([wide, narrow, wide - 100.0, wide - 6.0, np.full(5000, 2.0)])
    tails = Tails.fit(directed)
    shares = np.quantile(wide, [0.5, 0.8, 0.9, 0.95])
    np.testing.assert_allclose(tails.knots[0], shares)
    np.testing.assert_allclose(tails.knots[2], 0)
    np.testing.assert_allclose(tails.knots[3], np.maximum(shares - 6, 0))
    excess = wide[wide > shares[3]] - shares[3]
    mean_excess = np.median(excess) / np.log(2)
    np.testing.assert_allclose(tails.tail, [mean_excess, 0.25, 0.25, mean_excess, 0.25])


def test_a_days_deviations_are_taken_from_the_others() -> None:
    rows = detectors.ordinary_rows()
    days = [rows.with_columns(pl.col("event_time", "known_time") + pl.duration(days=i)) for i in range(7)]
    rows = pl.concat(day.with_columns(pl.col("volume_ratio") + i) for i, day in enumerate(days))
    assert folds_of(rows).tolist() == np.repeat([0, 1, 2, 3, 4, 0, 1], days[0].height).tolist()
    evidence, inputs = Evidence.fit(rows, DETECTOR_FEATURES)
    third = pl.Series(folds_of(rows) == 2)
    others = Profile.fit(rows.filter(~third), DETECTOR_FEATURES).standardise(rows.filter(third))
    expected = evidence.inputs_of(evidence.surprises_of(others, rows.filter(third)["symbol"]))
    np.testing.assert_array_equal(inputs[third.to_numpy()], expected)
    alone, alone_inputs = Evidence.fit(days[0], DETECTOR_FEATURES)
    np.testing.assert_array_equal(alone_inputs, alone.inputs(days[0]))


def test_what_an_input_contributes_is_shared_by_the_surprises_behind_it() -> None:
    """An input's contribution goes to its two leading signs; the strongest kind also gets the contributions of the copies."""
    rows = detectors.ordinary_rows().head(40)
    evidence, _ = Evidence.fit(detectors.ordinary_rows(), DETECTOR_FEATURES)
    rows = detectors.extreme(rows)
    contributions = np.random.default_rng(1).normal(size=(rows.height, len(evidence.kinds) + 8))
    found = evidence.to_features(rows, contributions)
    surprises, inputs = evidence.surprises(rows), evidence.inputs(rows)
    names = [feature.name for feature in DETECTOR_FEATURES]
    expected = np.zeros_like(found)
    for row in range(rows.height):
        strongest = int(np.argmax(inputs[row, : len(evidence.kinds)]))
        for at, kind in enumerate(evidence.kinds):
            total = contributions[row, at]
            if at == strongest:
                total += contributions[row, len(evidence.kinds) :].sum()
            members = [i for i, sign in enumerate(evidence.signs) if sign.kind == kind]
            leading = sorted(members, key=lambda i: -surprises[row, i])[:2]
            mass = sum(surprises[row, i] for i in leading)
            for i in leading:
                share = surprises[row, i] / mass if mass > 0 else 1 / len(leading)
                expected[row, names.index(evidence.signs[i].feature.name)] += total * share
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_tables_and_back(fitted: tuple[Evidence, np.ndarray], unseen_rows: pl.DataFrame) -> None:
    evidence, _ = fitted
    restored = Evidence.from_frames(evidence.profile.to_frame(), evidence.to_frame())
    assert np.array_equal(restored.inputs(unseen_rows), evidence.inputs(unseen_rows))
    other = evidence.to_frame().with_columns(kind=pl.lit("meteor"))
    with pytest.raises(ValueError, match="train again"):
        Evidence.from_frames(evidence.profile.to_frame(), other)
