"""How the checks of partitions are defined and run; the assets say which checks they have.

The step of an asset runs its checks once the partitions are committed. In a step of its own, a check would have Dagster list
all partition keys each time. A blocking check that fails keeps the partition from everything downstream.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import dagster as dg

from assets.shared import judgements, look_ahead
from assets.shared.judgements import CheckVerdict
from assets.shared.partitions import open_partitions, run_partitions, whole_range
from assets.shared.shown import facts_of
from resources.lake import Days, Frames
from tapewatch.lookahead.computation import Computation
from tapewatch.market.instruments import Partition
from tapewatch.market.schema import Table
from tapewatch.store.lake.lake import Lake
from tapewatch.store.lake.tape import has_tape

#: Outputs of an asset of market days: its days, then the results of its checks.
Checked = Iterator[dg.Output | dg.AssetCheckResult]


@dataclass(frozen=True, slots=True)
class Check:
    """Judges each partition of a run and fails if one fails. Its name and description are those of `judge`."""

    judge: Callable[[Table, Lake, Partition], CheckVerdict]
    blocks: bool = True

    @property
    def name(self) -> str:
        return self.judge.__name__

    def spec(self, table: Table) -> dg.AssetCheckSpec:
        description = inspect.cleandoc(self.judge.__doc__ or "").partition("\n\n")[0].replace("\n", " ")
        return dg.AssetCheckSpec(self.name, asset=key_of(table), description=description, blocking=self.blocks)

    def result(
        self,
        table: Table,
        lake: Lake,
        partitions: Sequence[Partition],
        computation: Callable[[Partition], Computation] | None = None,
    ) -> dg.AssetCheckResult:
        """The verdict on committed partitions; `computation` says how a day was computed, where that depends on the run."""
        if computation is not None and self.judge is look_ahead.no_look_ahead:
            verdicts = {p: look_ahead.no_look_ahead(table, lake, p, computation(p)) for p in partitions}
        else:
            verdicts = {partition: self.judge(table, lake, partition) for partition in partitions}
        failed = [str(partition) for partition, (passed, _) in verdicts.items() if not passed]
        return dg.AssetCheckResult(
            check_name=self.name,
            passed=not failed,
            severity=dg.AssetCheckSeverity.ERROR if self.blocks else dg.AssetCheckSeverity.WARN,
            description=f"{len(failed)} of {len(verdicts)} partition(s) fail: {', '.join(failed[:10])}"
            if failed
            else None,
            metadata=facts_of(verdicts),
        )


#: The checks of every table.
OF_ALL = (Check(judgements.schema), Check(judgements.keys_unique))


def key_of(table: Table) -> dg.AssetKey:
    return dg.AssetKey([table.group, table.name])


def commit_days(
    context: dg.AssetExecutionContext,
    table: Table,
    lake: Lake,
    frames_of: Callable[[Partition], Frames],
    checks: Sequence[Check] = (),
    *,
    needs_tape: bool = True,
    computation: Callable[[Partition], Computation] | None = None,
) -> Checked:
    """Commit the frames of each of the run's partitions (None keeps one as it is), then run `checks` and those of all tables.

    Unless they all do, days without any tape are skipped where the table is made from it. `computation` says how a day was
    computed, where that depends on the run.
    """
    partitions = list(run_partitions(context))
    has_any = not needs_tape or any(has_tape(lake, p) for p in whole_range(context))
    loaded = [p for p in partitions if not needs_tape or not has_any or has_tape(lake, p)]
    yield dg.Output(Days((p, frames_of(p) if p in loaded else None) for p in partitions))
    yield from results(context, table, lake, checks, computation)


def results(
    context: dg.AssetExecutionContext,
    table: Table,
    lake: Lake,
    checks: Sequence[Check] = (),
    computation: Callable[[Partition], Computation] | None = None,
) -> Iterator[dg.AssetCheckResult]:
    """Run `checks` and those of all tables on the run's partitions, once they are committed."""
    partitions = [partition for partition in open_partitions(context) if lake.exists(table, partition)]
    for check in (*OF_ALL, *checks):
        yield check.result(table, lake, partitions, computation)
