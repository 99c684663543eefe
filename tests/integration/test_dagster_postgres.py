"""Dagster's runs and events in a real PostgreSQL, chosen by the environment."""

from pathlib import Path

import dagster as dg
import pytest

from orchestration.home import instance
from tapewatch.settings import Settings
from tests.support.postgres import postgres

pytestmark = pytest.mark.slow


@dg.asset
def one() -> int:
    return 1


def test_a_finished_run_is_stored_in_postgresql(tmp_path: Path) -> None:
    with postgres() as url:
        settings = Settings(home=tmp_path / "home", dagster_postgres_url=url, _env_file=None)
        with instance(settings) as opened:
            assert type(opened.run_storage).__name__ == "PostgresRunStorage"
            result = dg.materialize([one], instance=opened)
            assert result.success
            run = opened.get_run_by_id(result.run_id)
            assert run is not None
            assert run.status is dg.DagsterRunStatus.SUCCESS
        with instance(settings) as reopened:
            assert reopened.get_latest_materialization_event(dg.AssetKey("one")) is not None
        config = (settings.dagster_home / "dagster.yaml").read_text()
        assert url not in config, "the URL holds a password and stays in the environment"
