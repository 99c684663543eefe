"""Every planted leak is found, and its horizon is named; nothing clean is reported."""

import polars as pl
import pytest

from tapewatch.lookahead.checks import judge
from tapewatch.lookahead.computation import Computation, Tape
from tests.lookahead.leaks import LEAKS, Change, Leak
from tests.lookahead.minutes import FEATURES, feature, minutes, small_tape
from tests.lookahead.tape_leaks import TAPE_LEAKS, TapeLeak

#: In minutes.
REACH = {"row": range(1, 2), "rows": range(1, 22), "instant": range(1)}


def changed(change: Change, name: str) -> Computation:
    """A feature of the minutes after a change."""

    def rows(tape: Tape) -> pl.DataFrame:
        return change(minutes(tape).with_columns(value=pl.col(name).cast(pl.Float64)))

    return feature(name, rows)


PLANTED = {
    f"{text}, {name}": (leak, name)
    for text, leak in LEAKS.items()
    for name in (FEATURES[:1] if leak.is_rare else FEATURES)
}


@pytest.mark.parametrize(("leak", "name"), PLANTED.values(), ids=list(PLANTED))
def test_a_planted_leak_is_found_and_its_horizon_named(leak: Leak, name: str) -> None:
    found = judge(changed(leak.change, name), small_tape(), cuts=None)
    assert found.check in ("cut", "perturb"), found
    assert set(found.columns) & set(leak.columns), found
    assert found.horizon is not None
    if leak.horizon == "day":
        assert found.horizon.rows > 30
    elif leak.horizon != "any":
        assert found.horizon.rows in REACH[leak.horizon], str(found.horizon)


@pytest.mark.parametrize("leak", TAPE_LEAKS.values(), ids=list(TAPE_LEAKS))
def test_a_leak_in_the_reading_of_the_tape_is_found(leak: TapeLeak) -> None:
    found = judge(leak.computation, leak.tape(), cuts=None if leak.tape is small_tape else 10)
    assert found.check in leak.checks, found
    if leak.is_instant:
        assert str(found.horizon) == "the same instant"


def test_there_are_at_least_a_hundred_planted_leaks() -> None:
    assert len(PLANTED) + len(TAPE_LEAKS) >= 140
