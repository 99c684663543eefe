"""Point-in-time joins on the lake against Feast's DuckDB store, and reads and pushes of the online store.

Feast's DuckDB store needs `ibis-framework[duckdb]`, which the platform does not install; without it the ratio is left out.
"""

import argparse
import datetime as dt
import importlib.util
import resource
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
from feast import FeatureService, FeatureStore, FeatureView, Field, FileSource
from feast.repo_config import RepoConfig
from feast.types import Float64

from resources.feature_store.definitions import SYMBOL, VIEWS
from resources.feature_store.store import Features, repo_config
from tapewatch.market.schema import Table
from tapewatch.market.tables.tape import MICROSTRUCTURE

_START = dt.datetime(2024, 3, 4, tzinfo=dt.UTC)
_DAY_MINUTES = 390


def write_table(folder: Path, days: int, symbols: int, features: int) -> int:
    """A lake's table of random minutes; returns its rows."""
    generator = np.random.default_rng(0)
    rows = symbols * _DAY_MINUTES
    minutes = np.tile(np.arange(_DAY_MINUTES), symbols) * 60 * 10**9
    for day in range(days):
        date = _START + dt.timedelta(days=day)
        event = int(date.timestamp()) * 10**9 + 14 * 3600 * 10**9 + minutes
        frame = pl.DataFrame(
            {
                "symbol": np.repeat([f"S{number:05d}" for number in range(symbols)], _DAY_MINUTES),
                "event_time": event,
                "known_time": event + 60 * 10**9,
                **{f"f{number:03d}": generator.normal(size=rows) for number in range(features)},
            }
        ).with_columns(pl.from_epoch(pl.col("event_time", "known_time"), "ns").dt.replace_time_zone("UTC"))
        target = folder / "market=stocks" / f"date={date:%Y-%m-%d}" / "part.parquet"
        target.parent.mkdir(parents=True)
        frame.write_parquet(target, row_group_size=128 * 1024, compression_level=1)
    return rows * days


def entity_rows(count: int, days: int, symbols: int) -> pd.DataFrame:
    """Random symbols and times in the sessions."""
    generator = np.random.default_rng(1)
    seconds = generator.integers(0, days, count) * 86_400 + 14 * 3600 + generator.integers(0, _DAY_MINUTES * 60, count)
    return pd.DataFrame(
        {
            "symbol": [f"S{number:05d}" for number in generator.integers(0, symbols, count)],
            "event_timestamp": pd.to_datetime(int(_START.timestamp()) + seconds, unit="s", utc=True).as_unit("us"),
        }
    )


def joined_s(config: RepoConfig, source: str, features: int, rows: pd.DataFrame, *, filters: bool = False) -> float:
    """Seconds of a join through Feast."""
    feature_source = FileSource(
        name="wide", path=source, timestamp_field="event_time", created_timestamp_column="known_time"
    )
    view = FeatureView(
        name="wide",
        entities=[SYMBOL],
        ttl=dt.timedelta(days=1),
        source=feature_source,
        schema=[Field(name=f"f{number:03d}", dtype=Float64) for number in range(features)],
    )
    store = FeatureStore(config=config)
    store.apply([SYMBOL, view, FeatureService(name="wide", features=[view])])
    begun = time.perf_counter()
    service = store.get_feature_service("wide")
    options = {"filter_by_created_timestamp": True} if filters else {}
    found = store.get_historical_features(rows, service, **options).to_arrow()
    seconds = time.perf_counter() - begun
    filled = found.num_rows - found["f000"].null_count
    print(f"    {found.num_rows:,} rows x {features} features, {filled:,} filled")
    return seconds


def _duckdb_config(folder: Path) -> RepoConfig:
    return RepoConfig(
        project="peer",
        provider="local",
        registry=str(folder / "peer.db"),
        online_store={"type": "sqlite", "path": str(folder / "peer-online.db")},
        offline_store={"type": "duckdb"},
        entity_key_serialization_version=3,
        repo_path=folder,
    )


