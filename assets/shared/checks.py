"""How the checks of partitions are defined, run and shown; the assets say which checks they have.

The step of an asset runs its checks once the partitions are committed. In a step of its own, a check would have Dagster list
all partition keys each time. A blocking check that fails keeps the partition from everything downstream.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from assets.shared import judgements, look_ahead
from assets.shared.judgements import CheckVerdict
from assets.shared.partitions import open_partitions, run_partitions, whole_range
from resources.lake import Days, Frames
from tapewatch.lookahead.computation import Computation
from tapewatch.market.instruments import Partition
from tapewatch.market.schema import Table
from tapewatch.store.lake.lake import Lake
from tapewatch.store.lake.tape import has_tape

#: Outputs of an asset of market days: its days, then the results of its checks.
Checked = Iterator[dg.Output | dg.AssetCheckResult]
#: Partitions of a long range that a check's table shows.
_MOST_ROWS = 200


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
            metadata=shown(verdicts),
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


def shown(verdicts: Mapping[Partition, CheckVerdict]) -> dict[str, Any]:
    """The facts of a check as metadata, numbers as numbers, so that the UI draws their history.

    Always `partition`. Of several partitions: the sum of each count, the lowest of each share, and a table of them all.
    """
    facts = {partition: {k: v for k, v in found.items() if v is not None} for partition, (_, found) in verdicts.items()}
    if len(facts) <= 1:
        return {"partition": named(list(facts)), **{k: v for fact in facts.values() for k, v in fact.items()}}
    numbers: dict[str, list[float]] = {}
    for fact in facts.values():
        for name, value in fact.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                numbers.setdefault(name, []).append(value)
    totals = {
        (name if all(isinstance(v, int) for v in values) else f"lowest_{name}"): (
            sum(values) if all(isinstance(v, int) for v in values) else min(values)
        )
        for name, values in numbers.items()
    }
    return {
        "partition": named(list(facts)),
        "partitions": len(facts),
        "failed_partitions": sum(not passed for passed, _ in verdicts.values()),
        **totals,
        "by_partition": _table({p: {"passed": verdicts[p][0], **facts[p]} for p in sorted(facts)[-_MOST_ROWS:]}),
    }


def named(partitions: Sequence[Partition]) -> str:
    """Partitions in a line: the only one, or the first and the last."""
    if not partitions:
        return "none in the lake"
    first, last = min(partitions), max(partitions)
    return str(first) if first == last else f"{first} to {last}"


def _table(rows: Mapping[Partition, Mapping[str, Any]]) -> dg.MetadataValue:
    """A row per partition; a value that is no number, text or truth value is written out."""
    names = list(dict.fromkeys(name for row in rows.values() for name in row))

    def cell(value: Any) -> str | float | bool:
        return value if isinstance(value, str | int | float) else "" if value is None else str(value)

    records = [
        dg.TableRecord({"partition": str(partition), **{name: cell(row.get(name)) for name in names}})
        for partition, row in rows.items()
    ]
    columns = [dg.TableColumn("partition")] + [dg.TableColumn(name, _type_of(name, rows)) for name in names]
    return dg.MetadataValue.table(records, dg.TableSchema(columns))


def _type_of(name: str, rows: Mapping[Partition, Mapping[str, Any]]) -> str:
    types = {type(row[name]) for row in rows.values() if name in row}
    return "bool" if types == {bool} else "number" if types <= {int, float} else "string"
