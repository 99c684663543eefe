"""Feast's own command line runs on the repository, unmodified: it applies, lists, materializes and monitors."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from feast import FeatureStore
from feast.cli.cli import cli

from tapewatch.features.catalog import CATALOG_VERSION, NAMES
from tapewatch.market.tables.tape import MICROSTRUCTURE
from tests.support.feature_lake import write_features

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_feast_runs_on_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_features(tmp_path)
    monkeypatch.setenv("TAPEWATCH_HOME", str(tmp_path))
    for name in ("TAPEWATCH_REDIS_URL", "TAPEWATCH_ONLINE_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    executable = Path(sys.executable).with_name("feast")
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT)}
    subprocess.run([executable, "-c", "feature_repo", "apply"], cwd=CHECKOUT, env=environment, check=True)

    def feast(*arguments: str) -> str:
        # In this process: a new one imports Feast for seconds.
        done = CliRunner().invoke(cli, ["-c", str(CHECKOUT / "feature_repo"), *arguments], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    assert "symbol_microstructure_1m" in feast("feature-views", "list")
    feast("materialize", "2024-03-05T00:00:00", "2024-03-05T15:00:00")
    feast("materialize-incremental", "2024-03-05T20:00:00")
    one = ("-v", "symbol_bins_5s", "--start-date", "2024-03-05", "--end-date", "2024-03-05", "-g", "daily")
    assert "Features computed: 12" in feast("monitor", "run", *one)
    assert (tmp_path / "feast" / "feast_monitoring").is_dir()

    store = FeatureStore(repo_path=str(CHECKOUT / "feature_repo"))
    view = store.get_feature_view("symbol_microstructure_1m")
    assert set(NAMES) <= {field.name for field in view.features} <= set(MICROSTRUCTURE.schema)
    service = store.get_feature_service(f"isolation_forest_v{CATALOG_VERSION}")
    assert {feature.name for feature in service.feature_view_projections[0].features} == set(NAMES)
    asked = pd.DataFrame({"symbol": ["AAA"], "event_timestamp": [pd.Timestamp("2024-03-05T20:00:00", tz="UTC")]})
    trained = store.get_historical_features(asked, service).to_arrow().to_pylist()[0]
    served = store.get_online_features(service, [{"symbol": "AAA"}]).to_dict()
    assert {name: trained[name] for name in NAMES} == {name: served[name][0] for name in NAMES}
    assert any(trained[name] for name in NAMES)
