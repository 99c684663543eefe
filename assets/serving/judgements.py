"""The checks of replayed scoring requests."""

import polars as pl

from assets.shared.judgements import CheckVerdict
from tapewatch.market.instruments import Partition
from tapewatch.market.schema import Table
from tapewatch.store.lake.lake import Lake

#: Scores are computed in double precision over single-precision leaves.
_SCORE_TOLERANCE = 1e-6
_NAMED = 10


def vectors_equal_as_of_join(table: Table, lake: Lake, partition: Partition) -> CheckVerdict:
    """Every sampled vector from the online store is, bit for bit, the lake's as-of join."""
    rows = lake.read(table, partition).filter("is_from_store")
    faults = rows.filter(~pl.col("is_in_lake") | (pl.col("differing") != ""))
    named = faults.head(_NAMED).select(
        pl.format("{} {}", pl.col("symbol").cast(pl.String), pl.col("event_time").dt.strftime("%FT%TZ")),
        pl.when("is_in_lake").then("differing").otherwise(pl.lit("not in the lake")),
    )
    facts = {
        "vectors": rows.height,
        "equal": (rows.height - faults.height) / max(rows.height, 1),
        "behind_the_lake": rows.filter(pl.col("lag_s") > 0).height,
        "greatest_lag_s": rows["lag_s"].max(),
        "differing": [": ".join(row) for row in named.iter_rows()],
    }
    return faults.is_empty(), facts


def scores_repeat(table: Table, lake: Lake, partition: Partition) -> CheckVerdict:
    """Every answered score is what the same version gives for the vector now, to 1e-6."""
    rows = lake.read(table, partition).filter(pl.col("score").is_not_null())
    again = rows.filter(pl.col("score_again").is_not_null())
    change = (again["score_again"] - again["score"]).abs()
    facts = {
        "rows": rows.height,
        "without_their_version": rows.height - again.height,
        "greatest_change": change.max(),
    }
    return not (change > _SCORE_TOLERANCE).any(), facts
