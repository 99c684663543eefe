"""The champion is packaged and named, and so is its challenger, which has no Bento until it is champion."""

from pathlib import Path

import dagster as dg
import pytest

from assets.serving.bento import anomaly_bento
from resources.mlflow_registry import CHALLENGER
from resources.profiles import resources_for
from resources.stores import ModelRegistryResource
from serving.bento import build_bento
from serving.store import CHALLENGER as SHADOWED
from serving.store import CHAMPION, StoredBento, StoredModel, pointed
from tapewatch.settings import Settings
from tests.support.registry import NAME, Parts


@pytest.mark.slow
def test_the_champion_is_packaged_and_its_challenger_beside_it(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    for number in (1, 2):
        parts.version(tmp_path / f"v{number}")
    home = tmp_path / "bentoml"
    registry = ModelRegistryResource(
        tracking_uri=parts.registry.tracking_uri, artifact_root=parts.registry.artifact_root
    )
    resources = {**resources_for(Settings(home=tmp_path, _env_file=None)), "model_registry": registry}

    parts.registry.set_champion(NAME, 1)
    parts.registry.connect().set_registered_model_alias(NAME, CHALLENGER, "2")
    dg.materialize([anomaly_bento], resources=resources)
    bento = StoredBento.latest(home)
    assert bento is not None
    assert bento.tag == "tapewatch_scoring:isolation_forest-1"
    assert (pointed(home, CHAMPION), pointed(home, SHADOWED)) == ("isolation_forest-1", "isolation_forest-2")
    stored = StoredModel.find(home, "isolation_forest-2")
    assert stored is not None
    written = (stored.folder / "isolation_forest.onnx").stat().st_mtime_ns
    facts = {"mlflow_run": stored.lineage["mlflow_run"]}
    with parts.registry.files(f"models:/{NAME}/2") as folder:
        build_bento(folder, name=NAME, version="2", metadata=facts, bento_home=home)
    assert pointed(home, CHAMPION) == "isolation_forest-2"
    assert (stored.folder / "isolation_forest.onnx").stat().st_mtime_ns == written, (
        "a model in use is not written again"
    )
