"""Which minutes without a row are silence, and which are not known to be.

A minute of a symbol without a row is silent if its own quotes or ineligible trades show that the feed was up. Otherwise it belongs to
a run of minutes without a row, and the run is judged by the symbol's habit: the share of minutes with a row in each half hour of the
session, on other kept days. Where no other day of the symbol is kept, the day itself gives that share, and a neighbour's tape must
show that the feed was up: some symbol of the market has a row in the minute, or the market as a whole, which has rows in most
minutes, pauses no longer than is usual for it. A run is silence if its chance, for independent minutes of that share, is at least
one in a million.
"""

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl

from tapewatch.market.arrays import Array

#: Least chance of a run that still counts as silence.
_LEAST_CHANCE = math.log(1e-6) - 1e-9
#: A symbol that trades in every minute may pause for three.
_HIGHEST_SHARE = 0.99
#: A market's own pauses prove nothing where it has rows in fewer minutes.
_DENSE = 0.5
HABIT_MINUTES = 30

HABIT, ALONE = "habit", "alone"


@dataclass(frozen=True)
class Judged:
    """The minutes of one product's day that can be silent: `is_judged` by minute, of the day's expected minutes."""

    is_judged: Array

    @property
    def before(self) -> Array:
        """Number of judged minutes before each minute, one entry more than minutes."""
        return np.concatenate([[0], np.cumsum(self.is_judged)])


