"""Dagster's queue of runs, in which a run over several markets becomes one of each."""

import uuid
from collections.abc import Mapping

from dagster import DagsterRun, DagsterRunStatus
from dagster._core.run_coordinator import QueuedRunCoordinator, SubmitRunContext
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from tapewatch.market.instruments import Market

_ENDS = (ASSET_PARTITION_RANGE_START_TAG, ASSET_PARTITION_RANGE_END_TAG)


def by_market(tags: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """The partition ranges that a run's tags span, as tags by market; empty unless they span several markets.

    A range of `2024-06-03|crypto` to `2024-06-04|stocks` holds both days of every market between the two by name.
    """
    ends = [tags.get(name, "").split("|") for name in _ENDS]
    if any(len(end) != 2 for end in ends):
        return {}
    (first, low), (last, high) = ends
    markets = [name for name in sorted(Market) if low <= name <= high]
    if len(markets) < 2:
        return {}
    return {name: dict(zip(_ENDS, (f"{first}|{name}", f"{last}|{name}"), strict=True)) for name in markets}


class RunPerMarket(QueuedRunCoordinator):
    """Queues a run over several markets as one of each, so that a market that cannot run takes no other down.

    A backfill of as many markets as days, or more, comes as a run a day over all of them. All runs carry its tag, by which
    Dagster follows it.
    """

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        """Queue the run for its first market, and a copy for each other."""
        run = context.dagster_run
        first, *others = list(by_market(run.tags).items()) or [("", {})]
        if run.status is DagsterRunStatus.NOT_STARTED:
            for market, tags in others:
                super().submit_run(context._replace(dagster_run=self._copy(context, market, tags)))
            if others:
                self._instance.add_run_tags(run.run_id, first[1])
        return super().submit_run(context)

    def _copy(self, context: SubmitRunContext, market: str, tags: Mapping[str, str]) -> DagsterRun:
        """The run of another market; made once, also where the daemon was killed in between and submits the run again."""
        run, instance = context.dagster_run, self._instance
        run_id = str(uuid.uuid5(uuid.UUID(run.run_id), market))
        known = instance.get_run_by_id(run_id)
        if known is not None:
            return known
        return instance.create_run(
            job_name=run.job_name,
            run_id=run_id,
            run_config=run.run_config,
            status=DagsterRunStatus.NOT_STARTED,
            tags={**run.tags, **tags},
            root_run_id=None,
            parent_run_id=None,
            step_keys_to_execute=run.step_keys_to_execute,
            execution_plan_snapshot=instance.get_execution_plan_snapshot(run.execution_plan_snapshot_id or ""),
            job_snapshot=instance.get_job_snapshot(run.job_snapshot_id or ""),
            parent_job_snapshot=None,
            asset_selection=run.asset_selection,
            asset_check_selection=run.asset_check_selection,
            resolved_op_selection=run.resolved_op_selection,
            op_selection=run.op_selection,
            remote_job_origin=run.remote_job_origin,
            job_code_origin=run.job_code_origin,
            asset_graph=context.workspace.asset_graph,
        )
