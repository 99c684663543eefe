"""The ensemble: one scale, its rate on unseen days, attributions, absent members, saved state and bad input."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from models.anomaly_classifier.detector import AnomalyClassifierDetector
from models.anomaly_classifier.learning import Growth
from models.base import DetectorError
from models.baselines.limits import LimitsDetector
from models.baselines.time_of_day import TimeOfDayDetector
from models.calibration.levels import Level, hours_of, score_of, threshold_of
from models.ensemble.detector import EnsembleDetector
from models.ensemble.incidents import incidents_of
from models.events import merge_anomalies
from models.isolation_forest.detector import IsolationForestDetector
from models.isolation_forest.onnx_graph import length_graph
from models.loading import load_detector
from models.onnx_export import export_onnx
from models.served import loading
from models.served.forest import forest_paths
from models.served.loading import load_row_scorer, write_graphs
from models.served.minutes import Minutes
from tapewatch.features.catalog import BY_NAME
from tapewatch.labels.training.training_set import build_training_set
from tapewatch.market.instruments import Market
from tapewatch.market.tables.derived import INCIDENTS
from tapewatch.market.tables.tape import ATTRIBUTIONS, BARRIER_LABELS
from tests.support import detectors
from tests.support.labelled_minutes import injected_minutes
from tests.support.synthetic_days import days, synthetic_day

SMALL = Growth(iterations=25, leaves=8, kind_iterations=8)


def with_truth(at: int) -> pl.DataFrame:
    day = synthetic_day(Market.STOCKS, days(Market.STOCKS)[at])
    return build_training_set(day.features, BARRIER_LABELS.empty(), day.truth)


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    return pl.concat([with_truth(at) for at in range(3)])


@pytest.fixture(scope="module")
def unseen() -> pl.DataFrame:
    return with_truth(3)


@pytest.fixture(scope="module")
def ensemble(detector: IsolationForestDetector, rows: pl.DataFrame) -> EnsembleDetector:
    classifier = AnomalyClassifierDetector(SMALL, seed=3).fit(rows, labelled=injected_minutes())
    members = (detector, classifier, TimeOfDayDetector().fit(rows))
    return EnsembleDetector(members).fit(rows, partitions=["2024-03-04|stocks"])


def test_the_score_is_the_hours_between_alerts() -> None:
    assert threshold_of(6.5) == 0.5
    assert threshold_of(65) == pytest.approx(10 / 11)
    # A level of 1 is 12 peaks in 6.5 hours, each further one a tenth of that.
    levels = np.array([1.0, 1.0 + np.log10(12.0), 2.0 + np.log10(12.0)])
    hours = np.array([6.5 / 12, 6.5, 65.0])
    assert score_of(levels) == pytest.approx(hours / (hours + 6.5))
    for wrong in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(DetectorError, match="no setting"):
            threshold_of(wrong)


def test_peaks_above_a_level_come_as_often_as_it_says() -> None:
    """Of independent minutes the peaks that exceed the level of once in 390 minutes, counted on others, do so."""
    rng = np.random.default_rng(1)
    start = pl.datetime(2024, 3, 4, 14, 30, time_unit="ns", time_zone="UTC")
    keys = pl.concat(
        pl.select(event_time=pl.datetime_range(start, start + pl.duration(minutes=389), "1m")).with_columns(
            symbol=pl.lit(f"S{number:03}")
        )
        for number in range(60)
    )
    level = Level.fit(rng.exponential(size=keys.height), keys)
    fresh = rng.exponential(size=(4000, 390))
    often = (level.of(fresh.max(axis=1)) >= 1.0 + np.log10(12.0)).mean()
    assert 0.5 < -np.log1p(-often) < 2.0
    assert level.of(np.array([level.median - 1, level.median])).tolist() == [0.0, 0.0]
    grid = np.linspace(0.0, 20.0, 200)
    assert (np.diff(level.of(grid)) >= 0).all()
    assert np.isnan(level.of(np.array([np.nan]))).all()


@pytest.mark.long
def test_ordinary_unseen_minutes_alert_at_the_rate_that_was_set(
    ensemble: EnsembleDetector, unseen: pl.DataFrame
) -> None:
    scored = ensemble.scored(unseen)
    alerts = merge_anomalies(scored, ATTRIBUTIONS.empty(), unseen, threshold=ensemble.threshold, model="")
    true = unseen.filter("is_anomaly").select(pl.col("symbol").cast(pl.String), time="event_time")
    pairs = alerts.with_columns(pl.col("symbol").cast(pl.String)).join(true, on="symbol")
    meets = pairs.filter(
        pl.col("time").is_between(pl.col("start_time") - pl.duration(minutes=10), pl.col("end_time"))
    ).unique(["symbol", "start_time"])
    rate = (alerts.height - meets.height) / (unseen.height / 390)
    # One a session was set; a single unseen day of five symbols allows no narrower band.
    assert rate <= 2.5
    assert meets.height >= 5, "what is declared is found"


def test_attributions_add_up_to_the_margin(ensemble: EnsembleDetector, unseen: pl.DataFrame) -> None:
    top = (
        unseen.with_columns(score=pl.Series(ensemble.score(unseen)))
        .sort("score", descending=True)
        .head(40)
        .drop("score")
    )
    explained = ensemble.explain(top)
    sums = explained.group_by("symbol", "event_time").agg(pl.col("shap_value").sum())
    margins = top.select("symbol", "event_time").with_columns(margin=pl.Series(ensemble.margin(top)))
    both = sums.join(margins, on=["symbol", "event_time"])
    assert both.height == 40
    assert both["shap_value"].to_numpy() == pytest.approx(both["margin"].to_numpy(), abs=1e-9)
    assert (explained["shap_value"] >= 0).all()
    assert set(explained["feature"].cast(pl.String)) <= set(ensemble.features)


def test_saved_and_loaded_it_scores_the_same(ensemble: EnsembleDetector, unseen: pl.DataFrame, tmp_path: Path) -> None:
    ensemble.save(tmp_path)
    loaded = load_detector(tmp_path)
    assert isinstance(loaded, EnsembleDetector)
    assert (loaded.score(unseen) == ensemble.score(unseen)).all()
    assert loaded.scored(unseen).equals(ensemble.scored(unseen))
    assert loaded.explain(unseen.head(5)).equals(ensemble.explain(unseen.head(5)))
    assert (loaded.threshold, loaded.features, loaded.hours) == (0.5, ensemble.features, 6.5)
    part = next(tmp_path.glob("members/1_*/tails.parquet"))
    part.write_bytes(part.read_bytes()[:-1] + b"x")
    with pytest.raises(DetectorError, match=r"members/1_anomaly_classifier/tails\.parquet"):
        load_detector(tmp_path)


def test_a_minute_is_scored_alone_and_by_no_label(ensemble: EnsembleDetector, unseen: pl.DataFrame) -> None:
    whole = ensemble.score(unseen)
    assert (ensemble.score(unseen[100:103]) == whole[100:103]).all()
    assert (ensemble.score(unseen.with_columns(is_anomaly=~pl.col("is_anomaly"))) == whole).all()
    assert ((whole >= 0) & (whole <= 1)).all()
    assert ensemble.score(unseen.clear()).size == 0


def test_it_does_without_a_member(detector: IsolationForestDetector, rows: pl.DataFrame, unseen: pl.DataFrame) -> None:
    alone = EnsembleDetector((detector,)).fit(rows)
    order = np.argsort(detector.score(unseen), kind="stable")
    assert (np.diff(alone.score(unseen)[order]) >= 0).all(), "a single member keeps its order"
    stranger = unseen.head(30).with_columns(symbol=pl.lit("X:BTC-USD"))
    assert ((alone.score(stranger) > 0) & (alone.score(stranger) < 1)).all(), "an unlearnt market is scored by the pool"


def test_the_onnx_graph_gives_the_score(ensemble: EnsembleDetector, unseen: pl.DataFrame, tmp_path: Path) -> None:
    off = export_onnx(ensemble, unseen, tmp_path)
    assert set(off) == {"isolation_forest.onnx", "anomaly_classifier.onnx", "ensemble.onnx"}
    assert max(off.values()) <= 1e-5
    assert {path.name for path in tmp_path.iterdir()} == set(off)


def test_a_fit_that_cannot_be_is_refused(detector: IsolationForestDetector, rows: pl.DataFrame) -> None:
    with pytest.raises(DetectorError, match="members of different names"):
        EnsembleDetector().fit(rows)
    with pytest.raises(DetectorError, match="members of different names"):
        EnsembleDetector((detector, detector)).fit(rows)
    with pytest.raises(DetectorError, match="too few ordinary minutes"):
        EnsembleDetector((detector,)).fit(rows.head(150))
    with pytest.raises(DetectorError, match="no setting"):
        EnsembleDetector((detector,), hours=0).fit(rows)
    with pytest.raises(DetectorError, match="call fit or load first"):
        EnsembleDetector((detector,)).score(rows)


def test_the_baselines_keep_the_protocol(rows: pl.DataFrame, unseen: pl.DataFrame, tmp_path: Path) -> None:
    for detector in (TimeOfDayDetector().fit(rows), LimitsDetector().fit(rows)):
        folder = tmp_path / detector.name
        detector.save(folder)
        loaded = load_detector(folder)
        scores = detector.score(unseen)
        assert (loaded.score(unseen) == scores).all()
        assert loaded.scored(unseen).equals(detector.scored(unseen))
        sums = (
            detector.explain(unseen)
            .group_by("symbol", "event_time")
            .agg(pl.col("shap_value").sum(), pl.col("score").first())
        )
        assert sums["shap_value"].to_numpy() == pytest.approx(sums["score"].to_numpy())
        truth = unseen["is_anomaly"].to_numpy()
        assert (scores[truth] >= detector.threshold).mean() > 3 * (scores[~truth] >= detector.threshold).mean()
        with pytest.raises(DetectorError, match="materialize the training days"):
            type(detector)().fit(rows.clear())


def test_a_limit_is_reached_at_its_value(rows: pl.DataFrame) -> None:
    limits = LimitsDetector().fit(rows)
    calm = {name: pl.lit(0.0) for name in limits.features}
    row = rows.head(1).with_columns(**calm)
    assert limits.score(row).tolist() == [0.0]
    assert limits.score(row.with_columns(flow_score_5m=pl.lit(-14.0))).tolist() == [1.0]
    assert limits.score(row.with_columns(volume_ratio=pl.lit(12.0), spread_ratio=pl.lit(None))).tolist() == [2.0]


def test_incidents_bear_their_hours_and_reasons_in_words(ensemble: EnsembleDetector, unseen: pl.DataFrame) -> None:
    found = incidents_of(ensemble, unseen, "ensemble/4")
    assert found.height
    assert list(INCIDENTS.problems(found)) == []
    # One in 6.5 hours was set, and a score of h / (h + 6.5) reports h.
    assert found["hours"].min() >= 6.5
    first = found.row(0, named=True)
    assert first["surprise"] == pytest.approx(np.log10(first["hours"] / 6.5), abs=1e-9) or first["hours"] == 10_000.0
    reasons = json.loads(first["reasons"])
    assert reasons[0]["words"].startswith(BY_NAME[reasons[0]["statistic"]].description)
    assert incidents_of(ensemble, unseen.clear(), "ensemble/4").is_empty()


def test_a_score_is_as_many_hours_as_it_was_made_of() -> None:
    levels = np.array([0.0, 1.0, 2.0, 3.3])
    hours = 6.5 / (12 * 10.0 ** (1 - levels))
    assert hours_of(score_of(levels)) == pytest.approx(hours)
    assert hours_of(np.array([1.0])) == 1e6


@pytest.fixture(scope="module")
def served(ensemble: EnsembleDetector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    ensemble.save(folder)
    write_graphs(folder, folder)
    return folder


def test_the_service_scores_as_the_detector_does_and_gives_hours(
    ensemble: EnsembleDetector, served: Path, unseen: pl.DataFrame
) -> None:
    scorer = load_row_scorer(served)
    features = [name for name in ensemble.features if name not in ("trade_age_s", "tape_age_s")]
    strangers = unseen.head(60).with_columns(symbol=pl.lit("X:BTC-USD", unseen.schema["symbol"]))
    blank = unseen.tail(60).with_columns(pl.lit(None, pl.Float64).alias(name) for name in features[::3])
    rows = pl.concat([unseen, strangers, blank], how="vertical_relaxed")
    minutes = Minutes.of_frame(rows, scorer.features)
    scores = scorer.score(minutes)
    assert np.abs(scores - ensemble.score(rows)).max() <= 1e-6
    assert scorer.score(minutes.take(slice(7, 8))) == pytest.approx(scores[7:8], abs=1e-12)
    assert scorer.score(minutes.take(slice(0, 0))).size == 0
    hours = scorer.hours(scores, minutes)
    assert hours is not None
    assert ((hours >= 6.5) == (scores >= 0.5)).all()


def test_served_members_are_the_detectors_and_give_its_reasons(
    ensemble: EnsembleDetector, served: Path, unseen: pl.DataFrame
) -> None:
    scorer, some = load_row_scorer(served), unseen.head(40)
    classifier = load_row_scorer(served / "members" / "1_anomaly_classifier")
    minutes = Minutes.of_frame(some, scorer.features)
    own = Minutes.of_frame(some, classifier.features)
    assert classifier.score(own) == pytest.approx(ensemble.members[1].score(some), abs=1e-6)
    names, found = scorer.contributions(minutes)
    expected_names, expected = ensemble.contributions(some)
    assert names == expected_names
    assert np.abs(classifier.contributions(own)[1] - ensemble.members[1].contributions(some)[1]).max() <= 1e-9
    # They add up to the margin of the members as served, whose scores are in single precision.
    assert np.abs(found - expected).max() <= 1e-6


@pytest.mark.long
def test_serving_an_ensemble_imports_neither_what_fitted_it_nor_what_explains_it(served: Path) -> None:
    code = f"""
import sys
from pathlib import Path
import serving.app, serving.deployment
from serving.loader import Scorer
from serving.schemas import parse_rows
scorer = Scorer.load(Path({str(served)!r}), name="ensemble", version="1")
scorer.warm_up()
body = b'{{"symbol": "AAPL", "event_time": "2024-03-05T15:31:00Z", "volume_ratio": 500.0, "return_bps": -900.0}}'
(verdict,) = scorer.judged(scorer.minutes_of(parse_rows(body, scorer.features)), reasons=True).verdicts()
assert verdict.one_in_hours > 0 and verdict.reasons
heavy = {{"sklearn", "shap", "tensorflow", "keras", "jax", "torch", "numba", "scipy", "mlflow", "dagster"}}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_ensemble_whose_graph_scores_otherwise_is_not_packaged(
    ensemble: EnsembleDetector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensemble.save(tmp_path / "saved")
    other = length_graph(detectors.fitted().forest).SerializeToString()
    monkeypatch.setitem(loading._MADE, "isolation_forest", (lambda _: other, forest_paths))
    with pytest.raises(DetectorError, match="as it would be served, differs from the detector by"):
        write_graphs(tmp_path / "saved", tmp_path / "graphs")
