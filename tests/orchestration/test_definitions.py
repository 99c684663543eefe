"""Dagster's definitions are complete and described, and building them opens no connection."""

import datetime as dt
import os
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import dagster as dg
import pytest
import yaml

from assets.shared.partitions import first_day
from orchestration.definitions import build_definitions
from orchestration.home import LOCATION
from tapewatch.settings import Settings

CHECKOUT = Path(__file__).resolve().parents[2]
ASSETS = {
    "detections/anomalies",
    "detections/anomaly_patterns",
    "detections/drift",
    "detections/incidents",
    "detections/market_microstructure",
    "explanations/anomaly_classifier_report",
    "explanations/ensemble_report",
    "explanations/isolation_forest_report",
    "explanations/isolation_forest_shap",
    "explanations/lstm_autoencoder_report",
    "feature_store/online",
    "feature_store/registry",
    "features/bins_5s",
    "features/correlations",
    "features/cross_asset",
    "features/indicators",
    "features/microstructure",
    "features/microstructure_more",
    "features/regimes",
    "features/seasonality",
    "labels/barrier_labels",
    "labels/human_labels",
    "labels/meta_labels",
    "labels/training_set",
    "labels/truth_labels",
    "labels/weak_labels",
    "labels/weights",
    "models/anomaly_classifier",
    "models/champion",
    "models/comparison",
    "models/ensemble",
    "models/evaluation",
    "models/isolation_forest",
    "models/lstm_autoencoder",
    "models/scan",
    "models/scan_champion",
    "models/scan_evaluation",
    "reports/profile",
    "serving/anomaly_bento",
    "serving/replayed_requests",
    "tape/bars",
    "tape/continuous_bars",
    "tape/coverage",
    "tape/information_bars",
    "tape/quotes",
    "tape/stream_batches",
    "tape/trades",
    "trading/backtest",
    "trading/paper_portfolio",
    "trading/signals",
    "trading/walk_forward",
}
CHECKS = {
    "detections/anomalies": {"schema", "keys_unique"},
    "detections/anomaly_patterns": {"schema", "keys_unique"},
    "detections/drift": {"schema", "keys_unique"},
    "detections/incidents": {"schema", "keys_unique"},
    **{
        f"explanations/{name}_report": {"attributions_add_up"}
        for name in ("anomaly_classifier", "ensemble", "isolation_forest", "lstm_autoencoder")
    },
    "feature_store/online": {"equals_offline"},
    "features/bins_5s": {"schema", "keys_unique", "no_look_ahead"},
    "features/correlations": {"schema", "keys_unique", "no_look_ahead"},
    "features/cross_asset": {"schema", "keys_unique", "no_look_ahead"},
    "features/indicators": {"schema", "keys_unique", "no_look_ahead"},
    "features/microstructure": {"schema", "keys_unique", "no_look_ahead"},
    "features/microstructure_more": {"schema", "keys_unique", "no_look_ahead"},
    "features/regimes": {"schema", "keys_unique", "no_look_ahead"},
    "features/seasonality": {"schema", "keys_unique", "no_look_ahead"},
    "labels/barrier_labels": {"schema", "keys_unique", "no_look_ahead"},
    "labels/human_labels": {"schema", "keys_unique"},
    "labels/meta_labels": {"schema", "keys_unique", "no_look_ahead"},
    "labels/training_set": {"schema", "keys_unique"},
    "labels/truth_labels": {"schema", "keys_unique"},
    "labels/weak_labels": {"schema", "keys_unique"},
    "labels/weights": {"schema", "keys_unique", "no_look_ahead"},
    "models/evaluation": {"beats_trivial_rule"},
    "reports/profile": {"schema", "keys_unique"},
    "serving/replayed_requests": {"schema", "keys_unique", "vectors_equal_as_of_join", "scores_repeat"},
    "tape/bars": {"schema", "keys_unique", "inside_session", "ohlc_consistent", "agree_with_delivered"},
    "tape/continuous_bars": {"schema", "keys_unique", "no_look_ahead"},
    "tape/coverage": {"schema", "keys_unique", "gaps", "no_old_gaps", "up_to_date"},
    "tape/information_bars": {"schema", "keys_unique", "no_look_ahead"},
    "tape/quotes": {"schema", "keys_unique", "inside_session", "rows_match_source", "crossed"},
    "tape/stream_batches": {"schema", "keys_unique"},
    "tape/trades": {
        "schema", "keys_unique", "inside_session", "rows_match_source", "prices_and_sizes", "aggressor_agreement",
    },
    "trading/backtest": {"schema", "keys_unique", "no_look_ahead"},
    "trading/signals": {"schema", "keys_unique", "no_look_ahead"},
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
        "backtest_signals",
        "build_features",
        "certify_days",
        "check_freshness",
        "collect_labels",
        "detect_anomalies",
        "explain_models",
        "ingest_stream",
        "measure_drift",
        "judge_strategies",
        "profile_tape",
        "refresh_feature_store",
        "replay_requests",
        "report_paper",
        "scan_days",
        "train_detectors",
        "update_day",
    }
    assert {schedule.name for schedule in repository.schedule_defs} == {
        "detect_anomalies_daily",
        "explain_models_weekly",
        "freshness_daily",
        "measure_drift_daily",
        "old_gaps_daily",
        "replay_requests_daily",
        "train_detectors_daily",
        "update_day_daily",
    }
    sensors = {"drift_sensor", "new_flat_files_sensor", "new_labels_sensor", "stream_spool_sensor"}
    assert {sensor.name for sensor in repository.sensor_defs} == sensors


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


def test_freshness_is_stated_for_all_that_a_schedule_renews(definitions: dg.Definitions) -> None:
    without = {s.key.to_user_string() for s in definitions.resolve_all_asset_specs() if s.freshness_policy is None}
    trading = {f"trading/{name}" for name in ("signals", "backtest", "walk_forward", "paper_portfolio")}
    feature_store = {"feature_store/online", "feature_store/registry"}
    assert without == {"tape/stream_batches", "reports/profile"} | feature_store | trading


def test_the_check_of_all_days_is_run_alone(definitions: dg.Definitions) -> None:
    check = dg.AssetCheckKey(dg.AssetKey(["tape", "coverage"]), "up_to_date")
    repository = definitions.get_repository_def()
    jobs = (repository.get_job(name) for name in repository.job_names if not name.startswith("__"))
    assert [job.name for job in jobs if check in job.asset_layer.asset_graph.asset_check_keys] == ["check_freshness"]


def test_dg_finds_the_code_location() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["dg"]["project"]
    (location,) = yaml.safe_load((CHECKOUT / "workspace.yaml").read_text())["load_from"]
    assert project["code_location_target_module"] == location["python_module"]["module_name"]
    assert project["code_location_name"] == location["python_module"]["location_name"] == LOCATION


def test_partitions_begin_where_the_setting_says(tmp_path: Path) -> None:
    start = dt.date.today() - dt.timedelta(days=9)  # noqa: DTZ011 - partitions are UTC days; a day more or less is no matter
    defs = build_definitions(Settings(home=tmp_path, partitions_start=start, _env_file=None))
    days = [spec.partitions_def for spec in defs.resolve_all_asset_specs() if spec.partitions_def]
    assert len(days) == 31
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
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
