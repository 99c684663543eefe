"""Checks of assets' partitions. The asset's own step runs them once the partitions are committed.

A check in a step of its own would have Dagster list all fifty thousand partition keys each time. A blocking check that fails
keeps the partition from everything downstream.
"""

import datetime as dt
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import dagster as dg
import polars as pl

from assets import judgements, label_judgements
from assets.judgements import CheckVerdict
from assets.partitions import open_partitions, run_partitions
from resources.interrupts import uninterrupted
from resources.lake import Days, Frames
from resources.stores import ModelRegistryResource
from tapewatch.market.instruments import Partition
from tapewatch.market.label_tables import LABEL_WEIGHTS, META_LABELS
from tapewatch.market.schema import Table
from tapewatch.market.tables import BARRIER_LABELS, BARS, COVERAGE, MICROSTRUCTURE, QUOTES, TRADES, quarantine_of
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
        return dg.AssetCheckSpec(self.name, asset=_key(table), description=description, blocking=self.blocks)


_ROWS_MATCH_SOURCE = "rows_match_source"
_NO_OLD_GAPS = "no_old_gaps"
_OLD = dt.timedelta(days=1)
_OF_TABLE: dict[str, tuple[Check, ...]] = {
    TRADES.name: (
        Check(judgements.inside_session),
        Check(judgements.prices_and_sizes),
        Check(judgements.aggressor_agreement, blocks=False),
    ),
    QUOTES.name: (Check(judgements.inside_session), Check(judgements.crossed, blocks=False)),
    BARS.name: (
        Check(judgements.inside_session),
        Check(judgements.ohlc_consistent),
        Check(judgements.agree_with_delivered, blocks=False),
    ),
    COVERAGE.name: (Check(judgements.gaps, blocks=False),),
    MICROSTRUCTURE.name: (Check(judgements.no_look_ahead),),
    **{table.name: (Check(label_judgements.no_look_ahead),) for table in (BARRIER_LABELS, META_LABELS, LABEL_WEIGHTS)},
}


def specs(table: Table) -> list[dg.AssetCheckSpec]:
    found = [check.spec(table) for check in _checks(table)]
    if table == COVERAGE:
        description = "No gap of the market has been open for more than a day."
        found.append(dg.AssetCheckSpec(_NO_OLD_GAPS, asset=_key(table), description=description))
    if table in (TRADES, QUOTES):
        description = "Rows in the lake, dropped duplicates and quarantined rows add up to the rows of the source."
        found.append(dg.AssetCheckSpec(_ROWS_MATCH_SOURCE, asset=_key(table), description=description, blocking=True))
    return found


def commit_days(
    context: dg.AssetExecutionContext,
    table: Table,
    lake: Lake,
    frames_of: Callable[[Partition], Frames],
    *,
    needs_tape: bool = True,
) -> Checked:
    """Commit the frames of each of the run's partitions (None keeps one as it is), then run the checks of `table`.

    Unless they all do, days without any tape are skipped where the table is made from it.
    """
    partitions = list(run_partitions(context))
    loaded = [p for p in partitions if not needs_tape or has_tape(lake, p)] or partitions
    yield dg.Output(Days((p, frames_of(p) if p in loaded else None) for p in partitions))
    yield from results(context, table, lake)


def results(context: dg.AssetExecutionContext, table: Table, lake: Lake) -> Iterator[dg.AssetCheckResult]:
    """Check the run's partitions of `table`, once they are committed."""
    partitions = [partition for partition in open_partitions(context) if lake.exists(table, partition)]
    for check in _checks(table):
        verdicts = {partition: check.judge(table, lake, partition) for partition in partitions}
        severity = dg.AssetCheckSeverity.ERROR if check.blocks else dg.AssetCheckSeverity.WARN
        yield _result(check.name, verdicts, severity)
    if table in (TRADES, QUOTES):
        verdicts = {p: _rows_match_source(context, table, lake, p) for p in partitions}
        yield _result(_ROWS_MATCH_SOURCE, verdicts, dg.AssetCheckSeverity.ERROR)


