"""Frames, counts and the verdicts of checks as metadata of the UI."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
import polars as pl

from assets.shared.judgements import CheckVerdict
from tapewatch.market.instruments import Partition

#: Partitions of a long range that a check's table shows.
_MOST_ROWS = 200


def table_of(frame: pl.DataFrame) -> dg.MetadataValue:
    """A frame of texts and numbers as a table; nulls are empty."""
    numeric = {name for name, dtype in frame.schema.items() if dtype.is_numeric()}
    columns = [dg.TableColumn(name, "number" if name in numeric else "string") for name in frame.columns]
    rows = frame.with_columns(pl.selectors.float().round(4)).to_dicts()
    records = [dg.TableRecord({name: _cell(value) for name, value in row.items()}) for row in rows]
    return dg.MetadataValue.table(records, dg.TableSchema(columns))


def counts_of(values: pl.Series) -> dict[str, int]:
    """How often each value occurs, the most frequent first."""
    return {str(name): int(rows) for name, rows in values.cast(pl.String).value_counts(sort=True).iter_rows()}


def _cell(value: object) -> str | int | float:
    return "" if value is None else value if isinstance(value, int | float) else str(value)


def facts_of(verdicts: Mapping[Partition, CheckVerdict]) -> dict[str, Any]:
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
