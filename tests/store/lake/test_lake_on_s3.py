"""The lake, flat files, artifacts and backups on a real S3 server: whole objects whatever happens to their writers."""

import datetime as dt
import os
import signal
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import polars as pl
import pytest
from rich.console import Console

from orchestration.cli.databases import backup, restore
from tapewatch.feeds.files.source import FlatFileSource
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.tape import ANOMALIES, TRADES
from tapewatch.store.database.database import Database, DatabaseError
from tapewatch.store.lake.joins.objects import Source
from tapewatch.store.lake.joins.point_in_time import join_as_of
from tapewatch.store.lake.lake import Lake, LakeError, ShrinkError
from tests.support.flat_days import STOCKS, put, row
from tests.support.s3 import S3Server, s3_server

pytestmark = pytest.mark.slow

DAY = Partition(dt.date(2024, 3, 5), Market.STOCKS)
_START = 1_709_650_000_000_000_000
#: Writes versions of one partition until it is killed: every row of a version has the version as its price.
_WRITER = """
import sys
from tests.store.lake.test_lake_on_s3 import DAY, TRADES, Lake, trades
for version in range(2, 1_000_000):
    Lake(sys.argv[1]).write(TRADES, DAY, trades(20_000, float(version)))
    if version == 2:
        print("writing", flush=True)
"""


def trades(rows: int, price: float) -> pl.DataFrame:
    """Trades of one symbol at one price, with ids that hardly compress."""
    ids = np.random.default_rng(int(price)).integers(10**12, 10**13, rows)
    return TRADES.conform(
        pl.DataFrame(
            {
                "symbol": ["AAPL"] * rows,
                "time": _START + np.arange(rows) * 1000,
                "sequence_number": np.arange(1, rows + 1),
                "price": np.full(rows, price),
                "size": np.ones(rows),
                "exchange": np.ones(rows, np.int64),
                "conditions": [""] * rows,
                "id": ids.astype(str),
            }
        )
    )


def writer(root: str) -> subprocess.Popen[str]:
    """A process that writes version after version; it prints a line after the first."""
    checkout = Path(__file__).resolve().parents[3]
    command = [sys.executable, "-c", _WRITER, root]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=checkout, env=os.environ)


def expect_one_version(frame: pl.DataFrame) -> None:
    assert frame.height == 20_000
    assert frame["price"].n_unique() == 1


def test_a_partition_on_s3_equals_one_on_disk(bucket: str, tmp_path: Path) -> None:
    frame = trades(5_000, 100.0)
    remote, local = Lake(f"s3://{bucket}/lake"), Lake(tmp_path)
    written = [lake.write(TRADES, DAY, frame) for lake in (remote, local)]
    assert remote.path(TRADES, DAY).read_bytes() == local.path(TRADES, DAY).read_bytes()
    assert [w.rows for w in written] == [5_000, 5_000]
    for lake in (remote, local):
        assert lake.read(TRADES, DAY).equals(frame)
        assert lake.partitions(TRADES) == [DAY]
        assert lake.symbols(TRADES, DAY) == {"AAPL": 5_000}
        assert lake.scan(TRADES, DAY).select(pl.len()).collect().item() == 5_000
        with pytest.raises(ShrinkError):
            lake.write(TRADES, DAY, frame.head(3))
    remote.remove(TRADES, DAY)
    assert remote.partitions(TRADES) == []


def test_a_join_over_a_bucket_equals_one_on_disk(bucket: str, tmp_path: Path) -> None:
    later = Partition(DAY.date + dt.timedelta(days=1), Market.STOCKS)
    first, second = dt.datetime(2024, 3, 5, 20, tzinfo=dt.UTC), dt.datetime(2024, 3, 6, 20, tzinfo=dt.UTC)
    asked = pl.DataFrame({"symbol": ["AAPL", "AAPL", "MSFT"], "time": [first, second, second]})
    for lake in (Lake(f"s3://{bucket}/lake"), Lake(tmp_path)):
        frame = trades(100, 100.0)
        lake.write(TRADES, DAY, frame)
        lake.write(TRADES, later, frame.with_columns(pl.col("time").dt.offset_by("1d"), price=pl.lit(200.0)))
        source = Source(lake.root / "tape" / "trades", ("symbol",), event_time="time", known_time=None)
        assert join_as_of(source, asked, {"price": pl.Float64()})["price"].to_list() == [100.0, 200.0, None]


