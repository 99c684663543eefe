"""`tapewatch models` and `explain`, from promotion to rollback."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import mlflow
import polars as pl
import pytest
from typer.testing import CliRunner, Result

from models.promotion.gates import Gate
from orchestration.cli.app import app
from resources.mlflow_registry import ModelRegistry, RegisteredModel
from tapewatch.market.instruments import Partition
from tapewatch.market.tables.live import SHADOW_MINUTES
from tapewatch.settings import Settings
from tapewatch.store.database.database import Database
from tapewatch.streaming.detection.champion import file_of, published_model
from tapewatch.streaming.detection.shadow import Shadow
from tests.support.detectors import ordinary_rows
from tests.support.registry import NAME, Parts

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    """A home with three versions."""
    before, folder = mlflow.get_tracking_uri(), tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        # MLflow leaves the address of the last registry there.
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        settings = Settings(home=folder, _env_file=None)
    made = Parts(folder)
    made.registry = ModelRegistry(settings.tracking_uri, settings.artifact_root)
    for number in range(3):
        made.version(tmp_path_factory.mktemp(f"version{number}"))
    yield made
    mlflow.set_tracking_uri(before)


@pytest.fixture
def home(parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Parts:
    for name in ("TAPEWATCH_DATABASE_URL", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TAPEWATCH_HOME", str(parts.home))
    return parts


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def refusal(*arguments: str) -> str:
    result = run(*arguments)
    assert result.exit_code == 1
    return result.stderr


def judged(parts: Parts, version: int, *, passes: bool, champion: int | None) -> None:
    """Log gates to a version's run."""
    found = parts.registry.version(NAME, version)
    assert isinstance(found, RegisteredModel)
    gate = Gate(
        "recall", passes, "it finds 60 % and the champion 50 %" if passes else "it finds 40 % and the champion 50 %"
    )
    with parts.registry.run(NAME, run_id=found.run_id):
        parts.registry.log_gates({"champion": champion, "gates": {"recall": asdict(gate)}})


def test_from_promotion_to_rollback(home: Parts) -> None:
    assert "was registered by an earlier Tapewatch" in refusal("models", "compare", NAME, "1")
    assert "was never judged" in refusal("models", "promote", NAME, "1")
    assert "isolation_forest has no version 9; its versions are: 3, 2, 1" in refusal("models", "promote", NAME, "9")
    judged(home, 1, passes=True, champion=None)
    judged(home, 2, passes=True, champion=1)
    judged(home, 3, passes=False, champion=2)
    assert "isolation_forest/1 is champion: it finds 60 %" in run("models", "promote", NAME, "1").stderr
    assert "isolation_forest/2 is champion" in run("models", "promote", NAME, "2").stderr
    # Collectors score with it from now on.
    handed = file_of(Settings().champions, "minutes")
    assert published_model(handed) == f"{NAME}/2"
    assert "isolation_forest/3 stays as it is: refused by the gate recall: it finds 40 %" in refusal(
        "models", "promote", NAME, "3"
    )
    shadow = Shadow(f"{NAME}/2", f"{NAME}/3")
    flags = ordinary_rows().select(pl.col("symbol").cast(pl.String), "event_time", is_flagged=pl.lit(value=False))
    with Database(Settings().database) as database:
        database.upsert(SHADOW_MINUTES, Partition.parse("2024-06-03|stocks"), shadow.add(flags, flags.head(30)))
    said = run("models", "compare", NAME, "3").stdout
    assert "it finds 40 %" in said
    assert " ".join(said.splitlines()[-1].split()) == f"{NAME}/2 0.5 30 100.00% 0 0 0 0"
    assert (
        "isolation_forest/1 is champion again" in run("models", "rollback", NAME, "--reason", "too many alerts").stderr
    )
    assert published_model(handed) == f"{NAME}/1"
    assert "version 1 is the champion of isolation_forest already" in refusal("models", "rollback", NAME, "--to", "1")
    listed = {row["version"]: row["is"] for row in json.loads(run("models", "list", "--format", "json").stdout)}
    assert listed[1] == "champion"
    entries = json.loads(run("models", "history", NAME, "--format", "json").stdout)
    assert [(entry["action"], entry["version"]) for entry in entries] == [
        ("promoted", 1), ("promoted", 2), ("refused", 3), ("rolled_back", 1),
    ]  # fmt: skip
    assert entries[-1]["reason"] == "too many alerts"
    assert "isolation_forest/1" in run("models", "history", NAME, "--at", "2099-01-01").stderr
    assert "had no champion at" in run("models", "history", NAME, "--at", "2001-01-01").stderr
    assert "4 entries, each following the one before" in run("models", "history", "--verify").stderr
    home.registry.set_champion(NAME, 3)
    assert "the history says that version 1 is champion, MLflow's alias is at 3" in refusal(
        "models", "history", "--verify"
    )


def test_an_unknown_event_is_refused(home: Parts) -> None:
    assert "there is no alert 'nothing'" in refusal("explain", "nothing")
