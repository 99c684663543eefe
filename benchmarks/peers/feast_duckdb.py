"""A point-in-time join by Feast's DuckDB store: JSON on standard input; seconds, CPU seconds and the sum of the first feature as JSON on standard output.

Input: folder (for the registry), source (Parquet files), asked (entity rows in Parquet), features (how many).
"""

import datetime as dt
import json
import sys
import time
from pathlib import Path

import pandas as pd
import pyarrow.compute as pc
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.repo_config import RepoConfig
from feast.types import Float64


def store_of(folder: Path) -> FeatureStore:
    """A store with its registry in a folder, which is created."""
    folder.mkdir(parents=True, exist_ok=True)
    return FeatureStore(
        config=RepoConfig(
            project="peer",
            provider="local",
            registry=str(folder / "registry.db"),
            online_store={"type": "sqlite", "path": str(folder / "online.db")},
            offline_store={"type": "duckdb"},
            entity_key_serialization_version=3,
            repo_path=folder,
        )
    )


def main() -> None:
    given = json.load(sys.stdin)
    symbol = Entity(name="symbol", join_keys=["symbol"], value_type=ValueType.STRING)
    source = FileSource(
        name="wide", path=given["source"], timestamp_field="event_time", created_timestamp_column="known_time"
    )
    view = FeatureView(
        name="wide",
        entities=[symbol],
        ttl=dt.timedelta(days=1),
        source=source,
        schema=[Field(name=f"f{number:03d}", dtype=Float64) for number in range(given["features"])],
    )
    store = store_of(Path(given["folder"]))
    store.apply([symbol, view, FeatureService(name="wide", features=[view])])
    asked = pd.read_parquet(given["asked"])
    service = store.get_feature_service("wide")
    begun, begun_cpu = time.perf_counter(), time.process_time()
    found = store.get_historical_features(asked, service, filter_by_created_timestamp=True).to_arrow()
    seconds, cpu = time.perf_counter() - begun, time.process_time() - begun_cpu
    json.dump({"seconds": seconds, "cpu": cpu, "sum": pc.sum(found["f000"]).as_py()}, sys.stdout)


if __name__ == "__main__":
    main()
