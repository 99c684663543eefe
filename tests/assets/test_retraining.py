"""Training over a champion that an upgrade has left unusable."""

from collections.abc import Iterator
from typing import Any

import mlflow
import polars as pl
import pytest

from assets.models import training
from assets.models.validation import ValidationDays
from models import manifest
from models.base import DetectorError
from models.isolation_forest.detector import IsolationForestDetector
from resources.mlflow_registry import ModelRegistry
from tapewatch.market.tables.tape import TRUTH_LABELS
from tests.support.detectors import ordinary_rows

pytestmark = pytest.mark.slow

NAME = "isolation_forest"
DAYS = {"train": ["2024-06-03|stocks"], "validation": ["2024-06-04|stocks"]}


@pytest.fixture
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelRegistry]:
    before, folder = mlflow.get_tracking_uri(), tmp_path_factory.mktemp("mlflow")
    yield ModelRegistry(f"sqlite:///{folder}/mlflow.db", (folder / "artifacts").as_uri())
    mlflow.set_tracking_uri(before)


def test_a_new_detector_replaces_a_champion_of_an_earlier_release(
    registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = ordinary_rows()
    first = rows.row(0, named=True)
    minute = pl.DataFrame({name: [first[name]] for name in ("symbol", "event_time", "known_time")}).with_columns(
        event_id=pl.lit("one"), kind=pl.lit("price_jump"), start_time="event_time", end_time="known_time"
    )
    days = ValidationDays(rows, TRUTH_LABELS.conform(minute), "source")

    def trained() -> dict[str, Any]:
        fitted = training.fit(registry, NAME, rows, DAYS, {"trees": 10, "seed": 1})
        return {"run_id": fitted.run_id, "model_uri": fitted.model_uri, **DAYS}

    old = trained()
    registry.set_champion(NAME, int(registry.register(NAME, old["model_uri"], old["run_id"]).version))
    assert "champion_average_precision" in training.validate(registry, NAME, trained(), days).metrics
    following = manifest.CATALOG_VERSION + 1
    monkeypatch.setattr(manifest, "CATALOG_VERSION", following)
    new = trained()
    champion = registry.champion(NAME)
    assert champion is not None
    with pytest.raises(DetectorError, match="feature catalog"):
        registry.load(champion.uri)
    assert registry.usable_champion(NAME, IsolationForestDetector.load) is None
    metrics = training.validate(registry, NAME, new, days).metrics
    assert "average_precision" in metrics
    assert "champion_average_precision" not in metrics
