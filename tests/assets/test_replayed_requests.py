"""The nightly replay: vectors from the online store are the lake's as-of join, scores repeat, and what differs is named."""

import datetime as dt
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from starlette.testclient import TestClient

from assets.serving.bento import replayed_requests
from resources.profiles import resources_for
from resources.stores import FeatureStoreResource
from serving.app import application
from serving.traffic.log import read_traffic
from tapewatch.market.tables.serving import REPLAYED_REQUESTS
from tapewatch.market.tables.tape import MICROSTRUCTURE
from tapewatch.settings import Settings
from tapewatch.store.lake.lake import Lake
from tapewatch.store.lake.versions import forget
from tests.support.feature_lake import PARTITION, write_features
from tests.support.scoring import deployment_of, save_detector

pytestmark = pytest.mark.slow
YEAR_S = 31_536_000.0


def ask(home: Path, model: Path, rows: pl.DataFrame) -> None:
    """Requests by symbol and by row, sampled, as if they had come on the day itself: one before its last minutes were known."""
    deployment = deployment_of(model, home, scoring_sample=1.0, scoring_log_requests=False)
    with TestClient(application(deployment), base_url="http://127.0.0.1") as client:
        by_symbol = {"symbols": ["AAA", "BBB"], "max_age_s": YEAR_S, "time": "2024-12-31T00:00:00Z"}
        client.post("/score_symbols", json=by_symbol).raise_for_status()
        own = {"symbol": "AAA", "event_time": rows["event_time"][40].isoformat(), "volume_ratio": 123.0}
        client.post("/score", json=own).raise_for_status()
    deployment.traffic.flush()
    deployment.vectors.close()
    now = dt.datetime.now(dt.UTC).date()
    root = home / "lake" / "serving" / "requests"
    kept = read_traffic(home / "lake", now - dt.timedelta(days=1), now)
    assert kept.height == 3
    end = PARTITION.session.regular_end
    moved = kept.with_columns(arrival_time=pl.lit(end).cast(pl.Datetime("ns", "UTC")).dt.cast_time_unit("us"))
    for file in root.glob("*/*.parquet"):
        file.unlink()
    folder = root / f"date={moved['arrival_time'][0].date()}"
    folder.mkdir(parents=True)
    moved.write_parquet(folder / "one.parquet")


def test_the_night_replays_what_was_sampled(tmp_path: Path) -> None:
    rows, _ = write_features(tmp_path)
    model = save_detector(tmp_path / "bentoml" / "models" / "tapewatch_detector" / "isolation_forest-3")
    with FeatureStoreResource(home=str(tmp_path), lake_root=str(tmp_path / "lake")).open() as features:
        features.apply()
        features.materialize()
    ask(tmp_path, model, rows)
    lake = Lake(tmp_path / "lake")
    resources = resources_for(Settings(home=tmp_path, _env_file=None))

    def replay() -> dict[str, dg.AssetCheckEvaluation]:
        done = dg.materialize([replayed_requests], resources=resources, partition_key=str(PARTITION))
        return {each.check_name: each for each in done.get_asset_check_evaluations()}

    checks = replay()
    assert all(check.passed for check in checks.values())
    assert checks["vectors_equal_as_of_join"].metadata["vectors"].value == 2
    assert checks["vectors_equal_as_of_join"].metadata["equal"].value == 1.0
    assert checks["scores_repeat"].metadata["rows"].value == 3
    # The client's own minute is the earliest: requests that arrive at one time have no order.
    found = lake.read(REPLAYED_REQUESTS, PARTITION).sort("event_time", "number", descending=[True, False])
    assert found["is_in_lake"].to_list() == [True] * 3
    assert found["differing"].to_list()[:2] == ["", ""]
    assert "volume_ratio" in found["differing"][2], "a client's own value is no fault of the store"
    assert found["lag_s"].to_list()[:2] == [0.0, 0.0]
    assert found["score_again"].to_list() == found["score"].to_list()

    # A correction that came after the requests is no fault; other features from the start are.
    lake.write(MICROSTRUCTURE, PARTITION, rows.with_columns(pl.col("trade_age_s") + 1))
    assert replay()["vectors_equal_as_of_join"].passed
    forget(lake.path(MICROSTRUCTURE, PARTITION))
    checks = replay()
    failed = checks["vectors_equal_as_of_join"]
    assert not failed.passed
    assert all(": trade_age_s" in each for each in failed.metadata["differing"].value)
    assert checks["scores_repeat"].passed
