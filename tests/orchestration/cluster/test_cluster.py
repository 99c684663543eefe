"""A real scheduler and workers: the result is that of one process, also when a worker is killed in the middle."""

import datetime as dt
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from dask.distributed import Client

from orchestration.cluster.workers import cluster
from orchestration.errors import RunError
from orchestration.home import instance
from orchestration.runs.runs import RunReport, StepEvent, run_days
from tapewatch.bars.time_bars import minute_bars, reconcile
from tapewatch.market.instruments import Market, Partition, trading_days
from tapewatch.market.tables.tape import BARS, DELIVERED_BARS, QUOTES, TRADES
from tapewatch.settings import Settings
from tapewatch.store.lake.lake import Lake
from tests.support.command import environment
from tests.support.dask import DaskCluster, dask_cluster
from tests.support.ports import free_port
from tests.support.tapes import random_tape

pytestmark = pytest.mark.slow

DAYS = trading_days(Market.STOCKS, dt.date(2024, 3, 4), dt.date(2024, 3, 7))


def filled(home: Path) -> Path:
    """A lake with the tape of four days, the third of which is absent."""
    lake = Lake(home / "lake")
    for number, day in enumerate(DAYS):
        if number == 2:
            continue
        partition = Partition(day, Market.STOCKS)
        trades, quotes = random_tape(number, trades=150, quotes=150, minutes=40, session=partition.session)
        trades = trades.with_columns(id=pl.col("sequence_number").cast(pl.String))
        bars = reconcile(minute_bars(trades, partition.session), DELIVERED_BARS.empty())
        for table, rows in ((TRADES, trades), (QUOTES, quotes), (BARS, bars)):
            lake.write(table, partition, rows)
    return home


def objects(home: Path) -> dict[str, bytes]:
    """Every object of the lake by its path."""
    lake = home / "lake"
    return {str(path.relative_to(lake)): path.read_bytes() for path in sorted(lake.rglob("*")) if path.is_file()}


def set_to(monkeypatch: pytest.MonkeyPatch, home: Path, address: str | None = None) -> Settings:
    for name in ("TAPEWATCH_HOME", "TAPEWATCH_DASK_ADDRESS", "TAPEWATCH_FLAT_FILES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TAPEWATCH_HOME", str(home))
    monkeypatch.setenv("TAPEWATCH_FLAT_FILES", str(home))
    if address:
        monkeypatch.setenv("TAPEWATCH_DASK_ADDRESS", address)
    return Settings(_env_file=None)


def built(settings: Settings, **options) -> RunReport:
    return run_days(settings, "build_features", Market.STOCKS, DAYS[0], DAYS[-1], **options)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled(tmp_path_factory.mktemp("cluster") / "home")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, home: Path) -> Iterator[DaskCluster]:
    variables = environment(home, TAPEWATCH_FLAT_FILES=str(home))
    with dask_cluster(tmp_path_factory.mktemp("dask"), variables) as started:
        yield started


def refusal(address: str) -> str:
    with pytest.raises(RunError) as refused, cluster(address):
        pass
    return str(refused.value)


def test_without_a_scheduler_worker_or_the_same_deployment_the_run_says_what_is_missing(
    tmp_path: Path, home: Path, running: DaskCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = f"tcp://127.0.0.1:{free_port()}"
    with pytest.raises(RunError, match=f"no Dask scheduler at TAPEWATCH_DASK_ADDRESS={nobody}: start one"):
        built(set_to(monkeypatch, home, nobody))
    set_to(monkeypatch, home)
    assert refusal(running.address).endswith("has no worker: start one (docs/how_to/dask.md)")
    for changes, text in (
        ({"threads": 2}, "has 2 threads"),
        ({"TAPEWATCH_HOME": str(tmp_path)}, f"has TAPEWATCH_HOME {tmp_path}, and this process {home}"),
    ):
        worker = running.worker(**changes)
        with Client(running.address, set_as_default=False) as client:
            client.wait_for_workers(1)
            assert text in refusal(running.address)
            worker.kill()
            worker.wait()
            while client.scheduler_info(n_workers=-1)["workers"]:
                time.sleep(0.05)
    assert not any(name.startswith("features") for name in objects(home))


def test_a_killed_worker_changes_nothing_of_the_result(
    tmp_path: Path, home: Path, running: DaskCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = filled(tmp_path / "alone")
    expected = built(set_to(monkeypatch, alone))
    workers = [running.worker(), running.worker()]
    with Client(running.address, set_as_default=False) as client:
        client.wait_for_workers(2)
        process_of = client.run(os.getpid)
        killed: list[str] = []

        def on_commit(event: StepEvent) -> None:
            """Once a day's features are there, kill a worker that has a task."""
            if event.partition and not killed:
                busy = next((name for name, tasks in client.processing().items() if tasks), None)
                if busy is not None:
                    os.kill(process_of[busy], signal.SIGKILL)
                    killed.append(busy)

        report = built(set_to(monkeypatch, home, running.address), progress=on_commit)
    assert len(killed) == 1
    assert [worker.returncode for worker in workers if worker.poll() is not None] == [-signal.SIGKILL]
    assert report.failed_checks == []
    assert {step.name for step in report.steps} == {step.name for step in expected.steps}
    assert objects(home) == objects(alone)
    settings = set_to(monkeypatch, home, running.address)
    with instance(settings) as opened:
        (run,) = [run for run in opened.get_runs() if run.status is dg.DagsterRunStatus.SUCCESS]
        assert run.tags["command"] == "tapewatch"
        days = opened.get_materialized_partitions(dg.AssetKey(["features", "microstructure"]))
        assert {Partition.parse(day).date for day in days} >= {*DAYS}
