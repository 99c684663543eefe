"""A real scheduler, and workers on hosts of their own (network namespaces where they may be made), over PostgreSQL and S3.

The result is that of one process, also when a worker is killed and another one is cut off from the network in the middle.
"""

import datetime as dt
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import dagster as dg
import polars as pl
import pytest
from dask.distributed import Client

from orchestration.cluster.workers import cluster
from orchestration.errors import RunError
from orchestration.home import instance
from orchestration.runs.runs import RunReport, run_days
from tapewatch.bars.time_bars import minute_bars, reconcile
from tapewatch.market.instruments import Market, Partition, session_of
from tapewatch.market.tables.tape import BARS, DELIVERED_BARS, QUOTES, TRADES
from tapewatch.settings import Settings
from tapewatch.store.lake.lake import Lake
from tests.support.hosts import hosts
from tests.support.ports import free_port
from tests.support.stage import Stage
from tests.support.stage import stage as staged
from tests.support.tapes import random_tape

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

#: The days of each market; no tape is there for the second of stocks.
DAYS = {Market.CRYPTO: [dt.date(2024, 3, 4)], Market.STOCKS: [dt.date(2024, 3, day) for day in (4, 5, 6)]}
SYMBOLS = {Market.CRYPTO: ("X:AAA-USD",), Market.STOCKS: ("AAA", "BBB")}


def fill(lake: Lake) -> None:
    """The tape of the markets."""
    for market, days in DAYS.items():
        for number, day in enumerate(days):
            if number == 1:
                continue
            partition = Partition(day, market)
            session = session_of(market, day)
            assert session is not None
            trades, quotes = random_tape(number, SYMBOLS[market], trades=150, quotes=150, minutes=40, session=session)
            trades = trades.with_columns(id=pl.col("sequence_number").cast(pl.String))
            lake.write(BARS, partition, reconcile(minute_bars(trades, session), DELIVERED_BARS.empty()))
            lake.write(TRADES, partition, trades)
            lake.write(QUOTES, partition, quotes)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("cluster")
    with hosts(3) as found, staged(folder, found, {"TAPEWATCH_FLAT_FILES": str(folder)}) as running:
        fill(Lake(running.settings.lake_root))
        yield running


def build(settings: Settings, market: Market) -> RunReport:
    return run_days(settings, "build_features", market, DAYS[market][0], DAYS[market][-1])


class Disaster(threading.Thread):
    """Once features are committed, kills a worker that has a task, then cuts another such one off from the network."""

    def __init__(self, client: Client, stage: Stage) -> None:
        super().__init__()
        self._client, self._stage = client, stage
        self._process_of = client.run(os.getpid)
        self._is_over = threading.Event()
        self.killed = self.cut_off = ""

    def run(self) -> None:
        while not (self._is_over.wait(0.2) or self._has_features()):
            pass
        if busy := self._busy():
            os.kill(self._process_of[busy], signal.SIGKILL)
            self.killed = busy
        if busy := self._busy():
            host = urlsplit(busy).hostname
            next(each for each in self._stage.hosts if each.address == host).cut_off()
            self.cut_off = busy

    def _has_features(self) -> bool:
        return "Contents" in self._stage.s3.client().list_objects_v2(Bucket=self._stage.bucket, Prefix="lake/features/")

    def _busy(self) -> str:
        """A worker that is computing; empty when all is over."""
        while not self._is_over.wait(0.05):
            for name, tasks in self._client.processing().items():
                if tasks and name != self.killed:
                    return str(name)
        return ""

    def end(self) -> None:
        self._is_over.set()
        self.join()


def refusal(address: str) -> str:
    with pytest.raises(RunError) as refused, cluster(address):
        pass
    return str(refused.value)


def test_without_a_scheduler_or_a_worker_that_fits_the_run_says_what_is_missing(stage: Stage) -> None:
    nobody = f"tcp://127.0.0.1:{free_port()}"
    with pytest.raises(RunError, match=f"no Dask scheduler at TAPEWATCH_DASK_ADDRESS={nobody}: start one"):
        build(stage.settings.model_copy(update={"dask_address": nobody}), Market.CRYPTO)
    address = stage.dask.address
    assert refusal(address).endswith("has no worker: start one (docs/how_to/dask.md)")
    worker = stage.worker(0, threads=2)
    with Client(address, set_as_default=False) as client:
        client.wait_for_workers(1)
        assert "has 2 threads" in refusal(address)
        worker.kill()
        worker.wait()
        while client.scheduler_info(n_workers=-1)["workers"]:
            time.sleep(0.05)
    assert not any(name.startswith("features") for name in stage.objects())


def test_markets_side_by_side_lose_two_workers_and_nothing_of_the_result(
    tmp_path: Path, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = tmp_path / "lake"
    fill(Lake(alone))
    # On the same PostgreSQL, without the cluster.
    alone_settings = stage.settings.model_copy(update={"dask_address": None, "lake_url": str(alone)})
    expected = {market: build(alone_settings, market) for market in DAYS}
    workers = [stage.worker(number) for number in range(3)]
    days = {market: [str(each[0]), str(each[-1])] for market, each in DAYS.items()}
    with Client(stage.dask.address, set_as_default=False) as client:
        client.wait_for_workers(3)
        with monkeypatch.context() as patch:
            patch.setenv("TAPEWATCH_HOME", str(tmp_path))
            assert f"has TAPEWATCH_HOME {stage.home}, and this process {tmp_path}" in refusal(stage.dask.address)
        disaster = Disaster(client, stage)
        disaster.start()
        try:
            done = subprocess.run(
                [sys.executable, "-W", "ignore", "-m", "tests.support.market_runs", json.dumps({"jobs": ["build_features"], "days": days})],
                stdout=subprocess.PIPE, check=True,
            )  # fmt: skip
        finally:
            disaster.end()
    assert disaster.killed
    assert disaster.cut_off
    for market, report in json.loads(done.stdout)["build_features"].items():
        assert report["failed_checks"] == expected[market].failed_checks
        assert report["steps"] == sorted({step.name for step in expected[market].steps})
    found = {str(path.relative_to(alone)): path.read_bytes() for path in alone.rglob("*") if path.is_file()}
    assert stage.objects() == found
    # The host comes back with the piece that it held, which another has computed.
    for host in stage.hosts:
        host.connect()
    lost = next(worker for worker, host in zip(workers, stage.hosts, strict=True) if host.address in disaster.cut_off)
    lost.wait()
    assert stage.objects() == found
    with instance(stage.settings) as opened:
        runs = [run for run in opened.get_runs() if run.status is dg.DagsterRunStatus.SUCCESS]
        assert len(runs) == 2 * len(DAYS)
        for market, days in DAYS.items():
            keys = opened.get_materialized_partitions(dg.AssetKey(["features", "microstructure"]))
            assert {Partition(day, market) for day in days} <= {Partition.parse(key) for key in keys}, market
