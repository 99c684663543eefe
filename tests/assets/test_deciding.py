"""The ensemble in a real registry: fitted from registered members, judged by the gates, promoted, handed to collectors, retired."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import mlflow
import polars as pl
import pytest

from assets.models import combining, training
from assets.models.deciding import Deciding, Demands, decide, retire_outranked, shadow
from assets.models.forest import CLASSIFIER, ENSEMBLE, MINUTES, MODEL
from assets.models.validation import ValidationDays
from models.base import DetectorError
from models.loading import load_detector
from models.promotion.gates import Gate
from resources.hand_over import hand_over
from resources.mlflow_registry import ModelRegistry
from resources.promotion import Promoter
from tapewatch.market.instruments import Partition
from tapewatch.market.tables.live import SHADOW_MINUTES
from tapewatch.market.tables.tape import TRUTH_LABELS
from tapewatch.store.database.database import Database
from tapewatch.store.database.model_history import history
from tapewatch.streaming.detection.champion import file_of, published_model, read_champion
from tapewatch.streaming.detection.shadow import Shadow
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


def test_an_ensemble_does_without_a_member_that_was_not_fitted(
    registry: ModelRegistry, ensemble: dict[str, Any]
) -> None:
    assert ensemble["members"] == [MODEL]
    recorded = registry.connect().get_run(ensemble["run_id"])
    assert recorded.info.run_name == "ensemble, fitted on 2024-06-03"
    assert {"code_version", "seed", "lock_file_sha256", "mlflow.note.content"} <= recorded.data.tags.keys()
    assert recorded.data.params[f"run_of/{MODEL}"] == registry.versions(MODEL)[0].run_id
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


@pytest.fixture(scope="module")
def days() -> ValidationDays:
    """A day with one anomaly of three minutes in each symbol."""
    rows = ordinary_rows(seed=9)
    parts = rows.partition_by("symbol", maintain_order=True)
    odd = pl.concat(part.slice(60, 3) for part in parts)
    truth = odd.select("symbol", "event_time", "known_time").with_columns(
        event_id=pl.col("symbol").cast(pl.String),
        kind=pl.lit("price_jump"),
        start_time=pl.col("event_time").min().over("symbol"),
        end_time=pl.col("known_time").max().over("symbol"),
    )
    changed = pl.concat([extreme(odd), rows.join(odd, on=["symbol", "event_time"], how="anti")])
    return ValidationDays(changed.sort("symbol", "event_time"), TRUTH_LABELS.conform(truth), "source")


def test_it_passes_the_gates_with_the_others_of_its_days(
    registry: ModelRegistry, forest: dict[str, Any], ensemble: dict[str, Any], days: ValidationDays, promoter: Promoter
) -> None:
    table, why = combining.compare(registry, {ENSEMBLE: ensemble}, days, forest=forest)
    assert why == ""
    assert table.filter(pl.col("kind").cast(pl.String) == "all")["found"].to_list() == [2]
    assert registry.metrics(ensemble["run_id"])["average_precision"] > 0.5
    logged = registry.gates(ensemble["run_id"])
    assert logged is not None
    gates = logged["gates"]
    assert list(gates) == ["recall", "rival", "look_ahead", "calibration", "size", "latency", "onnx", "losing"]
    assert gates["recall"]["words"] == "there was no champion to compare it with"
    assert "its rival 100.0% at" in gates["rival"]["words"]
    assert "times the one in 13 hours that is set" in gates["calibration"]["words"]
    outcome = decide(registry, promoter.database, ENSEMBLE, ensemble)
    assert outcome.is_promoted, outcome.reason
    assert str(registry.first_champion(*MINUTES)) == f"{ENSEMBLE}/1"
    assert promoter.faults() == []
    # The same again gains nothing.
    references = {MODEL: forest, CLASSIFIER: {"not_fitted": "too little to learn from"}}
    again = combining.fit_ensemble(registry, ordinary_rows(), references, [MODEL], 13.0)
    combining.compare(registry, {ENSEMBLE: again}, days, forest=forest)
    refused = decide(registry, promoter.database, ENSEMBLE, again)
    assert not refused.is_promoted
    assert "refused by the gate recall: it finds 100.0% of the anomalies and the champion 100.0%" in refused.reason
    assert registry.challenger(ENSEMBLE) == refused.candidate
    assert [entry["action"] for entry in history(promoter.database, ENSEMBLE)] == ["promoted", "refused"]


def test_days_without_an_anomaly_judge_nothing(
    registry: ModelRegistry, ensemble: dict[str, Any], days: ValidationDays
) -> None:
    nothing, why = combining.compare(
        registry, {ENSEMBLE: ensemble}, ValidationDays(ordinary_rows(seed=9), TRUTH_LABELS.empty(), "source")
    )
    assert nothing.is_empty()
    assert "needs both kinds" in why


def test_a_challenger_waits_in_the_shadow_where_that_is_asked_for(
    registry: ModelRegistry, promoter: Promoter, tmp_path: Path
) -> None:
    champion, challenger = registry.champion(ENSEMBLE), registry.challenger(ENSEMBLE)
    assert champion is not None
    assert challenger is not None
    deciding = Deciding(registry, promoter.database, challenger, Demands(shadow_hours=0.05))
    assert shadow(replace(deciding, demands=Demands())) is None
    waiting = shadow(deciding)
    assert waiting is not None
    assert not waiting.has_passed
    assert waiting.words == "it scored 0.0 hours of live minutes in the shadow; at least 0.05 are asked for"
    seen = Shadow(str(champion), str(challenger))
    flags = (
        ordinary_rows().select(pl.col("symbol").cast(pl.String), "event_time", is_flagged=pl.lit(value=False)).head(3)
    )
    promoter.database.upsert(SHADOW_MINUTES, Partition.parse(DAYS["train"][0]), seen.add(flags, flags))
    passed = shadow(deciding)
    assert passed is not None
    assert passed.has_passed
    # What collectors look for.
    hand_over(registry, tmp_path, MINUTES)
    files = [file_of(tmp_path, name) for name in ("minutes", "minutes_challenger")]
    assert [published_model(file) for file in files] == [str(champion), str(challenger)]
    rows = ordinary_rows(seed=5).head(30)
    found = read_champion(files[0], load_detector).detector.score(rows)
    assert (found == registry.load_any(champion.uri).score(rows)).all()
    registry.set_champion(ENSEMBLE, challenger.version)
    hand_over(registry, tmp_path, MINUTES)
    assert published_model(files[0]) == str(challenger)
    assert not files[1].exists()
    registry.set_champion(ENSEMBLE, champion.version)


def test_a_rival_that_is_proven_better_takes_the_champion_s_place(
    registry: ModelRegistry, ensemble: dict[str, Any], promoter: Promoter
) -> None:
    rival = registry.champion(MODEL)
    assert rival is not None
    for high, is_retired in ((0.1, False), (-0.1, True)):
        gate = Gate("rival", high >= 0, f"under {high}", high, 0.0)
        with registry.run(ENSEMBLE, run_id=ensemble["run_id"]):
            registry.log_gates({"champion": 1, "gates": {}, "champion_beside_rival": asdict(gate)})
        reason = retire_outranked(promoter, ENSEMBLE, ensemble, rival)
        assert reason == (f"{rival} would score minutes better: under -0.1" if is_retired else None)
    assert str(registry.first_champion(*MINUTES)) == str(rival)
    assert retire_outranked(promoter, CLASSIFIER, {"not_fitted": "why"}, rival) is None


def test_a_registered_version_is_found_by_name(registry: ModelRegistry, ensemble: dict[str, Any]) -> None:
    assert ensemble["run_id"]
    found = registry.registered(f"{ENSEMBLE}/1", load_detector)
    assert found is not None
    assert found.name == ENSEMBLE
    assert registry.registered(f"{ENSEMBLE}/99", load_detector) is None
