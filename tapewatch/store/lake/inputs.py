"""What a partition was made from: the hash of each object that was read, in a file beside the table."""

import json
from collections.abc import Sequence
from typing import Any

from upath import UPath

from tapewatch.market.instruments import Partition
from tapewatch.market.schema import Table
from tapewatch.store.durable import Staging
from tapewatch.store.lake.lake import Lake


def inputs_now(lake: Lake, partition: Partition, sources: Sequence[Table]) -> dict[str, dict[str, Any]]:
    """Path, sha256 and rows of a partition of each table, by its name; tables without it are left out."""
    return {
        f"{table.group}/{table.name}": {
            "path": str(lake.path(table, partition)),
            "sha256": lake.digest(table, partition),
            "rows": lake.rows(table, partition),
        }
        for table in sources
        if lake.exists(table, partition)
    }


def record_inputs(lake: Lake, table: Table, partition: Partition, sources: Sequence[Table]) -> None:
    """Record that a partition of `table` was made from the present partitions of `sources`; replaces the earlier record."""
    found = inputs_now(lake, partition, sources)
    with Staging(_file(lake, table, partition)) as staging:
        staging.path.write_text(json.dumps(found, indent=1), encoding="utf-8")
        staging.swap_in()


def recorded_inputs(lake: Lake, table: Table, partition: Partition) -> dict[str, dict[str, Any]]:
    """What was recorded; empty where nothing was, as of a partition from an earlier release."""
    path = _file(lake, table, partition)
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def _file(lake: Lake, table: Table, partition: Partition) -> UPath:
    return lake.root / table.group / "inputs" / f"{table.name}-{partition.market}-{partition.date}.json"
