"""Point-in-time joins on the lake against Feast's DuckDB store, and reads and pushes of the online store.

Both joins run through `get_historical_features`, in turn, on the same Parquet objects and entity rows; the best round of each
counts. Feast's DuckDB store is in an environment of its own.
"""

import argparse
import datetime as dt
import json
import resource
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow.compute as pc
from feast import FeatureService, FeatureStore, FeatureView, Field, FileSource
from feast.repo_config import RepoConfig
from feast.types import Float64

from benchmarks.isolated import environment
from resources.feature_store.definitions import SYMBOL, VIEWS
from resources.feature_store.store import Features, repo_config
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.schema import Column, Table
from tapewatch.market.tables.tape import MICROSTRUCTURE, TIME
from tapewatch.store.lake.lake import Lake
from tests.support.redis import redis_server

_START = dt.datetime(2024, 3, 4, tzinfo=dt.UTC)
_DAY_MINUTES = 390
_SYMBOLS = 10_000
#: Days, symbols, and seconds from a row to the next: five million rows each, of minutes in a quarter and in a year, and of the bins of a month.
Shape = tuple[int, int, int]
_SHAPES: tuple[Shape, ...] = ((64, 200, 60), (256, 50, 60), (21, 50, 5))
_PEER = ("feast[duckdb]>=0.67,<0.68", "pandas<3")
_PEER_SCRIPT = Path(__file__).parents[1] / "peers" / "feast_duckdb.py"


def wide_table(features: int) -> Table:
    """A table with that number of features."""
    columns = [Column(name, TIME, "time") for name in ("event_time", "known_time")]
    columns += [Column(f"f{number:03d}", pl.Float64(), "feature") for number in range(features)]
    symbol = Column("symbol", pl.Categorical(), "symbol")
    return Table("wide", "features", "random rows", ("symbol", "event_time"), (symbol, *columns))


def write_table(lake: Lake, shape: Shape, features: int) -> int:
    """Random rows, as the lake keeps every table; returns how many."""
    days, symbols, step_s = shape
    generator, table = np.random.default_rng(0), wide_table(features)
    each = _DAY_MINUTES * 60 // step_s
    rows = symbols * each
    since = np.tile(np.arange(each), symbols) * step_s * 10**9
    for day in range(days):
        date = _START + dt.timedelta(days=day)
        event = int(date.timestamp()) * 10**9 + 14 * 3600 * 10**9 + since
        frame = pl.DataFrame(
            {
                "symbol": np.repeat([f"S{number:05d}" for number in range(symbols)], each),
                "event_time": event,
                "known_time": event + step_s * 10**9,
                **{f"f{number:03d}": generator.normal(size=rows) for number in range(features)},
            }
        ).with_columns(pl.from_epoch(pl.col("event_time", "known_time"), "ns").dt.replace_time_zone("UTC"))
        lake.write(table, Partition(date.date(), Market.STOCKS), frame)
    return rows * days


def entity_rows(count: int, shape: Shape) -> pd.DataFrame:
    """Random symbols and times in the sessions."""
    days, symbols, _ = shape
    generator = np.random.default_rng(1)
    seconds = generator.integers(0, days, count) * 86_400 + 14 * 3600 + generator.integers(0, _DAY_MINUTES * 60, count)
    return pd.DataFrame(
        {
            "symbol": [f"S{number:05d}" for number in generator.integers(0, symbols, count)],
            "event_timestamp": pd.to_datetime(int(_START.timestamp()) + seconds, unit="s", utc=True).as_unit("us"),
        }
    )


def joined(config: RepoConfig, source: str, features: int, rows: pd.DataFrame) -> tuple[float, float, float]:
    """Seconds of a join through Feast, its CPU seconds, and the sum of its first feature."""
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
    service = store.get_feature_service("wide")
    begun, begun_cpu = time.perf_counter(), time.process_time()
    found = store.get_historical_features(rows, service).to_arrow()
    spent = time.perf_counter() - begun, time.process_time() - begun_cpu
    return *spent, pc.sum(found["f000"]).as_py()


