"""Bars and rows of a day under way: each step gives out exactly what changed, with its revision and known time."""

import pytest

from tapewatch.market.instruments import NS_PER_SECOND
from tapewatch.streaming.live.tape import LiveTape
from tests.support.live_revisions import assert_each_step_is_as_expected, revised_arrivals
from tests.support.tapes import stock_session

SESSION = stock_session()


@pytest.mark.long
@pytest.mark.parametrize(("seed", "delay_s", "lateness_s"), [(1, 30, 0), (2, 400, 5), (3, 5, 60), (4, 550, 0)])
def test_each_step_gives_out_what_changed(seed: int, delay_s: int, lateness_s: int) -> None:
    pieces = revised_arrivals(seed, SESSION, delay_s=delay_s, pieces=30)
    tape = LiveTape(SESSION, part_ticks=20)
    assert_each_step_is_as_expected(tape, pieces, SESSION, lateness_s * NS_PER_SECOND)
