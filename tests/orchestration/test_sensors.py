"""The flat-file sensor on a real instance: new days, nothing new, a replaced file, a long folder."""

import datetime as dt
import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import dagster as dg
import pytest

from orchestration.definitions import build_definitions
from orchestration.sensors import new_flat_files_sensor
from resources.tape_source import TapeSourceResource
from tapewatch.settings import Settings

JOB = build_definitions(Settings(_env_file=None)).resolve_job_def("update_day")
HEADER = "ticker,volume,open,close,high,low,window_start,transactions\n"


def put(root: Path, day: str, text: str = HEADER) -> None:
    path = root / "us_stocks_sip" / "minute_aggs_v1" / day[:4] / day[5:7] / f"{day}.csv.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode(), mtime=0))


def tick(
    root: Path, instance: dg.DagsterInstance, cursor: str | None, repository: dg.RepositoryDefinition | None = None
) -> dg.SensorResult:
    source = TapeSourceResource(base_url="http://127.0.0.1:1", flat_files=str(root))
    context = dg.build_sensor_context(
        instance=instance, cursor=cursor, resources={"tape_source": source}, repository_def=repository
    )
    result = new_flat_files_sensor(context)
    assert isinstance(result, dg.SensorResult)
    return result


@pytest.fixture
def instance() -> dg.DagsterInstance:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def test_each_new_day_is_one_run_and_then_none(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    put(tmp_path, "2013-10-07")
    put(tmp_path, "2013-10-08")
    first = tick(tmp_path, instance, None)
    assert [request.partition_key for request in first.run_requests] == ["2013-10-07|stocks", "2013-10-08|stocks"]
    again = tick(tmp_path, instance, first.cursor)
    assert not again.run_requests
    assert again.skip_reason is not None
    assert again.cursor == first.cursor


def test_a_replaced_file_gets_a_run_under_another_key(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    put(tmp_path, "2013-10-07")
    first = tick(tmp_path, instance, None)
    put(tmp_path, "2013-10-07", HEADER + "A,1,1,1,1,1,1381152600000000000,\n")
    second = tick(tmp_path, instance, first.cursor)
    assert [request.partition_key for request in second.run_requests] == ["2013-10-07|stocks"]
    assert second.run_requests[0].run_key != first.run_requests[0].run_key


def test_a_closed_day_gets_no_run(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    put(tmp_path, "2013-10-12")
    assert not tick(tmp_path, instance, None).run_requests


def test_a_long_folder_is_spread_over_ticks_without_loss(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    days = [f"2013-{month:02}-{day:02}" for month in range(1, 13) for day in range(1, 29)]
    for day in days:
        put(tmp_path, day)
    cursor, asked = None, []
    while (result := tick(tmp_path, instance, cursor)).run_requests:
        asked += [request.partition_key for request in result.run_requests]
        cursor = result.cursor
    assert len(asked) == len(set(asked)) == len(json.loads(cursor))
    assert asked == sorted(asked)


def test_without_a_folder_the_skip_reason_names_the_setting(instance: dg.DagsterInstance) -> None:
    source = TapeSourceResource(base_url="http://127.0.0.1:1")
    context = dg.build_sensor_context(instance=instance, resources={"tape_source": source})
    assert "TAPEWATCH_FLAT_FILES" in str(new_flat_files_sensor(context).skip_reason)


def executed(instance: dg.DagsterInstance, requests: Sequence[dg.RunRequest]) -> list[str]:
    """Record a run of each request that the daemon would start; returns its partitions."""
    started = []
    for request in requests:
        tags = {"dagster/run_key": str(request.run_key)}
        # As the daemon does: one run per key, ever.
        if not instance.get_runs_count(dg.RunsFilter(tags=tags)):
            instance.create_run_for_job(JOB, tags=tags, status=dg.DagsterRunStatus.SUCCESS)
            started.append(str(request.partition_key))
    return started


@pytest.mark.long
def test_a_file_that_is_put_back_as_it_was_is_loaded_again(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    other, cursor = HEADER + "A,1,1,1,1,1,1381152600000000000,\n", None
    for text in (HEADER, other, HEADER, other, HEADER):
        put(tmp_path, "2013-10-07", text)
        result = tick(tmp_path, instance, cursor)
        # A tick that is evaluated again asks for the same run.
        again = tick(tmp_path, instance, cursor)
        assert [r.run_key for r in again.run_requests] == [r.run_key for r in result.run_requests]
        assert executed(instance, result.run_requests) == ["2013-10-07|stocks"]
        cursor = result.cursor
        assert not tick(tmp_path, instance, cursor).run_requests


@pytest.mark.long
def test_after_a_reset_of_the_cursor_all_days_are_loaded_again(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    put(tmp_path, "2013-10-07")
    put(tmp_path, "2013-10-08")
    for _ in range(3):
        result = tick(tmp_path, instance, None)
        assert executed(instance, result.run_requests) == ["2013-10-07|stocks", "2013-10-08|stocks"]


def test_days_before_the_first_partition_are_counted_and_not_requested(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    put(tmp_path, "2013-10-07")
    put(tmp_path, "2013-10-08")
    settings = Settings(home=tmp_path, partitions_start=dt.date(2013, 10, 8), _env_file=None)
    repository = build_definitions(settings).get_repository_def()
    first = tick(tmp_path, instance, None, repository)
    assert [request.partition_key for request in first.run_requests] == ["2013-10-08|stocks"]
    reason = str(tick(tmp_path, instance, first.cursor, repository).skip_reason)
    assert "1 before 2013-10-08" in reason
    assert "TAPEWATCH_PARTITIONS_START" in reason