def test_readers_meet_whole_versions_while_writers_compete_and_are_killed(bucket: str, s3: S3Server) -> None:
    root = f"s3://{bucket}/lake"
    lake = Lake(root)
    lake.write(TRADES, DAY, trades(20_000, 1.0))
    with writer(root) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline()
            for version in range(6):
                expect_one_version(lake.read(TRADES, DAY))
                Lake(root).write(TRADES, DAY, trades(20_000, 1_000.0 + version))
        finally:
            process.kill()
    expect_one_version(lake.read(TRADES, DAY))
    # What the killed writer staged on this machine does not keep the next one from writing.
    lake.write(TRADES, DAY, trades(20_000, 9_999.0))
    assert lake.read(TRADES, DAY)["price"].unique().to_list() == [9_999.0]
    keys = [item["Key"] for item in s3.client().list_objects_v2(Bucket=bucket)["Contents"]]
    assert keys == ["lake/tape/trades/market=stocks/date=2024-03-05/part.parquet"]


def test_flat_files_are_read_from_a_bucket(bucket: str, tmp_path: Path) -> None:
    frames = []
    for root in (str(tmp_path), f"s3://{bucket}/flat"):
        put(root, STOCKS, "trades", [row(STOCKS, "trades", at, price=100 + at, sequence_number=at) for at in range(50)])
        source = FlatFileSource(root)
        assert source.available(Market.STOCKS) == {"trades": [STOCKS.date]}
        frames.append(pl.concat(source.trades(STOCKS)))
    assert frames[0].height == 50
    assert frames[1].equals(frames[0])


def test_artifacts_of_mlflow_lie_in_a_bucket(bucket: str, s3: S3Server, tmp_path: Path) -> None:
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    run = client.create_run(client.create_experiment("on_s3", artifact_location=f"s3://{bucket}/mlflow"))
    (tmp_path / "note.txt").write_text("kept")
    client.log_artifact(run.info.run_id, str(tmp_path / "note.txt"))
    (key,) = [item["Key"] for item in s3.client().list_objects_v2(Bucket=bucket)["Contents"]]
    assert key == f"mlflow/{run.info.run_id}/artifacts/note.txt"
    fetched = client.download_artifacts(run.info.run_id, "note.txt", str(tmp_path))
    assert Path(fetched).read_text() == "kept"


def test_a_backup_in_a_bucket_is_restored(bucket: str, tmp_path: Path) -> None:
    ours, theirs = f"sqlite:///{tmp_path}/ours.db", f"sqlite:///{tmp_path}/theirs.db"
    place, quiet = f"s3://{bucket}/backups/day.zip", Console(quiet=True)
    with Database(ours) as database:
        before = database.read(ANOMALIES)
    backup(ours, quiet, place, overwrites=False)
    with pytest.raises(DatabaseError, match="exists: name another file"):
        backup(ours, quiet, place, overwrites=False)
    backup(ours, quiet, place, overwrites=True)
    restore(theirs, quiet, place, replaces=False)
    with Database(theirs) as database:
        assert database.read(ANOMALIES).equals(before)
    with pytest.raises(DatabaseError, match="cannot be read"):
        restore(theirs, quiet, f"s3://{bucket}/backups/none.zip", replaces=True)


def test_a_server_that_was_killed_has_what_was_written_before(tmp_path: Path) -> None:
    with s3_server(tmp_path) as server, pytest.MonkeyPatch.context() as patch:
        server.use(patch)
        patch.setenv("AWS_MAX_ATTEMPTS", "1")
        lake = Lake(f"s3://{server.bucket()}/lake")
        lake.write(TRADES, DAY, trades(20_000, 7.0))
        server.stop(signal.SIGKILL)
        for failing in (lambda: lake.read(TRADES, DAY), lambda: lake.write(TRADES, DAY, trades(20_000, 8.0))):
            with pytest.raises(LakeError, match=r"does not answer .*can be started again"):
                failing()
        server.start()
        assert lake.read(TRADES, DAY)["price"].unique().to_list() == [7.0]
        lake.write(TRADES, DAY, trades(20_000, 8.0))
        assert lake.read(TRADES, DAY)["price"].unique().to_list() == [8.0]
