"""Checks of what assets produced, told to Dagster by the asset's own step once the partition is committed.

A check in a step of its own would have Dagster list all fifty thousand partition keys each time. Those that block keep a
bad partition from everything downstream.
"""

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import dagster as dg
import polars as pl

from assets import judgements
from assets.judgements import CheckVerdict
from assets.partitions import open_partitions
from resources.interrupts import uninterrupted
from resources.registry import ModelRegistryResource
from tapewatch.market.instruments import Partition
from tapewatch.market.schema import Table
from tapewatch.market.tables import BARS, COVERAGE, MICROSTRUCTURE, QUOTES, TRADES, quarantine_of
from tapewatch.store.lake.lake import Lake

#: What an asset of market days yields: its days, then what the checks say of them.
Checked = Iterator[dg.Output | dg.AssetCheckResult]


@dataclass(frozen=True, slots=True)
class Check:
    """A named judgement of one partition; a run's partitions are judged in turn, and the check fails if one does."""

    name: str
    description: str
    judge: Callable[[Table, Lake, Partition], CheckVerdict]
    blocks: bool = True

    def spec(self, table: Table) -> dg.AssetCheckSpec:
        """As Dagster wants to be told beforehand."""
        asset = dg.AssetKey([table.group, table.name])
        return dg.AssetCheckSpec(self.name, asset=asset, description=self.description, blocking=self.blocks)


_SCHEMA = Check("schema", "Columns, types, nulls and ranges are as the table's definition says.", judgements.schema)
_KEYS = Check("keys_unique", "No two rows share a key.", judgements.keys_unique)
_SESSION = Check("inside_session", "Every row lies within its market day.", judgements.inside_session)
_ROWS_MATCH_SOURCE = "rows_match_source"
_NO_OLD_GAPS = "no_old_gaps"
_OLD = dt.timedelta(days=1)
_OF_TABLE: dict[str, tuple[Check, ...]] = {
    TRADES.name: (
        _SESSION,
        Check("prices_and_sizes", "No trade without a price, none of negative size.", judgements.prices_and_sizes),
        Check(
            "aggressor_agreement",
            "How far the vendor's aggressor codes, or the tick rule, agree with the quotes; warns where the codes read "
            "better the other way round.",
            judgements.aggressors_agree,
            blocks=False,
        ),
    ),
    QUOTES.name: (
        _SESSION,
        Check(
            "crossed",
            "How many quotes are crossed or locked; above 5 % crossed warns.",
            judgements.crossed,
            blocks=False,
        ),
    ),
    BARS.name: (
        _SESSION,
        Check("ohlc_consistent", "Low is lowest, high is highest, in every bar.", judgements.ohlc_consistent),
        Check(
            "agree_with_delivered",
            "How many minutes built from trades equal the vendor's own bars, with and without intermarket sweeps.",
            judgements.agree_with_delivered,
            blocks=False,
        ),
    ),
    COVERAGE.name: (
        Check("gaps", "No symbol lacks more than a tenth of its regular minutes.", judgements.gaps, blocks=False),
    ),
    MICROSTRUCTURE.name: (
        Check(
            "no_look_ahead", "Features on a tape cut at noon equal those of the whole tape.", judgements.no_look_ahead
        ),
    ),
}


def specs(table: Table) -> list[dg.AssetCheckSpec]:
    """The checks of a partitioned table."""
    source = []
    if table == COVERAGE:
        asset = dg.AssetKey([table.group, table.name])
        description = "No gap of the market has been open for more than a day."
        source = [dg.AssetCheckSpec(_NO_OLD_GAPS, asset=asset, description=description)]
    if table in (TRADES, QUOTES):
        description = "Rows in the lake, dropped re-deliveries and quarantined rows add up to what the source had."
        asset = dg.AssetKey([table.group, table.name])
        source = [dg.AssetCheckSpec(_ROWS_MATCH_SOURCE, asset=asset, description=description, blocking=True)]
    return [*(check.spec(table) for check in _checks(table)), *source]


def results(context: dg.AssetExecutionContext, table: Table, lake: Lake) -> Iterator[dg.AssetCheckResult]:
    """Judge the run's partitions of `table`; to be asked after they are committed."""
    partitions = [partition for partition in open_partitions(context) if lake.exists(table, partition)]
    for check in _checks(table):
        verdicts = {partition: check.judge(table, lake, partition) for partition in partitions}
        severity = dg.AssetCheckSeverity.ERROR if check.blocks else dg.AssetCheckSeverity.WARN
        yield _result(check.name, verdicts, severity)
    if table in (TRADES, QUOTES):
        verdicts = {p: _rows_match_source(context, table, lake, p) for p in partitions}
        yield _result(_ROWS_MATCH_SOURCE, verdicts, dg.AssetCheckSeverity.ERROR)


def no_old_gaps(gaps: pl.DataFrame, now: dt.datetime) -> dg.AssetCheckResult:
    """Fails on gaps (`GAPS`) that were noticed more than a day ago and still are neither filled nor given up."""
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


def _checks(table: Table) -> tuple[Check, ...]:
    return (_SCHEMA, _KEYS, *_OF_TABLE.get(table.name, ()))


def _result(name: str, verdicts: dict[Partition, CheckVerdict], severity: dg.AssetCheckSeverity) -> dg.AssetCheckResult:
    facts = {partition: found for partition, (_, found) in verdicts.items()}
    passed = all(verdict for verdict, _ in verdicts.values())
    return dg.AssetCheckResult(check_name=name, passed=passed, severity=severity, metadata=_by_partition(facts))


def _by_partition(facts: dict[Partition, dict[str, Any]]) -> dict[str, Any]:
    """Facts as metadata: plain for one partition, so that the UI draws their history; else a JSON value for each."""
    if len(facts) != 1:
        return {str(partition): dg.MetadataValue.json(fact) for partition, fact in facts.items()}
    ((partition, fact),) = facts.items()
    return {"partition": str(partition), **{name: value for name, value in fact.items() if value is not None}}


def _rows_match_source(
    context: dg.AssetExecutionContext, table: Table, lake: Lake, partition: Partition
) -> CheckVerdict:
    told = _last_load(context, table, partition)
    if told is None:
        return True, {"kept_from": "an earlier load"}
    kept, refused = lake.rows(table, partition), lake.rows(quarantine_of(table), partition)
    facts = {"kept": kept, "quarantined": refused, **told}
    return kept + refused + told["duplicates"] == told["source_rows"], facts


def _last_load(context: dg.AssetExecutionContext, table: Table, partition: Partition) -> dict[str, int] | None:
    """What the last load of a partition said of its source; None where it was kept from an earlier one."""
    of_the_day = dg.AssetRecordsFilter(dg.AssetKey([table.group, table.name]), asset_partitions=[str(partition)])
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
    """A detector that a line of arithmetic outdoes is not registered."""
    metrics = model_registry.open().metrics(isolation_forest["run_id"])
    beaten = metrics["average_precision"] > metrics["rule_average_precision"]
    return dg.AssetCheckResult(passed=beaten, metadata={k: v for k, v in metrics.items() if "precision" in k})
