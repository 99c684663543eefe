"""Dagster's definitions are complete and described, and building them opens no connection."""

import datetime as dt
import os
import socket
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from assets.partitions import first_day
from orchestration.definitions import build_definitions
from tapewatch.settings import Settings

ASSETS = {
    "detections/anomalies",
    "explanations/isolation_forest_shap",
    "features/microstructure",
    "labels/barrier_labels",
    "labels/training_set",
    "labels/truth_labels",
    "models/champion",
    "models/evaluation",
    "models/isolation_forest",
    "reports/profile",
    "serving/anomaly_bento",
    "tape/bars",
    "tape/coverage",
    "tape/quotes",
    "tape/stream_batches",
    "tape/trades",
}
CHECKS = {
    "detections/anomalies": {"schema", "keys_unique"},
    "features/microstructure": {"schema", "keys_unique", "no_look_ahead"},
    "labels/barrier_labels": {"schema", "keys_unique"},
    "labels/training_set": {"schema", "keys_unique"},
    "labels/truth_labels": {"schema", "keys_unique"},
    "models/evaluation": {"beats_trivial_rule"},
    "reports/profile": {"schema", "keys_unique"},
    "tape/bars": {"schema", "keys_unique", "inside_session", "ohlc_consistent", "agree_with_delivered"},
    "tape/coverage": {"schema", "keys_unique", "gaps", "no_old_gaps"},
    "tape/quotes": {"schema", "keys_unique", "inside_session", "rows_match_source", "crossed"},
    "tape/stream_batches": {"schema", "keys_unique"},
    "tape/trades": {
        "schema", "keys_unique", "inside_session", "rows_match_source", "prices_and_sizes", "aggressor_agreement",
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    return build_definitions(Settings(home=tmp_path_factory.mktemp("home"), _env_file=None))


def test_every_asset_job_schedule_and_sensor(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    assert {key.to_user_string() for key in graph.materializable_asset_keys} == ASSETS
    repository = definitions.get_repository_def()
    assert {job for job in repository.job_names if not job.startswith("__")} == {
        "backfill_tape",
        "build_features",
        "certify_days",
        "detect_anomalies",
        "ingest_stream",
        "profile_tape",
        "train_detectors",
        "update_day",
    }
    assert {schedule.name for schedule in repository.schedule_defs} == {
        "detect_anomalies_daily",
        "old_gaps_daily",
        "train_detectors_weekly",
        "update_day_daily",
    }
    assert {sensor.name for sensor in repository.sensor_defs} == {"new_flat_files_sensor", "stream_spool_sensor"}


def test_every_check(definitions: dg.Definitions) -> None:
    found: dict[str, set[str]] = {}
    for key in definitions.resolve_asset_graph().asset_check_keys:
        found.setdefault(key.asset_key.to_user_string(), set()).add(key.name)
    assert found == CHECKS


def test_every_asset_has_a_description_owner_kind_and_version(definitions: dg.Definitions) -> None:
    for spec in definitions.resolve_all_asset_specs():
        assert spec.description, spec.key
        assert spec.owners, spec.key
        assert spec.kinds, spec.key
        assert spec.code_version, spec.key
        if "parquet" in spec.kinds:
            columns = spec.metadata["dagster/column_schema"].columns
            assert all(column.description for column in columns), spec.key


def test_every_job_schedule_and_sensor_has_a_description(definitions: dg.Definitions) -> None:
    repository = definitions.get_repository_def()
    jobs = [repository.get_job(name) for name in repository.job_names if not name.startswith("__")]
    for one in (*jobs, *repository.schedule_defs, *repository.sensor_defs):
        assert one.description, one.name


def test_partitions_begin_where_the_setting_says(tmp_path: Path) -> None:
    start = dt.date.today() - dt.timedelta(days=9)  # noqa: DTZ011 - partitions are UTC days; a day more or less is no matter
    defs = build_definitions(Settings(home=tmp_path, partitions_start=start, _env_file=None))
    days = [spec.partitions_def for spec in defs.resolve_all_asset_specs() if spec.partitions_def]
    assert len(days) == 11
    assert {days.get_first_partition_key() for days in days} == {f"{start}|crypto"}
    assert {len(days.get_partition_keys()) for days in days} <= {10 * 6, 11 * 6, 12 * 6}
    assert first_day(defs.get_repository_def()) == start
    assert defs.resolve_job_def("update_day").partitions_def == days[0]


def test_building_definitions_opens_no_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("building the definitions opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    build_definitions(Settings(home=tmp_path / "home", _env_file=None))
    assert not (tmp_path / "home").exists()


@pytest.mark.slow
def test_the_workspace_loads_without_key_network_or_database(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("POLYGON_", "TAPEWATCH_"))}
    environment |= {"DAGSTER_HOME": str(tmp_path), "TAPEWATCH_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate", "-w", "workspace.yaml"],
        cwd=Path(__file__).resolve().parents[2],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
