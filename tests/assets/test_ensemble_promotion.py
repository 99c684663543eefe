"""The ensemble in a real registry: fitted from registered members, judged, promoted over the forest or not."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import polars as pl
import pytest

from assets import combining, training
from assets.ensemble_promotion import promote, promote_over
from assets.models import CLASSIFIER, ENSEMBLE, MINUTES, MODEL
from assets.validation import ValidationDays
from models.base import DetectorError
from models.loading import load_detector
from resources.mlflow_registry import ModelRegistry
from resources.promotion import Promoter
from tapewatch.market.tables import TRUTH_LABELS
from tapewatch.store.database.database import Database
from tapewatch.store.database.model_history import champion_of, history
from tests.support.detectors import extreme, ordinary_rows

pytestmark = pytest.mark.slow

DAYS = {"train": ["2024-06-03|stocks"], "validation": ["2024-06-04|stocks"]}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelRegistry]:
    before, folder = mlflow.get_tracking_uri(), tmp_path_factory.mktemp("mlflow")
    yield ModelRegistry(f"sqlite:///{folder}/mlflow.db", (folder / "artifacts").as_uri())
    mlflow.set_tracking_uri(before)


@pytest.fixture(scope="module")
def forest(registry: ModelRegistry) -> dict[str, Any]:
    fitted = training.fit(registry, MODEL, ordinary_rows(), DAYS, {"trees": 20, "seed": 1})
    registry.set_champion(MODEL, int(registry.register(MODEL, fitted.model_uri, fitted.run_id).version))
    return {"run_id": fitted.run_id, "model_uri": fitted.model_uri, "seed": 1, **DAYS}


@pytest.fixture(scope="module")
def ensemble(registry: ModelRegistry, forest: dict[str, Any]) -> dict[str, Any]:
    references = {MODEL: forest, CLASSIFIER: {"not_fitted": "too little to learn from"}}
    return combining.fit_ensemble(registry, ordinary_rows(), references, [MODEL, CLASSIFIER], 13.0)


@pytest.fixture
def promoter(registry: ModelRegistry, tmp_path: Path) -> Iterator[Promoter]:
    with Database(f"sqlite:///{tmp_path / 'tapewatch.db'}") as database:
        yield Promoter(registry, database, "a test")


def judged(registry: ModelRegistry, reference: dict[str, Any], average_precision: float) -> dict[str, Any]:
    with registry.run(ENSEMBLE, run_id=reference["run_id"]):
        mlflow.log_metric("average_precision", average_precision)
    return reference


def test_an_ensemble_does_without_a_member_that_was_not_fitted(
    registry: ModelRegistry, ensemble: dict[str, Any]
) -> None:
    assert ensemble["members"] == [MODEL]
    assert ensemble["threshold"] == pytest.approx(13.0 / 19.5)
    model = mlflow.pyfunc.load_model(ensemble["model_uri"])
    detector = registry.load_any(ensemble["model_uri"])
    rows = ordinary_rows(seed=5).head(30)
    given, expected = combining.as_pandas(detector, rows)
    assert (model.predict(given)["score"].to_numpy() == expected["score"].to_numpy()).all()
    metrics = registry.metrics(ensemble["run_id"])
    assert metrics["onnx_difference/ensemble.onnx"] <= 1e-5


def test_an_unknown_member_is_refused_by_name(registry: ModelRegistry, forest: dict[str, Any]) -> None:
    with pytest.raises(DetectorError, match="oracle cannot be a member: choose from isolation_forest, time_of_day"):
        combining.fit_ensemble(registry, ordinary_rows(), {MODEL: forest}, ["oracle"], 6.5)


def test_it_is_judged_with_the_others_of_its_days(registry: ModelRegistry, ensemble: dict[str, Any]) -> None:
    rows = ordinary_rows(seed=9)
    odd = rows.head(3)
    truth = odd.select("symbol", "event_time", "known_time").with_columns(
        event_id=pl.lit("one"),
        kind=pl.lit("price_jump"),
        start_time=pl.col("event_time").min(),
        end_time=pl.col("known_time").max(),
    )
    days = ValidationDays(pl.concat([extreme(odd), rows.slice(3)]), TRUTH_LABELS.conform(truth), "source")
    table, why = combining.compare(registry, {ENSEMBLE: ensemble}, days)
    assert why == ""
    assert table.filter(pl.col("kind").cast(pl.String) == "all")["found"].to_list() == [1]
    assert registry.metrics(ensemble["run_id"])["average_precision"] > 0.5
    nothing, why = combining.compare(
        registry, {ENSEMBLE: ensemble}, ValidationDays(rows, TRUTH_LABELS.empty(), "source")
    )
    assert nothing.is_empty()
    assert "needs both kinds" in why


def test_the_better_ranking_is_the_champion_of_minutes(
    registry: ModelRegistry, ensemble: dict[str, Any], promoter: Promoter
) -> None:
    worse = promote_over(promoter, ENSEMBLE, judged(registry, ensemble, 0.5), {"average_precision": 0.6})
    assert worse == "ensemble has an average precision of 0.500 on the validation days, and would replace one of 0.600"
    assert str(registry.first_champion(*MINUTES)) == f"{MODEL}/1"
    assert [entry["action"] for entry in history(promoter.database, ENSEMBLE)] == ["promoted", "retired"]
    assert champion_of(history(promoter.database), ENSEMBLE) is None
    assert promoter.faults() == []
    promote_over(promoter, ENSEMBLE, judged(registry, ensemble, 0.7), {"average_precision": 0.6})
    assert str(registry.first_champion(*MINUTES)) == f"{ENSEMBLE}/1"
    # What was not fitted, or not judged, changes nothing.
    assert promote(promoter, CLASSIFIER, {"not_fitted": "why"}) == "no anomaly_classifier was fitted"
    promote_over(promoter, ENSEMBLE, {"not_fitted": "why"}, {"average_precision": 0.9})
    assert str(registry.first_champion(*MINUTES)) == f"{ENSEMBLE}/1"


def test_a_registered_version_is_found_by_name(registry: ModelRegistry, ensemble: dict[str, Any]) -> None:
    assert ensemble["run_id"]
    found = registry.registered(f"{ENSEMBLE}/1", load_detector)
    assert found is not None
    assert found.name == ENSEMBLE
    assert registry.registered(f"{ENSEMBLE}/99", load_detector) is None
