"""The detector: its training rows, finite scores for every row, and saving and loading."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from models.base import DetectorError
from models.evidence import DETECTOR_FEATURES
from models.isolation_forest.detector import ForestParameters, IsolationForestDetector
from models.manifest import _minor
from tapewatch.market.schema import Table
from tapewatch.market.tables.tape import ATTRIBUTIONS, MICROSTRUCTURE

SMALL = ForestParameters(trees=80, samples=1024)
NOTHING_CAME = [
    "volume",
    "volume_ratio",
    "trade_count",
    "trade_count_ratio",
    "signed_volume_ratio",
    "return_bps",
    "return_score",
    "realised_volatility_bps",
    "volatility_ratio",
    "quote_count",
    "quote_rate_hz",
    "quote_count_ratio",
    "flow_score_3m",
    "flow_score_5m",
    "sustained_volume_2m",
    "sustained_volume_3m",
]
UNDEFINED_IN_SILENCE = ["order_flow_imbalance", "range_bps", "realised_spread_bps", "crossed_share"]
QUOTE_COLUMNS = [
    name
    for name in MICROSTRUCTURE.schema
    if any(word in name for word in ("quote", "spread", "depth", "ofi", "mid_", "crossed"))
]


def path_lengths(detector: IsolationForestDetector, rows: pl.DataFrame) -> np.ndarray:
    """Mean path length of each row through the trees, from its score (Liu et al. 2008, equations 1 and 2)."""
    n = detector._fitted.forest.max_samples_
    unsuccessful_search = 2 * (np.log(n - 1) + np.euler_gamma) - 2 * (n - 1) / n
    return -unsuccessful_search * np.log2(detector.score(rows))


def test_scores_are_finite_and_between_zero_and_one(
    detector: IsolationForestDetector, unseen_rows: pl.DataFrame
) -> None:
    score = detector.score(unseen_rows)
    assert score.shape == (unseen_rows.height,)
    assert np.isfinite(score).all()
    assert ((score > 0) & (score <= 1)).all()
    assert detector.score(unseen_rows.clear()).size == 0


def test_a_row_is_scored_by_itself_alone(detector: IsolationForestDetector, unseen_rows: pl.DataFrame) -> None:
    some = unseen_rows.sample(20, seed=0)
    together = detector.score(some)
    alone = [detector.score(some[i])[0] for i in range(some.height)]
    np.testing.assert_array_equal(together, alone)


@pytest.mark.long
def test_the_fit_sees_training_rows_and_no_labels(
    detector: IsolationForestDetector, training_rows: pl.DataFrame, unseen_rows: pl.DataFrame
) -> None:
    """Scoring other rows changes nothing that was fitted."""
    labelled = training_rows.with_columns(is_anomaly=pl.lit(value=True), barrier_label=pl.lit(1))
    again = IsolationForestDetector(SMALL, seed=3).fit(labelled)
    before = again.score(unseen_rows)
    again.score(unseen_rows.with_columns(volume_ratio=pl.lit(1e6)))
    np.testing.assert_array_equal(before, detector.score(unseen_rows))
    np.testing.assert_array_equal(again.score(unseen_rows), before)
    assert again.threshold == detector.threshold
    changed = training_rows.with_columns(pl.col("volume_ratio") * 2)
    other = IsolationForestDetector(SMALL, seed=3).fit(changed)
    assert not np.array_equal(other.score(unseen_rows), before), "training rows do matter"


def test_another_seed_gives_other_scores(
    training_rows: pl.DataFrame, detector: IsolationForestDetector, unseen_rows: pl.DataFrame
) -> None:
    other = IsolationForestDetector(SMALL, seed=4).fit(training_rows)
    assert not np.array_equal(other.score(unseen_rows), detector.score(unseen_rows))


def test_the_order_of_training_days_does_not_change_the_profile(
    training_rows: pl.DataFrame, detector: IsolationForestDetector, unseen_rows: pl.DataFrame
) -> None:
    again = IsolationForestDetector(SMALL, seed=3).fit(training_rows.sort("event_time", "symbol"))
    assert np.corrcoef(again.score(unseen_rows), detector.score(unseen_rows))[0, 1] > 0.95


def test_training_minutes_keep_the_alert_budget(detector: IsolationForestDetector, training_rows: pl.DataFrame) -> None:
    share = (detector.score(training_rows) >= detector.threshold).mean()
    assert share * 60 <= 2 * SMALL.alerts_per_symbol_hour, "in sample, rather fewer than out of it"


def test_saved_and_loaded_it_scores_the_same_bit_for_bit(
    detector: IsolationForestDetector, unseen_rows: pl.DataFrame, tmp_path: Path
) -> None:
    detector.save(tmp_path / "model")
    loaded = IsolationForestDetector.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.score(unseen_rows), detector.score(unseen_rows))
    assert loaded.threshold == detector.threshold
    assert loaded.parameters == detector.parameters
    assert loaded.explain(unseen_rows.head(3)).equals(detector.explain(unseen_rows.head(3)))
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "forest.skops",
        "levels.parquet",
        "manifest.json",
        "profile.parquet",
        "tails.parquet",
    ]


def test_the_manifest_records_the_training(detector: IsolationForestDetector, training_rows: pl.DataFrame) -> None:
    manifest = detector.manifest
    known = training_rows["known_time"]
    assert manifest.fit_window == [f"{time:%Y-%m-%dT%H:%M:%SZ}" for time in (known.min(), known.max())]
    assert manifest.rows == training_rows.height
    assert manifest.partitions == ["2024-03-04|stocks"]
    assert manifest.features == [feature.name for feature in DETECTOR_FEATURES]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("catalog_version", 0, "feature catalog is 0"),
        ("schema_hash", "x", "schema is x"),
        ("features", ["moon_phase"], "no feature moon_phase"),
        ("detector", "other", "detector is other"),
        ("libraries", {"scikit-learn": "0.1.0"}, "scikit-learn is 0.1"),
        ("format", 99, "format is 99"),
    ],
)
def test_a_manifest_of_other_code_is_refused(
    detector: IsolationForestDetector, tmp_path: Path, field: str, value: object, message: str
) -> None:
    detector.save(tmp_path)
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(DetectorError, match=message):
        IsolationForestDetector.load(tmp_path)


def test_a_changed_or_missing_file_is_refused(detector: IsolationForestDetector, tmp_path: Path) -> None:
    detector.save(tmp_path)
    (tmp_path / "tails.parquet").write_bytes(b"other")
    with pytest.raises(DetectorError, match=r"tails\.parquet"):
        IsolationForestDetector.load(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(DetectorError, match="no manifest of format"):
        IsolationForestDetector.load(tmp_path)
    with pytest.raises(DetectorError, match="no saved detector"):
        IsolationForestDetector.load(tmp_path / "nowhere")


def test_an_unknown_symbol_and_rows_without_quotes_get_a_score(
    detector: IsolationForestDetector, unseen_rows: pl.DataFrame
) -> None:
    stranger = unseen_rows.with_columns(symbol=pl.lit("ZZZZ"))
    blind = unseen_rows.with_columns(
        pl.lit(None, dtype=MICROSTRUCTURE.schema[name]).alias(name) for name in QUOTE_COLUMNS
    )
    empty = unseen_rows.with_columns(
        pl.lit(None, dtype=MICROSTRUCTURE.schema[f.name]).alias(f.name) for f in DETECTOR_FEATURES
    )
    for rows in (stranger, blind, empty):
        assert np.isfinite(detector.score(rows)).all()
    assert (detector.score(empty) < detector.threshold).all(), "a row of nulls is typical"
    loud = blind.with_columns(volume_ratio=pl.lit(500.0), trade_count_ratio=pl.lit(300.0))
    assert (detector.score(loud) >= detector.threshold).mean() > 0.99, "without quotes, trades alone count"


def test_attributions_add_up_to_the_path_length(detector: IsolationForestDetector, unseen_rows: pl.DataFrame) -> None:
    rows = unseen_rows.head(40)
    explanation = detector.explain_inputs(rows)
    np.testing.assert_allclose(
        explanation.base + explanation.contributions.sum(axis=1), -path_lengths(detector, rows), atol=1e-6
    )
    attributions = detector.explain(rows)
    check(ATTRIBUTIONS, attributions)
    assert attributions.height == rows.height * len(detector.features)
    sums = attributions.group_by("symbol", "event_time", maintain_order=True).agg(pl.col("shap_value").sum())
    np.testing.assert_allclose(sums["shap_value"], explanation.contributions.sum(axis=1), atol=1e-9)


def check(table: Table, frame: pl.DataFrame) -> None:
    """A frame fits its table, sorted and unique."""
    table.check(frame)
    assert table.duplicates(frame) == 0


def test_what_is_anomalous_is_named_first(detector: IsolationForestDetector, unseen_rows: pl.DataFrame) -> None:
    odd = unseen_rows.slice(100, 1).with_columns(
        quoted_spread_bps=pl.col("quoted_spread_bps") * 30,
        spread_ratio=pl.lit(30.0),
        effective_spread_bps=pl.lit(200.0),
    )
    strongest = detector.explain(odd).sort("shap_value", descending=True).head(2)["feature"].cast(pl.String)
    assert set(strongest) <= {"quoted_spread_bps", "spread_ratio", "effective_spread_bps"}
    assert detector.scored(odd)["is_out"].to_list() == [False]


def test_an_outage_of_a_busy_symbol_is_found_and_named(
    detector: IsolationForestDetector, unseen_rows: pl.DataFrame
) -> None:
    """Five minutes without trades and quotes, with growing ages, are an outage."""
    silent = unseen_rows.filter(pl.col("session_minute").is_between(100, 104)).with_columns(
        *(pl.lit(0).cast(MICROSTRUCTURE.schema[name]).alias(name) for name in NOTHING_CAME),
        *(pl.lit(None, dtype=MICROSTRUCTURE.schema[name]).alias(name) for name in UNDEFINED_IN_SILENCE),
        *(
            (60.0 * (pl.col("session_minute") - 98)).alias(name)
            for name in ("trade_age_s", "quote_age_s", "tape_age_s")
        ),
    )
    verdicts = detector.scored(silent)
    assert (verdicts["score"] >= detector.threshold).mean() > 0.9
    by_minute = (
        silent.select("session_minute", verdicts["is_out"]).group_by("session_minute").agg(pl.col("is_out").all())
    )
    # The first minute of silence is no outage yet: 120 s may pass without any news.
    assert dict(by_minute.iter_rows()) == {100: False, 101: True, 102: True, 103: True, 104: True}


def test_using_it_unfitted_or_fitting_on_nothing_is_refused(unseen_rows: pl.DataFrame) -> None:
    with pytest.raises(DetectorError, match="not been fitted"):
        IsolationForestDetector().score(unseen_rows)
    with pytest.raises(DetectorError, match="no rows"):
        IsolationForestDetector().fit(unseen_rows.clear())


def test_contributions_add_up_to_the_path(detector: IsolationForestDetector, unseen_rows: pl.DataFrame) -> None:
    some = unseen_rows.head(30)
    explanation = detector.explain_inputs(some)
    total = explanation.base + explanation.contributions.sum(axis=1)
    np.testing.assert_allclose(total, -path_lengths(detector, some), rtol=1e-6)
    by_feature = (
        detector.explain(some).group_by("symbol", "event_time", maintain_order=True).agg(pl.col("shap_value").sum())
    )
    order = some.with_row_index().sort(pl.col("symbol").cast(pl.String), "event_time")["index"].to_numpy()
    np.testing.assert_allclose(by_feature["shap_value"], explanation.contributions.sum(axis=1)[order])


def test_versions_are_compared_by_their_first_two_parts() -> None:
    assert [_minor(text) for text in ("1.7.2", "1.7", "1.10.0rc1", "2")] == ["1.7", "1.7", "1.10", "2"]


def test_the_parameters_are_the_forests(detector: IsolationForestDetector, training_rows: pl.DataFrame) -> None:
    forest = detector._fitted.forest
    assert (forest.n_estimators, forest.max_samples_) == (80, min(1024, training_rows.height))
    few = IsolationForestDetector(SMALL).fit(training_rows.head(200))
    assert few._fitted.forest.max_samples_ == 200
