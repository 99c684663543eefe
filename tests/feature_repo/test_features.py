"""Feast accepts the repository; its views have the lake's columns and the catalogue's features."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tapewatch.features.catalog import CATALOG_VERSION, NAMES
from tapewatch.market.tables import MICROSTRUCTURE

CHECKOUT = Path(__file__).resolve().parents[2]
_LIST = """
import sys
from feast import FeatureStore
store = FeatureStore(repo_path="feature_repo")
view = store.get_feature_view("symbol_microstructure_1m")
service = store.get_feature_service(sys.argv[1])
print(",".join(field.name for field in view.features))
print(",".join(feature.name for feature in service.feature_view_projections[0].features))
"""


@pytest.mark.slow
def test_feast_applies_the_repository(tmp_path: Path) -> None:
    environment = os.environ | {"TAPEWATCH_HOME": str(tmp_path), "FEAST_USAGE": "False", "PYTHONPATH": str(CHECKOUT)}
    (tmp_path / "feast").mkdir()
    feast = Path(sys.executable).with_name("feast")
    subprocess.run([feast, "-c", "feature_repo", "apply"], cwd=CHECKOUT, env=environment, check=True)
    listed = subprocess.run(
        [sys.executable, "-c", _LIST, f"isolation_forest_v{CATALOG_VERSION}"],
        cwd=CHECKOUT,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    view, service = (line.split(",") for line in listed.stdout.splitlines()[-2:])
    assert set(NAMES) <= set(view) <= set(MICROSTRUCTURE.schema)
    assert sorted(service) == sorted(NAMES)