def no_old_gaps(gaps: pl.DataFrame, now: dt.datetime) -> dg.AssetCheckResult:
    """Fails on gaps (`GAPS`) that were opened more than a day ago and are neither filled nor given up."""
    unfilled = gaps.filter(pl.col("status").is_in(["growing", "open"]))
    old = unfilled.filter(pl.col("opened_time") < now - _OLD)
    facts = {
        "open": unfilled.height,
        "unhealable": gaps.filter(pl.col("status") == "unhealable").height,
        "older_than_a_day": dg.MetadataValue.json(
            {row["gap_id"]: row["reason"] or "not tried yet: is the healer running?" for row in old.to_dicts()}
        ),
    }
    return dg.AssetCheckResult(
        check_name=_NO_OLD_GAPS, passed=old.is_empty(), severity=dg.AssetCheckSeverity.ERROR, metadata=facts
    )


def _key(table: Table) -> dg.AssetKey:
    return dg.AssetKey([table.group, table.name])


def _checks(table: Table) -> tuple[Check, ...]:
    return (Check(judgements.schema), Check(judgements.keys_unique), *_OF_TABLE.get(table.name, ()))


def _result(name: str, verdicts: dict[Partition, CheckVerdict], severity: dg.AssetCheckSeverity) -> dg.AssetCheckResult:
    facts = {partition: found for partition, (_, found) in verdicts.items()}
    passed = all(verdict for verdict, _ in verdicts.values())
    return dg.AssetCheckResult(check_name=name, passed=passed, severity=severity, metadata=_by_partition(facts))


def _by_partition(facts: dict[Partition, dict[str, Any]]) -> dict[str, Any]:
    """Facts as metadata: plain values for one partition, so that the UI draws their history; else a JSON value each."""
    if len(facts) != 1:
        return {str(partition): dg.MetadataValue.json(fact) for partition, fact in facts.items()}
    ((partition, fact),) = facts.items()
    return {"partition": str(partition), **{name: value for name, value in fact.items() if value is not None}}


def _rows_match_source(
    context: dg.AssetExecutionContext, table: Table, lake: Lake, partition: Partition
) -> CheckVerdict:
    load = _last_load(context, table, partition)
    if load is None:
        return True, {"kept_from": "an earlier load"}
    kept, refused = lake.rows(table, partition), lake.rows(quarantine_of(table), partition)
    facts = {"kept": kept, "quarantined": refused, **load}
    return kept + refused + load["duplicates"] == load["source_rows"], facts


def _last_load(context: dg.AssetExecutionContext, table: Table, partition: Partition) -> dict[str, int] | None:
    """The source's counts at the last load of a partition; None if this run kept the partition."""
    of_the_day = dg.AssetRecordsFilter(_key(table), asset_partitions=[str(partition)])
    with uninterrupted():
        records = context.instance.fetch_materializations(of_the_day, limit=1).records
    metadata = records[0].asset_materialization.metadata if records else {}
    if "source_rows" not in metadata:
        return None
    return {name: int(metadata[name].value) for name in ("source_rows", "duplicates")}


@dg.asset_check(
    asset=["models", "evaluation"],
    name="beats_trivial_rule",
    description="Average precision above that of the rule: volume over three times its recent mean.",
    additional_ins={"isolation_forest": dg.AssetIn(["models", "isolation_forest"])},
    blocking=True,
)
def beats_trivial_rule(isolation_forest: dict[str, Any], model_registry: ModelRegistryResource) -> dg.AssetCheckResult:
    """A detector that does not beat a trivial rule is not registered; one that could not be judged is, with a warning."""
    metrics = model_registry.open().metrics(isolation_forest["run_id"])
    if "average_precision" not in metrics:
        counts = {name: metrics[name] for name in ("minutes", "anomalous_minutes") if name in metrics}
        return dg.AssetCheckResult(
            passed=False,
            severity=dg.AssetCheckSeverity.WARN,
            description="not judged: the validation days hold no anomalous minute, or nothing else; run over more days",
            metadata=counts,
        )
    beaten = metrics["average_precision"] > metrics["rule_average_precision"]
    return dg.AssetCheckResult(passed=beaten, metadata={k: v for k, v in metrics.items() if "precision" in k})