def compare(folder: Path, rows: int, shape: Shape, features: int, rounds: int) -> None:
    """Ours against Feast's store on one table.

    Feast's is an inner join on the symbol with inequalities of time, and keeps the latest row of each match afterwards
    (`feast.infra.offline_stores.ibis.point_in_time_join`): more rows of a symbol cost it more.
    """
    days, symbols, step_s = shape
    name = f"{days}x{symbols}"
    lake = Lake(folder / name)
    height = write_table(lake, shape, features)
    table = lake.root / "features" / "wide"
    asked = entity_rows(rows, shape)
    asked.to_parquet(folder / "asked.parquet")
    print(
        f"{rows:,} entity rows, {height:,} rows of {features} features; {symbols} symbols, {days} days, one in {step_s} s"
    )
    given = {
        "folder": str(folder / f"peer{name}"),
        "source": f"{table}/market=stocks/*/part.parquet",
        "asked": str(folder / "asked.parquet"),
        "features": features,
    }
    python = environment("feast", _PEER)
    joined(repo_config(folder / f"first{name}"), str(table), features, asked)
    ours, theirs = [], []
    for number in range(rounds):
        done = subprocess.run(
            [python, str(_PEER_SCRIPT)], input=json.dumps(given), stdout=subprocess.PIPE, text=True, check=True
        )
        peer = json.loads(done.stdout)
        theirs.append((peer["seconds"], peer["cpu"]))
        for again in range(3):
            config = repo_config(folder / f"ours{name}-{number}{again}")
            seconds, cpu, total = joined(config, str(table), features, asked)
            ours.append((seconds, cpu))
            if abs(total - peer["sum"]) > 1e-6:
                raise AssertionError(f"the two joins differ: {total} and {peer['sum']}")
    (own, own_cpu), (wall, wall_cpu) = (map(min, zip(*side, strict=True)) for side in (ours, theirs))
    print(f"  as-of join on the lake  {own:8.2f} s  {own_cpu:8.2f} s CPU")
    print(f"  Feast's DuckDB store    {wall:8.2f} s  {wall_cpu:8.2f} s CPU")
    print(f"  {wall / own:.0f} times as long, {wall_cpu / own_cpu:.0f} times the CPU time", flush=True)


def wide(folder: Path, rows: int) -> None:
    """A large join, with the memory that the process reached."""
    lake = Lake(folder / "wide")
    shape = 20, 200, 60
    height = write_table(lake, shape, 100)
    asked = entity_rows(rows, shape)
    table = str(lake.root / "features" / "wide")
    seconds, cpu, _ = joined(repo_config(folder / "wide-home"), table, 100, asked)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    spent = f"{seconds:.1f} s, {cpu:.1f} s CPU"
    print(f"{rows:,} rows x 100 features out of {height:,}: {spent}, process peak {peak:.1f} GB")


def online(folder: Path, store: str, redis_url: str | None = None) -> None:
    """Pushes of 10,000 symbols and reads of 8 features; best and median."""
    features = Features(repo_config(folder / store, redis_url=redis_url), str(folder / "lake"))
    features.apply()
    view = next(view for view in VIEWS if view.table is MICROSTRUCTURE)
    rows = _live_rows(MICROSTRUCTURE, _SYMBOLS)
    taken, cpu = [], []
    for minute in range(7):
        moved = rows.with_columns(pl.col("event_time", "known_time") + dt.timedelta(minutes=minute))
        begun, begun_cpu = time.perf_counter(), time.process_time()
        features.push(view, moved)
        taken.append(time.perf_counter() - begun)
        cpu.append(time.process_time() - begun_cpu)
    names = [f"{view.name}:{name}" for name in list(view.schema)[:8]]
    reads = []
    for number in range(3000):
        symbol = f"S{number * 5 % _SYMBOLS:05d}"
        begun = time.perf_counter()
        features.store.get_online_features(names, [{"symbol": symbol}])
        reads.append(time.perf_counter() - begun)
    features.close()
    push = f"{_SYMBOLS / min(taken):10,.0f} rows/s of {len(view.schema)} features ({_SYMBOLS / min(cpu):,.0f} a CPU second)"
    print(f"{store:8} push {push}, read of 8 features {statistics.median(reads) * 1e3:.3f} ms")


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
    parser.add_argument("--shrink", type=int, default=1, help="divide the days of the comparisons by this")
    parser.add_argument("--peer-rows", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only-joins", action="store_true", help="leave the online store out")
    parser.add_argument("--only-comparisons", action="store_true", help="leave out what has no peer, too")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not (asked.only_joins or asked.only_comparisons):
            online(folder, "SQLite")
            with redis_server(folder) as url:
                online(folder, "Redis", url)
        if not asked.only_comparisons:
            wide(folder, asked.rows)
        for days, symbols, step_s in _SHAPES:
            compare(folder, asked.peer_rows, (max(days // asked.shrink, 1), symbols, step_s), 8, asked.rounds)


if __name__ == "__main__":
    main()