def habits(days: Iterable[tuple[pl.DataFrame, Array]]) -> pl.DataFrame:
    """A symbol's share of minutes with a row, by half hour of the session: symbol, bucket, share, days.

    Args:
        days: of each other kept day the minutes with a row (symbol, minute; no repeats) and whether each minute is expected.
    """
    counted = []
    for rows, is_expected in days:
        buckets = pl.DataFrame({"bucket": np.arange(is_expected.size) // HABIT_MINUTES, "expected": is_expected})
        expected = buckets.group_by("bucket").agg(pl.col("expected").sum()).filter(pl.col("expected") > 0)
        kept = rows.select("symbol").unique().join(expected, how="cross")
        held = rows.group_by("symbol", bucket=pl.col("minute") // HABIT_MINUTES).agg(held=pl.len())
        counted.append(kept.join(held, on=["symbol", "bucket"], how="left"))
    if not counted:
        return pl.DataFrame(
            schema={"symbol": pl.Categorical, "bucket": pl.Int64, "share": pl.Float64, "days": pl.UInt32}
        )
    share = pl.col("held").fill_null(0).sum() / pl.col("expected").sum()
    return pl.concat(counted).group_by("symbol", "bucket").agg(share=share.clip(0, 1), days=pl.len())


def market_is_up(has_rows: Array, is_judged: Array) -> Array:
    """By minute: whether the tape of the market shows that the feed was up.

    Args:
        has_rows: whether any symbol has a row.
        is_judged: whether rows are expected at all.
    """
    judged = np.flatnonzero(is_judged)
    up = has_rows.copy()
    share = float(has_rows[judged].mean()) if judged.size else 0.0
    if share < _DENSE:
        return up
    longest = int(_LEAST_CHANCE / math.log(1 - min(share, _HIGHEST_SHARE)))
    held = np.concatenate([[-1], np.flatnonzero(has_rows[judged]), [judged.size]])
    for after, before in itertools.pairwise(held):
        if before - after - 1 <= longest:
            up[judged[after + 1 : before]] = True
    return up


def unknown_minutes(
    held: pl.DataFrame, symbols: pl.DataFrame, judged: Judged, up: Array, habit: pl.DataFrame
) -> pl.DataFrame:
    """The minutes of each symbol that are not known to be silent: symbol, unknown, cause, first (minute of the longest run).

    Args:
        held: symbol, minute, is_row: minutes that need no judgement, as they have a row (`is_row`), are missing anyway, or show by
            other rows that the feed was up; all of them judged minutes, without repeats.
        symbols: symbol: the symbols of the product.
        judged: the minutes that can be silent.
        up: by minute, of `market_is_up`.
        habit: of `habits`.
    """
    before, size = judged.before, judged.is_judged.size
    down = np.concatenate([[0], np.cumsum(judged.is_judged & ~up)])
    edges = pl.concat(
        [
            held.select("symbol", pl.col("minute").cast(pl.Int64)),
            symbols.select("symbol", minute=pl.lit(-1, pl.Int64)),
            symbols.select("symbol", minute=pl.lit(size, pl.Int64)),
        ]
    ).sort("symbol", "minute")
    runs = edges.select("symbol", start=pl.col("minute") + 1, end=pl.col("minute").shift(-1).over("symbol")).filter(
        pl.col("end") > pl.col("start")
    )
    runs = runs.with_columns(
        length=_at(before, "end") - _at(before, "start"), down=_at(down, "end") - _at(down, "start")
    ).filter(pl.col("length") > 0)
    own = held.group_by("symbol").agg(rows=pl.col("is_row").sum())
    share = (pl.col("rows").fill_null(0) / max(int(before[-1]), 1)).clip(0, _HIGHEST_SHARE)
    cumulated = _cumulated(habit, before)
    judged_runs = (
        runs.join(own, on="symbol", how="left")
        .join(_log_chance(runs, cumulated, before), on=["symbol", "start"], how="left")
        .with_columns(by_day=pl.col("length") * (1 - share).log(), has_rows=pl.col("rows").fill_null(0) > 0)
        .with_columns(
            unknown=pl.when(pl.col("chance").is_not_null())
            .then(pl.when(pl.col("chance") < _LEAST_CHANCE).then("length").otherwise(0))
            .when((pl.col("by_day") < _LEAST_CHANCE) | ~pl.col("has_rows"))
            .then("length")
            .otherwise("down"),
            cause=pl.when(pl.col("chance").is_not_null()).then(pl.lit(HABIT)).otherwise(pl.lit(ALONE)),
        )
        .filter(pl.col("unknown") > 0)
    )
    longest = pl.col("length").arg_max()
    return judged_runs.group_by("symbol").agg(
        unknown=pl.col("unknown").sum(), cause=pl.col("cause").get(longest), first=pl.col("start").get(longest)
    )


def _at(values: Array, minute: str) -> pl.Expr:
    return pl.lit(pl.Series(values.astype(np.int64))).gather(pl.col(minute))


def _cumulated(habit: pl.DataFrame, before: Array) -> pl.DataFrame:
    """By symbol and half hour: the log of the chance of no row in a minute, and its sum over the judged minutes before."""
    size = before.size - 1
    starts = np.minimum(np.arange(0, size + HABIT_MINUTES, HABIT_MINUTES), size)
    minutes = pl.DataFrame({"bucket": np.arange(starts.size - 1), "of_bucket": np.diff(before[starts])})
    # A half hour that the other days lack, as after an early close, counts as the symbol's average.
    share = pl.col("share").fill_null(pl.col("share").mean().over("symbol"))
    log = (1 - share.clip(0, _HIGHEST_SHARE)).log()
    return (
        habit.select("symbol")
        .unique()
        .join(minutes, how="cross")
        .join(habit.select("symbol", pl.col("bucket").cast(pl.Int64), "share"), on=["symbol", "bucket"], how="left")
        .with_columns(log=log)
        .sort("symbol", "bucket")
        .with_columns(
            sum=((pl.col("log") * pl.col("of_bucket")).cum_sum() - pl.col("log") * pl.col("of_bucket")).over("symbol")
        )
        .select("symbol", "bucket", "log", "sum")
    )


def _log_chance(runs: pl.DataFrame, cumulated: pl.DataFrame, before: Array) -> pl.DataFrame:
    """symbol, start, chance: of each run of a symbol with a habit, by the sums at its two ends."""
    sums = []
    for end in ("start", "end"):
        # The end of the day belongs to its last half hour.
        bucket = (pl.col("at") // HABIT_MINUTES).clip(0, max(before.size - 2, 0) // HABIT_MINUTES)
        into = _at(before, "at") - _at(before, "bucket_start")
        sums.append(
            runs.select("symbol", run="start", at=end)
            .with_columns(bucket=bucket)
            .with_columns(bucket_start=pl.col("bucket") * HABIT_MINUTES)
            .join(cumulated, on=["symbol", "bucket"], how="inner")
            .select("symbol", "run", (pl.col("sum") + pl.col("log") * into).alias(end))
        )
    first, last = sums
    both = first.join(last, on=["symbol", "run"])
    return both.select("symbol", start="run", chance=pl.col("end") - pl.col("start"))
