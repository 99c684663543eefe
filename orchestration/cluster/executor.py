"""A Dagster executor on a Dask cluster: steps side by side, and the days of a step that are independent of each other too.

It stands on `dagster-dask`. That package's own executor names a task by job and step alone, so two runs of a job take each
other's results; it goes on after a step that failed; and it knows no partitions (docs/decisions/0088).
"""

import os
from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg
from dagster._core.definitions.executor_definition import multiple_process_executor_requirements
from dagster._core.definitions.reconstruct import ReconstructableJob
from dagster._core.errors import raise_execution_interrupts
from dagster._core.events import DagsterEvent
from dagster._core.execution.api import create_execution_plan, execute_plan
from dagster._core.execution.context.system import PlanOrchestrationContext
from dagster._core.execution.plan.active import ActiveExecution
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.plan.state import KnownExecutionState
from dagster._core.execution.retries import RetryMode
from dagster._core.instance.ref import InstanceRef
from dagster._utils import iterate_with_context
from dagster_dask.executor import DaskExecutor, get_dask_resource_requirements
from dask.distributed import Client, Future, KilledWorker, as_completed

from orchestration.cluster.splitting import pieces
from orchestration.cluster.workers import cluster
from orchestration.home import environment
from tapewatch.settings import Settings


def dask_executor(address: str) -> dg.ExecutorDefinition:
    """The executor of a deployment with the scheduler at `address`; a run's config cannot choose another."""

    @dg.executor(name="dask", requirements=multiple_process_executor_requirements())
    def executor(_: dg.InitExecutorContext) -> SideBySide:
        return SideBySide(address)

    return executor


class SideBySide(DaskExecutor):
    """Sends each step to a worker once those that it needs are done, a range of independent days in several pieces.

    A step succeeds when all of its pieces have. A piece of a worker that dies is computed again by another; its days are
    committed whole, so that the result is the same.
    """

    def __init__(self, address: str) -> None:
        super().__init__("existing", {"address": address})
        self._address = address

    @property
    def retries(self) -> RetryMode:
        return RetryMode.DISABLED

    def execute(self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan) -> Iterator[DagsterEvent]:
        """The events of the steps, as they end."""
        with (
            cluster(self._address) as client,
            ActiveExecution(execution_plan, retry_mode=self.retries) as active,
        ):
            done = as_completed([], loop=client.loop, raise_errors=False)
            running: dict[str, _Step] = {}
            step_of: dict[Future, str] = {}
            while not active.is_complete or running:
                for step in active.get_steps_to_execute():
                    running[step.key] = _Step(self._submit(client, plan_context, active.get_known_state(), step))
                    step_of |= dict.fromkeys(running[step.key].waiting, step.key)
                    done.update(running[step.key].waiting)
                yield from active.plan_events_iterator(plan_context)
                if not running:
                    continue
                future = next(iterate_with_context(raise_execution_interrupts, done))
                key = step_of.pop(future)
                for event in self._events(plan_context, active, key, running[key], future):
                    yield event
                    active.handle_event(event)
                if not running[key].waiting:
                    del running[key]
                    active.verify_complete(plan_context, key)

    def _submit(
        self, client: Client, plan_context: PlanOrchestrationContext, known: KnownExecutionState, step: Any
    ) -> set[Future]:
        run = plan_context.dagster_run
        divided = pieces(run.tags, step.tags, len(client.scheduler_info(n_workers=-1)["workers"]))
        return {
            client.submit(
                compute,
                plan_context.reconstructable_job,
                run.with_tags(tags),
                plan_context.run_config,
                step.key,
                plan_context.instance.get_ref(),
                known,
                key=f"{run.job_name}.{run.run_id}.{step.key}.{number}",
                resources=get_dask_resource_requirements(step.tags),
            )
            for number, tags in enumerate(divided)
        }

    def _events(
        self, plan_context: PlanOrchestrationContext, active: ActiveExecution, key: str, step: "_Step", future: Future
    ) -> Iterator[DagsterEvent]:
        """The events of a piece that is over, and one event about the step's end with its last piece."""
        step.waiting.remove(future)
        if future.status == "finished":
            events = future.result()
        else:
            step_context = plan_context.for_step(active.get_step_by_key(key))
            events = [self._lost(step_context, active, future)]
        for event in events:
            if event.is_step_failure:
                step.failure = step.failure or event
            elif event.is_step_success:
                step.success = event
            else:
                yield event
        if not step.waiting and (end := step.failure or step.success) is not None:
            yield end

    def _lost(self, step_context: Any, active: ActiveExecution, future: Future) -> DagsterEvent:
        """The failure of a step whose workers died again and again, or that could not be sent."""
        error = future.exception()
        if isinstance(error, KilledWorker):
            reason = f"the workers that computed it died, the last of them {error.last_worker.address}"
            error = dg.Failure(
                f"{step_context.step.key}: {reason}: see the worker's log; it may have run out of memory"
            )
        info = dg._utils.error.serializable_error_info_from_exc_info((type(error), error, error.__traceback__))
        return self.log_failure_or_retry_event_after_error(step_context, info, active.get_known_state())


class _Step:
    """A step under way: the pieces that are not over, and how the others ended."""

    def __init__(self, waiting: set[Future]) -> None:
        self.waiting = waiting
        self.failure: DagsterEvent | None = None
        self.success: DagsterEvent | None = None


def compute(
    job: ReconstructableJob,
    run: dg.DagsterRun,
    run_config: dict[str, Any],
    step_key: str,
    instance: InstanceRef,
    known: KnownExecutionState,
) -> Sequence[DagsterEvent]:
    """Compute a step, or a piece of it, on a worker; the events, which are in the instance already."""
    # A worker runs one step at a time.
    os.environ.update(environment(Settings()))
    with dg.DagsterInstance.from_ref(instance) as opened:
        chosen = job.get_subset(
            op_selection=run.resolved_op_selection,
            asset_selection=run.asset_selection,
            asset_check_selection=run.asset_check_selection,
        )
        plan = create_execution_plan(chosen, run_config, step_keys_to_execute=[step_key], known_state=known)
        return execute_plan(plan, chosen, opened, run, run_config=run_config)
