"""Checks on what assets produced. Those that block keep a bad partition from everything downstream.

Each reads the committed partition back from the lake, a few symbols at a time.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import dagster as dg
import polars as pl

from assets.partitions import checked_partitions
from resources.lake import LakeResource
from resources.registry import ModelRegistryResource
from tapewatch.bars.time_bars import bar_agreement
from tapewatch.features.aggressor import aggressor_agreement
from tapewatch.features.microstructure import microstructure
from tapewatch.market.instruments import NS_PER_MINUTE, Market, Partition
from tapewatch.market.schema import Table
from tapewatch.market.tables import (
    ANOMALIES,
    BARRIER_LABELS,
    BARS,
    COVERAGE,
    DELIVERED_BARS,
    MICROSTRUCTURE,
    QUOTES,
    TRADES,
    TRAINING_SET,
    TRUTH_LABELS,
    quarantine_of,
)
from tapewatch.store.lake import Lake, whole_symbol_groups
from tapewatch.store.tape import symbol_batches

Verdict = tuple[bool, dict[str, Any]]
_ROWS_AT_ONCE = 4_000_000
_LEAST_VOLUME_AGREEMENT = 0.95


def _check(
    table: Table, name: str, description: str, *, blocking: bool = False, warns: bool = False
) -> Callable[[Callable[[Lake, Partition], Verdict]], dg.AssetChecksDefinition]:
    """A check of one partition, made into an asset check over the run's partitions; it fails if one of them does."""

    def decorate(judge: Callable[[Lake, Partition], Verdict]) -> dg.AssetChecksDefinition:
        @dg.asset_check(
            asset=[table.group, table.name],
            name=name,
            description=description,
            blocking=blocking,
        )
        def check(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> dg.AssetCheckResult:
            opened = lake.open()
            verdicts = {p: judge(opened, p) for p in checked_partitions(context, opened.partitions(table))}
            return dg.AssetCheckResult(
                passed=all(passed for passed, _ in verdicts.values()),
                severity=dg.AssetCheckSeverity.WARN if warns else dg.AssetCheckSeverity.ERROR,
                metadata=_by_partition({partition: facts for partition, (_, facts) in verdicts.items()}),
            )

        return check

    return decorate


def _by_partition(facts: dict[Partition, dict[str, Any]]) -> dict[str, Any]:
    """Facts as metadata: plain for one partition, so that the UI draws their history; else a JSON value for each."""
    if len(facts) == 1:
        return {
            "partition": str(*facts),
            **{name: fact for name, fact in next(iter(facts.values())).items() if fact is not None},
        }
    return {str(partition): dg.MetadataValue.json(fact) for partition, fact in facts.items()}


def _groups(lake: Lake, table: Table, partition: Partition) -> Iterator[pl.DataFrame]:
    counts = lake.symbols(table, partition)
    for symbols in whole_symbol_groups([counts], _ROWS_AT_ONCE):
        yield lake.read(table, partition, symbols=symbols)


def _schema_check(table: Table) -> dg.AssetChecksDefinition:
    @_check(table, "schema", "Columns, types, nulls and ranges are as the table's definition says.", blocking=True)
    def schema(lake: Lake, partition: Partition) -> Verdict:
        problems = {fault for frame in _groups(lake, table, partition) for fault in table.problems(frame)}
        return not problems, {"problems": sorted(problems)}

    return schema


def _keys_check(table: Table) -> dg.AssetChecksDefinition:
    @_check(table, "keys_unique", f"No two rows share a key ({', '.join(table.key)}).", blocking=True)
    def keys_unique(lake: Lake, partition: Partition) -> Verdict:
        repeated = sum(table.duplicates(frame) for frame in _groups(lake, table, partition))
        return repeated == 0, {"repeated": repeated}

    return keys_unique


def _session_check(table: Table) -> dg.AssetChecksDefinition:
    @_check(table, "inside_session", "Every row lies within its market day.", blocking=True)
    def inside_session(lake: Lake, partition: Partition) -> Verdict:
        session = partition.session
        time = pl.col("time").dt.timestamp("ns")
        outside = lake.scan(table, partition).select(
            (~time.is_between(session.day_start, session.day_end, "left")).sum()
        )
        extended = lake.scan(table, partition).select(
            (~time.is_between(session.extended_start, session.extended_end, "left")).sum()
        )
        rows_outside = int(outside.collect().item() or 0)
        return rows_outside == 0, {"outside_day": rows_outside, "outside_hours": int(extended.collect().item() or 0)}

    return inside_session


def _source_check(table: Table) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=[table.group, table.name],
        name="rows_match_source",
        description="Rows in the lake, dropped re-deliveries and quarantined rows add up to what the source had.",
        blocking=True,
    )
    def rows_match_source(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> dg.AssetCheckResult:
        opened, facts = lake.open(), {}
        for partition in checked_partitions(context, opened.partitions(table)):
            told = _last_load(context, table, partition)
            if told is None:
                continue
            refused = opened.rows(quarantine_of(table), partition)
            kept = opened.rows(table, partition)
            facts[partition] = {"kept": kept, "quarantined": refused, **told}
        complete = all(f["kept"] + f["quarantined"] + f["duplicates"] == f["source_rows"] for f in facts.values())
        return dg.AssetCheckResult(passed=complete, metadata=_by_partition(facts))

    return rows_match_source


def _last_load(context: dg.AssetCheckExecutionContext, table: Table, partition: Partition) -> dict[str, int] | None:
    """What the last load of a partition said of its source; None where it was kept from an earlier one."""
    records = context.instance.fetch_materializations(
        dg.AssetRecordsFilter(dg.AssetKey([table.group, table.name]), asset_partitions=[str(partition)]), limit=1
    ).records
    if not records:
        return None
    metadata = records[0].asset_materialization.metadata
    if "source_rows" not in metadata:
        return None
    return {name: int(metadata[name].value) for name in ("source_rows", "duplicates")}


@_check(TRADES, "prices_and_sizes", "No trade without a price, none of negative size.", blocking=True)
def prices_and_sizes(lake: Lake, partition: Partition) -> Verdict:
    """A price of zero or a negative size would poison every bar and feature above it."""
    bad = lake.scan(TRADES, partition).select(
        no_price=(pl.col("price") <= 0).sum(), negative_size=(pl.col("size") < 0).sum()
    )
    facts = bad.collect().row(0, named=True)
    return not any(facts.values()), facts


@_check(QUOTES, "crossed", "How many two-sided quotes are crossed or locked; above 5 % crossed warns.", warns=True)
def crossed(lake: Lake, partition: Partition) -> Verdict:
    """A tenth of the quotes crossed is a dirty feed, not a market."""
    two_sided = (pl.col("bid_price") > 0) & (pl.col("ask_price") > 0)
    facts = (
        lake.scan(QUOTES, partition)
        .filter(two_sided)
        .select(
            quotes=pl.len(),
            crossed=(pl.col("bid_price") > pl.col("ask_price")).sum(),
            locked=(pl.col("bid_price") == pl.col("ask_price")).sum(),
        )
        .collect()
        .row(0, named=True)
    )
    return facts["crossed"] <= 0.05 * facts["quotes"], facts


@_check(
    TRADES,
    "aggressor_agreement",
    "How far the vendor's aggressor codes, or the tick rule, agree with quotes.",
    warns=True,
)
def aggressors_agree(lake: Lake, partition: Partition) -> Verdict:
    """Crypto: the documented reading of the codes should agree with the quotes more often than the inverted one."""
    found = [aggressor_agreement(*tape, partition.session) for tape in symbol_batches(lake, partition)]
    compared, agreeing = sum(f.compared for f in found), sum(f.agreeing for f in found)
    facts = {"compared": compared, "agreeing": agreeing, "share": agreeing / compared if compared else None}
    inverted = partition.market is Market.CRYPTO and compared > 0 and agreeing < compared / 2
    return not inverted, facts


@_check(BARS, "ohlc_consistent", "Low is lowest, high is highest, in every bar.", blocking=True)
def ohlc_consistent(lake: Lake, partition: Partition) -> Verdict:
    """Bars that contradict themselves are refused."""
    body_low, body_high = pl.min_horizontal("open", "close"), pl.max_horizontal("open", "close")
    wrong = (pl.col("low") > body_low) | (pl.col("high") < body_high) | (pl.col("low") <= 0)
    count = int(lake.scan(BARS, partition).select(wrong.sum()).collect().item() or 0)
    return count == 0, {"inconsistent": count}


@_check(BARS, "agree_with_delivered", "How many minutes built from trades equal the vendor's own bars.", warns=True)
def agree_with_delivered(lake: Lake, partition: Partition) -> Verdict:
    """Volumes should agree almost everywhere; prices only as far as the vendor follows its published rules."""
    bars = lake.read(BARS, partition)
    delivered = bars.filter(pl.col("delivered_close").is_not_null()).select(
        "symbol", "time", **{name: f"delivered_{name}" for name in ("open", "high", "low", "close", "volume")}
    )
    built = bars.filter(pl.col("source") == "trades")
    found = bar_agreement(DELIVERED_BARS.conform(built), DELIVERED_BARS.conform(delivered), partition.session)
    is_comparable = found.built > 0 and found.delivered > 0
    return not is_comparable or found.volume_share >= _LEAST_VOLUME_AGREEMENT, asdict(found)


@_check(COVERAGE, "gaps", "No symbol lacks more than a tenth of its regular minutes.", warns=True)
def gaps(lake: Lake, partition: Partition) -> Verdict:
    """Quiet symbols have empty minutes; a long run of them in a busy symbol is an outage."""
    rows = lake.read(COVERAGE, partition)
    thin = rows.filter(pl.col("missing_minutes") > 0.1 * pl.col("expected_minutes"))
    return thin.is_empty(), {
        row["symbol"]: {"missing": row["missing_minutes"], "longest_gap": row["longest_gap_minutes"]}
        for row in thin.iter_rows(named=True)
    }


@_check(
    MICROSTRUCTURE, "no_look_ahead", "Features on a tape cut at noon equal features on the whole tape.", blocking=True
)
def no_look_ahead(lake: Lake, partition: Partition) -> Verdict:
    """The future is taken away from the busiest symbol; nothing known before may change."""
    counts = lake.symbols(TRADES, partition)
    if not counts:
        return True, {"symbols": 0}
    symbol, session = max(counts, key=lambda name: counts[name]), partition.session
    middle = session.regular_start + (session.regular_end - session.regular_start) // 2
    cut = middle - middle % NS_PER_MINUTE
    seen = pl.col("time").dt.timestamp("ns") < cut
    trades, quotes = (
        lake.read(table, partition, symbols=[symbol]).filter(seen) if lake.exists(table, partition) else table.empty()
        for table in (TRADES, QUOTES)
    )
    known = pl.col("known_time").dt.timestamp("ns") <= cut
    alone = microstructure(trades, quotes, session, through_ns=cut, symbols=[symbol])
    whole = lake.read(MICROSTRUCTURE, partition, symbols=[symbol]).filter(known)
    return alone.equals(whole), {"symbol": symbol, "minutes": alone.height}


@dg.asset_check(
    asset=["models", "evaluation"],
    name="beats_trivial_rule",
    description="Average precision above that of the rule: volume over three times its recent mean.",
    additional_ins={"isolation_forest": dg.AssetIn(["models", "isolation_forest"])},
    blocking=True,
)
def beats_trivial_rule(isolation_forest: dict[str, Any], model_registry: ModelRegistryResource) -> dg.AssetCheckResult:
    """A detector that a line of arithmetic outdoes is not registered."""
    metrics = model_registry.metrics(isolation_forest["run_id"])
    beaten = metrics["average_precision"] > metrics["rule_average_precision"]
    return dg.AssetCheckResult(passed=beaten, metadata={k: v for k, v in metrics.items() if "precision" in k})


_TABLES = (TRADES, QUOTES, BARS, COVERAGE, MICROSTRUCTURE, BARRIER_LABELS, TRUTH_LABELS, TRAINING_SET, ANOMALIES)
table_checks = [_schema_check(table) for table in _TABLES]
key_checks = [_keys_check(table) for table in _TABLES]
session_checks = [_session_check(table) for table in (TRADES, QUOTES, BARS)]
source_checks = [_source_check(table) for table in (TRADES, QUOTES)]
