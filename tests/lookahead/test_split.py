"""A split that lets training see what is judged is found, and the platform's own is clean."""

import datetime as dt
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from tapewatch.lookahead.split import Sides, judge_split, overlap
from tapewatch.market.instruments import NS_PER_MINUTE, Partition
from tapewatch.market.tables.tape import TIME

MINUTES = 300
LABEL_MINUTES = 30


def rows() -> pl.DataFrame:
    """Minutes of one symbol, each with a label that is known half an hour later; the last labels are unknown."""
    start = 1_700_000_000 * 10**9 + np.arange(MINUTES) * NS_PER_MINUTE
    known = start + NS_PER_MINUTE
    label = [int(at) + LABEL_MINUTES * NS_PER_MINUTE if at < known[-LABEL_MINUTES] else None for at in known]
    times = {"event_time": start, "known_time": known, "barrier_known_time": label}
    return pl.DataFrame(
        {"symbol": "AAA", **{name: pl.Series(at, dtype=pl.Int64).cast(TIME) for name, at in times.items()}}
    )


def _at(row: int, purged: int = 0) -> Sides:
    return rows()[: row - purged], rows()[row:]


def _shuffled(_: int) -> Sides:
    mixed = rows().sample(fraction=1.0, shuffle=True, seed=1)
    return mixed[:200], mixed[200:]


def _folds(row: int) -> Sides:
    """The middle is judged by what comes before and after."""
    return pl.concat([rows()[: row - 100], rows()[row:]]), rows()[row - 100 : row]


def _every_second(_: int) -> Sides:
    even = pl.int_range(pl.len()) % 2 == 0
    return rows().filter(even), rows().filter(~even)


def _backwards(row: int) -> Sides:
    return rows()[row:], rows()[:row]


LEAKING: dict[str, tuple[Callable[[int], Sides], tuple[str, ...]]] = {
    "labels overlap": (_at, ("barrier_known_time",)),
    "one label overlaps": (lambda row: _at(row, LABEL_MINUTES - 1), ("barrier_known_time",)),
    "shuffled": (_shuffled, ("known_time", "barrier_known_time")),
    "folds": (_folds, ("known_time", "barrier_known_time")),
    "every second row": (_every_second, ("known_time", "barrier_known_time")),
    "backwards": (_backwards, ("known_time", "barrier_known_time")),
    "the same rows": (lambda row: (rows(), rows()), ("known_time", "barrier_known_time")),
}


@pytest.mark.parametrize(("sides", "columns"), LEAKING.values(), ids=list(LEAKING))
def test_training_that_sees_what_is_judged_is_found(sides: Callable[[int], Sides], columns: tuple[str, ...]) -> None:
    found = overlap(*sides(200))
    assert found is not None
    assert found.columns == columns
    assert found.horizon is not None


def test_the_reach_of_labels_is_named() -> None:
    found = overlap(*_at(200))
    assert found is not None
    assert str(found.horizon) == "up to 30 min (30 rows)"


def test_a_split_that_leaves_out_the_labels_that_reach_across_is_clean() -> None:
    assert overlap(*_at(200, LABEL_MINUTES)) is None


def test_the_platform_splits_by_days() -> None:
    assert judge_split().is_clean


def test_a_split_within_days_or_into_the_past_is_found() -> None:
    def backwards(days: list[Partition], share: float) -> tuple[list[Partition], list[Partition]]:
        cut = max(1, int(len(days) * share))
        return days[cut:], days[:cut]

    def same_day(days: list[Partition], share: float) -> tuple[list[Partition], list[Partition]]:
        return days[:2], days[1:]

    for split in (backwards, same_day):
        found = judge_split(split)
        assert found.check == "split"
        assert found.row["known_time"].date() >= dt.date(2024, 6, 3)