def compare(folder: Path, rows: int, days: int, symbols: int, features: int) -> None:
    """Ours against Feast's store on one table."""
    table = folder / "small"
    height = write_table(table, days, symbols, features)
    asked = entity_rows(rows, days, symbols)
    print(f"{rows:,} entity rows, {height:,} rows of {features} features")
    # The first join of a process imports and plans more than it joins.
    ours = [joined_s(repo_config(folder / f"ours{n}"), str(table), features, asked) for n in range(2)][-1]
    print(f"  as-of join on the lake: {ours:.2f} s")
    if importlib.util.find_spec("ibis") is None:
        print("  Feast's DuckDB store: not measured, ibis-framework[duckdb] is not installed")
        return
    theirs = joined_s(_duckdb_config(folder), f"{table}/market=stocks/*/part.parquet", features, asked, filters=True)
    print(f"  Feast's DuckDB store: {theirs:.1f} s, {theirs / ours:.0f} times as long")


def wide(folder: Path, rows: int) -> None:
    """A large join, with the memory that the process reached."""
    table = folder / "wide"
    height = write_table(table, 20, 200, 100)
    asked = entity_rows(rows, 20, 200)
    seconds = joined_s(repo_config(folder / "wide-home"), str(table), 100, asked)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    print(f"{rows:,} rows x 100 features out of {height:,}: {seconds:.1f} s, process peak {peak:.1f} GB")


def online(folder: Path) -> None:
    """Reads of 8 features, and pushes of 10,000 symbols, on SQLite."""
    features = Features(repo_config(folder / "online"), str(folder / "lake"))
    features.apply()
    view = next(view for view in VIEWS if view.table is MICROSTRUCTURE)
    rows = _live_rows(MICROSTRUCTURE, 10_000)
    taken = []
    for minute in range(3):
        moved = rows.with_columns(pl.col("event_time", "known_time") + dt.timedelta(minutes=minute))
        begun = time.perf_counter()
        features.push(view, moved)
        taken.append(time.perf_counter() - begun)
    push_s = statistics.median(taken)
    print(f"push of 10,000 rows x {len(view.schema)} features: {push_s:.2f} s, {10_000 / push_s:,.0f} rows/s")
    names = [f"{view.name}:{name}" for name in list(view.schema)[:8]]
    reads, stores = [], []
    feature_view = features.store.get_feature_view(view.name)
    from resources.feature_store.store import _keys  # noqa: PLC0415

    for number in range(2000):
        symbol = f"S{number * 5 % 10_000:05d}"
        begun = time.perf_counter()
        features.store.get_online_features(names, [{"symbol": symbol}])
        reads.append(time.perf_counter() - begun)
        key = _keys([symbol])
        begun = time.perf_counter()
        features.online.online_read(features.config, feature_view, key, list(view.schema)[:8])
        stores.append(time.perf_counter() - begun)
    print(
        f"read of 8 features of a symbol: {statistics.median(reads) * 1e3:.3f} ms through Feast, "
        f"{statistics.median(stores) * 1e3:.3f} ms of it in the store"
    )


def _live_rows(table: Table, count: int) -> pl.DataFrame:
    generator = np.random.default_rng(2)
    columns = {
        "symbol": [f"S{number:05d}" for number in range(count)],
        "event_time": [_START] * count,
        "known_time": [_START + dt.timedelta(minutes=1)] * count,
    }
    values = {
        column.name: generator.random(count) if column.dtype.is_float() else np.ones(count, np.int64)
        for column in table.columns
        if column.name not in columns
    }
    return table.conform(pl.DataFrame({**columns, **values}))


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--peer-days", type=int, default=64)
    parser.add_argument("--peer-rows", type=int, default=50_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        online(folder)
        wide(folder, asked.rows)
        compare(folder, asked.peer_rows, asked.peer_days, 200, 8)


if __name__ == "__main__":
    main()
