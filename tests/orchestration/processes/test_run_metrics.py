"""Figures of runs, of jobs that ran in a real instance."""

import asyncio
from collections.abc import Iterator

import dagster as dg
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.responses import PlainTextResponse

from orchestration.processes.run_metrics import with_metrics

Figures = dict[tuple[str, str, str], float]


@dg.op(config_schema={"fails": bool})
def work(context: dg.OpExecutionContext) -> None:
    if context.op_config["fails"]:
        raise dg.Failure("it was asked to")


@dg.job
def train() -> None:
    work()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def run(instance: dg.DagsterInstance, *, fails: bool) -> None:
    config = {"ops": {"work": {"config": {"fails": fails}}}}
    train.execute_in_process(run_config=config, instance=instance, raise_on_error=False)


def page(instance: dg.DagsterInstance, path: str = "/metrics") -> str:
    transport = httpx.ASGITransport(with_metrics(PlainTextResponse("the page below"), instance))

    async def ask() -> str:
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return (await client.get(path)).raise_for_status().text

    return asyncio.run(ask())


def figures(instance: dg.DagsterInstance) -> Figures:
    return {
        (sample.name, sample.labels.get("job", ""), sample.labels.get("status", "")): sample.value
        for family in text_string_to_metric_families(page(instance))
        for sample in family.samples
    }


def test_runs_are_counted_by_job_and_outcome(instance: dg.DagsterInstance) -> None:
    for fails in (False, False, True):
        run(instance, fails=fails)
    found = figures(instance)
    assert (found["tapewatch_runs", "train", "success"], found["tapewatch_runs", "train", "failure"]) == (2, 1)
    assert found["tapewatch_job_last_failed", "train", ""] == 1
    newest, *_ = instance.get_run_records(dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS]), limit=1)
    assert found["tapewatch_job_last_success_timestamp_seconds", "train", ""] == pytest.approx(newest.end_time)
    assert found["tapewatch_run_seconds", "train", ""] >= 0
    run(instance, fails=False)
    assert figures(instance)["tapewatch_job_last_failed", "train", ""] == 0


def test_runs_that_wait_are_counted_apart(instance: dg.DagsterInstance) -> None:
    config = {"ops": {"work": {"config": {"fails": False}}}}
    instance.create_run_for_job(train, run_config=config, status=dg.DagsterRunStatus.NOT_STARTED)
    found = figures(instance)
    assert (found["tapewatch_runs_waiting", "", ""], found["tapewatch_runs_under_way", "", ""]) == (1, 0)
    assert ("tapewatch_job_last_failed", "train", "") not in found


def test_without_runs_there_are_no_figures_of_jobs(instance: dg.DagsterInstance) -> None:
    assert set(figures(instance)) == {("tapewatch_runs_waiting", "", ""), ("tapewatch_runs_under_way", "", "")}


def test_other_pages_are_passed_on(instance: dg.DagsterInstance) -> None:
    assert page(instance, "/runs") == "the page below"
