"""Splits into training and validation: everything learnt from must be known before the first row that is judged."""

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import replace

import polars as pl

from tapewatch.labels.training.splits import split_days
from tapewatch.lookahead.checks import Verdict
from tapewatch.lookahead.comparison import plain
from tapewatch.lookahead.computation import ns_of
from tapewatch.lookahead.horizon import Horizon
from tapewatch.market.instruments import NS_PER_MINUTE, Market, Partition, trading_days
from tapewatch.market.tables.tape import TIME

#: Two sets of rows: what is learnt from and what is judged.
Sides = tuple[pl.DataFrame, pl.DataFrame]
_NAME = "labels/training_set (split by days)"


def overlap(
    training: pl.DataFrame,
    validation: pl.DataFrame,
    *,
    begins: str = "event_time",
    known: Sequence[str] = ("known_time", "barrier_known_time"),
) -> Verdict | None:
    """How a split lets training see what is judged: None if it does not.

    Args:
        training: rows learnt from.
        validation: rows judged.
        begins: the column at which a judged row begins.
        known: the columns that say when a row and its labels were known; nulls do not count.
    """
    if not training.height or not validation.height:
        return None
    first = validation.select(ns_of(begins).min()).item()
    last = pl.max_horizontal(ns_of(name) for name in known if name in training.columns)
    late = training.filter(last > first)
    if not late.height:
        return None
    at = late.select(last.alias("at"), pl.all()).sort("at").row(-1, named=True)
    columns = tuple(
        name for name in known if name in training.columns and late.select((ns_of(name) > first).any()).item()
    )
    row = plain(late.sort(last).tail(1)).to_dicts()[0]
    shown = {name: row[name] for name in ("symbol", begins, *columns) if name in row}
    reach = Horizon(int(at["at"]) - int(first), NS_PER_MINUTE)
    return Verdict("split", ("training_set",), training.height, 1, "split", columns, shown, reach)


def judge_split(
    split: Callable[[Sequence[Partition], float], tuple[list[Partition], list[Partition]]] = split_days,
) -> Verdict:
    """Judge a split of days, market by market, at shares of validation from a tenth to nine tenths.

    A day's rows are known by its end, and its labels too, since none reaches beyond a session.
    """
    first = dt.date(2024, 6, 3)
    last, sides, rows = first + dt.timedelta(days=11), 0, 0
    for market in Market:
        days = [Partition(day, market) for day in trading_days(market, first, last)]
        rows += len(days)
        for share in range(1, 10):
            training, validation = split(days, share / 10)
            sides += 1
            found = overlap(_of_days(training), _of_days(validation))
            if found is not None:
                return replace(found, name=_NAME, rows=rows, cuts=sides)
    return Verdict(_NAME, ("training_set",), rows, sides)


def _of_days(days: Sequence[Partition]) -> pl.DataFrame:
    """A first and a last row of each day."""
    sessions = [day.session for day in days]
    return pl.DataFrame(
        {
            "symbol": [str(day) for day in days],
            "event_time": pl.Series([s.regular_start for s in sessions], dtype=pl.Int64).cast(TIME),
            "known_time": pl.Series([s.regular_end for s in sessions], dtype=pl.Int64).cast(TIME),
        }
    )
