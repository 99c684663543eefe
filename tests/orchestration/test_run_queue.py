"""Backfills over several markets as Dagster's daemon queues them."""

import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.storage.tags import BACKFILL_ID_TAG
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.workspace.context import IWorkspaceProcessContext
from dagster._core.workspace.load_target import PythonFileTarget
from dagster._daemon import get_default_daemon_logger
from dagster._daemon.backfill import execute_backfill_iteration
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon

from orchestration.home import prepare
from orchestration.run_queue import by_market
from tapewatch.settings import Settings

START, END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
DAY = "2024-06-03"
LOCATION = """
import dagster as dg

from assets.shared.partitions import market_days


@dg.asset(partitions_def=market_days("2024-06-03"), backfill_policy=dg.BackfillPolicy.single_run())
def tape(context: dg.AssetExecutionContext) -> None:
    if any("forex" in key for key in context.partition_keys):
        raise RuntimeError("forex cannot run")


defs = dg.Definitions([tape])
"""


@pytest.mark.parametrize(
    ("first", "last", "markets"),
    [
        ("2024-06-03|crypto", "2024-06-03|crypto", []),
        ("2024-06-03|stocks", "2024-06-07|stocks", []),
        ("2024-06-03|crypto", "2024-06-03|forex", ["crypto", "forex"]),
        ("2024-06-03|indices", "2024-06-05|stocks", ["indices", "options", "stocks"]),
    ],
)
def test_the_ranges_of_each_market(first: str, last: str, markets: list[str]) -> None:
    ranges = by_market({START: first, END: last})
    days = [end.split("|")[0] for end in (first, last)]
    assert {name: (tags[START], tags[END]) for name, tags in ranges.items()} == {
        name: (f"{days[0]}|{name}", f"{days[1]}|{name}") for name in markets
    }


def test_other_runs_have_no_ranges() -> None:
    assert (
        by_market({})
        == by_market({"dagster/partition": "2024-06-03|crypto"})
        == by_market({START: "a", END: "b"})
        == {}
    )


@pytest.fixture
def process(tmp_path: Path) -> Iterator[IWorkspaceProcessContext]:
    """A daemon's view of a code location, on a home as Tapewatch makes it."""
    settings = Settings(home=tmp_path / "home", _env_file=None)
    prepare(settings)
    code = tmp_path / "location.py"
    code.write_text(LOCATION)
    target = PythonFileTarget(str(code), attribute=None, working_directory=None, location_name="tapewatch")
    with (
        dg.DagsterInstance.from_config(str(settings.dagster_home)) as instance,
        create_test_daemon_workspace_context(target, instance) as opened,
    ):
        yield opened


@pytest.mark.slow
def test_a_backfill_of_as_many_markets_as_days_is_a_run_a_market(process: IWorkspaceProcessContext) -> None:
    instance, logger = process.instance, get_default_daemon_logger("backfill")
    keys = [f"{DAY}|{market}" for market in ("crypto", "forex")]
    backfill = PartitionBackfill.from_asset_partitions(
        backfill_id="several",
        asset_graph=process.create_request_context().asset_graph,
        backfill_timestamp=time.time(),
        tags={},
        dynamic_partitions_store=instance,
        partition_names=keys,
        asset_selection=[dg.AssetKey("tape")],
        all_partitions=False,
        title=None,
        description=None,
        run_config=None,
    )
    instance.add_backfill(backfill)

    def runs() -> list[dg.DagsterRun]:
        return instance.get_runs(dg.RunsFilter(tags={BACKFILL_ID_TAG: "several"}))

    list(execute_backfill_iteration(process, logger))
    assert {run.status for run in runs()} == {dg.DagsterRunStatus.QUEUED}
    assert sorted((run.tags[START], run.tags[END]) for run in runs()) == [(key, key) for key in keys]
    queue = QueuedRunCoordinatorDaemon(interval_seconds=1)
    while not all(run.is_finished for run in runs()):
        list(queue.run_iteration(process))
        time.sleep(0.2)
    ended = {(run.tags[START], run.status) for run in runs()}
    assert ended == {
        (key, dg.DagsterRunStatus.FAILURE if "forex" in key else dg.DagsterRunStatus.SUCCESS) for key in keys
    }
    while (seen := instance.get_backfill("several")) and seen.status is BulkActionStatus.REQUESTED:
        list(execute_backfill_iteration(process, logger))
    assert seen.status is BulkActionStatus.COMPLETED_FAILED
