"""A served detector scores as the saved one, without the libraries that fitted it."""

import datetime as dt
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from models.base import DetectorError
from models.ensemble.storage import member_folders
from models.isolation_forest.detector import IsolationForestDetector
from models.served.forest import ForestScorer
from models.served.loading import load_row_scorer, write_graphs
from models.served.minutes import Minutes
from tests.support.detectors import extreme, fitted, fitted_ensemble, ordinary_rows

#: Agreement of single-precision trees with the forest.
PARITY = 1e-6


@pytest.fixture(scope="module")
def detector() -> IsolationForestDetector:
    return fitted()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, detector: IsolationForestDetector) -> Path:
    folder = tmp_path_factory.mktemp("model")
    detector.save(folder)
    write_graphs(folder, folder)
    return folder


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    """Ordinary and extreme minutes, with unknown values and symbols, and of another market."""
    noise = np.random.default_rng(8)
    ordinary = ordinary_rows(6)
    blank = ordinary.with_columns(
        pl.when(pl.Series(noise.random(ordinary.height) < 0.3)).then(None).otherwise(pl.col(name)).alias(name)
        for name in fitted_features()
    )
    unseen = ordinary.head(50).with_columns(symbol=pl.lit("NEVER", pl.Categorical))
    crypto = ordinary.head(50).with_columns(symbol=pl.lit("X:BTC-USD", pl.Categorical))
    return pl.concat([ordinary, extreme(ordinary.slice(100, 100)), blank, unseen, crypto])


def fitted_features() -> tuple[str, ...]:
    return tuple(name for name in fitted().features if name not in ("trade_age_s", "tape_age_s"))


def test_evidence_and_scores_are_those_of_the_detector(
    saved: Path, detector: IsolationForestDetector, rows: pl.DataFrame
) -> None:
    scorer = load_row_scorer(saved)
    assert isinstance(scorer, ForestScorer)
    minutes = Minutes.of_frame(rows, scorer.features)
    assert np.allclose(scorer._evidence.inputs(minutes), detector.inputs(rows), rtol=0, atol=1e-12)
    scores = scorer.score(minutes)
    assert np.abs(scores - detector.score(rows)).max() <= PARITY
    one_by_one = [scorer.score(minutes.take(slice(at, at + 1))).item() for at in range(0, len(minutes), 97)]
    assert one_by_one == scores[::97].tolist()
    assert scorer.score(minutes.take(slice(0, 0))).size == 0


def test_reasons_are_those_of_the_detector_and_so_of_shap(
    saved: Path, detector: IsolationForestDetector, rows: pl.DataFrame
) -> None:
    scorer, few = load_row_scorer(saved), rows.gather_every(5)
    names, found = scorer.contributions(Minutes.of_frame(few, scorer.features))
    expected_names, expected = detector.contributions(few)
    assert names == expected_names
    assert np.allclose(found, expected, rtol=0, atol=1e-9)
    assert np.ptp(expected) > 0.01


@pytest.mark.long
def test_reasons_of_an_ensemble_and_its_classifier_are_those_of_the_detectors(
    tmp_path: Path, rows: pl.DataFrame
) -> None:
    ensemble = fitted_ensemble()
    ensemble.save(tmp_path)
    write_graphs(tmp_path, tmp_path)
    few = rows.gather_every(5)
    (classifier,) = [member for member in ensemble.members if member.name == "anomaly_classifier"]
    kept = [load_row_scorer(folder) for folder in member_folders(tmp_path)]
    (served,) = [each for each in kept if each.manifest.detector == "anomaly_classifier"]
    names, found = served.contributions(Minutes.of_frame(few, served.features))
    assert names == classifier.features
    assert np.allclose(found, classifier.contributions(few)[1], rtol=0, atol=1e-9)
    whole = load_row_scorer(tmp_path)
    names, found = whole.contributions(Minutes.of_frame(few, whole.features))
    expected_names, expected = ensemble.contributions(few)
    assert names == expected_names
    # A member's level is that of its served score, in single precision.
    assert np.allclose(found, expected, rtol=0, atol=1e-6)
    assert np.ptp(expected) > 0.1


def test_trees_that_do_not_belong_together_are_refused(tmp_path: Path, saved: Path, rows: pl.DataFrame) -> None:
    shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
    file = tmp_path / "isolation_forest.paths.npz"
    whole = dict(np.load(file))
    for broken in (
        {**whole, "children_left": np.where(whole["children_left"] >= 0, 10**6, -1)},
        {**whole, "values": whole["values"][:, :5]},
        {name: each for name, each in whole.items() if name != "features"},
    ):
        np.savez(file, **broken)
        scorer = load_row_scorer(tmp_path)
        with pytest.raises(DetectorError, match=r"paths\.npz cannot be used"):
            scorer.contributions(Minutes.of_frame(rows.head(1), scorer.features))


def test_a_folder_without_a_graph_gives_the_same_scores(
    tmp_path: Path, saved: Path, detector: IsolationForestDetector, rows: pl.DataFrame
) -> None:
    detector.save(tmp_path)
    minutes = Minutes.of_frame(rows, detector.features)
    alone, whole = load_row_scorer(tmp_path), load_row_scorer(saved)
    assert alone.score(minutes).tolist() == whole.score(minutes).tolist()
    few = minutes.take(slice(0, 3))
    assert alone.contributions(few)[1].tolist() == whole.contributions(few)[1].tolist()


@pytest.mark.long
def test_scoring_and_reasons_import_neither_scikit_learn_nor_shap_nor_a_deep_learning_framework(saved: Path) -> None:
    code = f"""
import sys
from pathlib import Path
import serving.app, serving.deployment
from serving.loader import Scorer
from serving.schemas import parse_rows
scorer = Scorer.load(Path({str(saved)!r}), name="isolation_forest", version="3")
scorer.warm_up()
body = b'{{"symbol": "AAPL", "event_time": "2024-06-05T14:31:00Z", "volume_ratio": 500.0}}'
verdict = scorer.judged(scorer.minutes_of(parse_rows(body, scorer.features)), reasons=True).verdicts()[0]
assert verdict.is_anomaly and verdict.reasons[0].feature == "volume_ratio"
heavy = {{"sklearn", "shap", "tensorflow", "keras", "jax", "torch", "numba", "scipy", "mlflow", "feast", "dagster"}}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_changed_or_foreign_folder_is_refused(tmp_path: Path, detector: IsolationForestDetector) -> None:
    with pytest.raises(DetectorError, match="no saved detector"):
        load_row_scorer(tmp_path)
    detector.save(tmp_path)
    (tmp_path / "profile.parquet").write_bytes(b"")
    with pytest.raises(DetectorError, match=r"profile\.parquet"):
        load_row_scorer(tmp_path)


def test_a_graph_that_is_cut_short_is_refused(tmp_path: Path, detector: IsolationForestDetector) -> None:
    detector.save(tmp_path)
    write_graphs(tmp_path, tmp_path)
    path = tmp_path / "isolation_forest.onnx"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DetectorError, match="cannot be used"):
        load_row_scorer(tmp_path)


def test_minutes_survive_the_way_through_a_frame() -> None:
    rows = ordinary_rows(2).head(5).with_columns(volume_ratio=None)
    features = ("volume_ratio", "return_bps")
    minutes = Minutes.of_frame(rows, features)
    back = Minutes.of_frame(minutes.to_frame(), features)
    assert np.array_equal(minutes.values, back.values, equal_nan=True)
    assert list(minutes.times) == list(back.times)
    assert minutes.times[0].utcoffset() == dt.timedelta()
