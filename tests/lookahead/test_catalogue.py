"""Nothing that the platform computes uses the future; the checks see what they are meant to see."""

from dataclasses import replace
from functools import cache

import numpy as np
import polars as pl
import pytest

from tapewatch.bars.information.clocks import Thresholds
from tapewatch.bars.time_bars import minute_bars, reconcile
from tapewatch.lookahead.catalogue import CATALOGUE, MINUTES, information_bars
from tapewatch.lookahead.checks import chosen_times, judge
from tapewatch.lookahead.computation import Computation, Tape
from tapewatch.market.instruments import NS_PER_MINUTE
from tapewatch.market.tables.tape import BARS, DELIVERED_BARS, TRADES, TRAINING_SET
from tests.lookahead.leaks import expression, value
from tests.lookahead.minutes import feature, minutes, small_tape
from tests.lookahead.test_planted_leaks import changed
from tests.support.panels import bars_of_market
from tests.support.tapes import random_tape, stock_session

ALL = (*CATALOGUE, information_bars(thresholds=Thresholds(trades=15)))


@cache
def tape() -> Tape:
    """Ninety difficult minutes of two symbols, with their bars."""
    session = stock_session()
    trades, quotes = random_tape(5, trades=500)
    trades = trades.with_columns(id=pl.format("{}", "sequence_number"), participant_time="time")
    bars = reconcile(minute_bars(trades, session), DELIVERED_BARS.empty())
    return Tape(session, {"trades": trades, "quotes": quotes, "bars": bars}, ("AAA", "BBB"), session.day_end)


@cache
def market() -> Tape:
    """Bars of five symbols for longer than the longest window, a tenth of them absent."""
    bars = bars_of_market(stock_session(), 5, 260, silent=0.1)
    return Tape(stock_session(), {"bars": bars}, tuple(f"S{n}" for n in range(5)), stock_session().day_end)


@pytest.mark.long
@pytest.mark.parametrize("computation", ALL, ids=[each.name for each in ALL])
def test_nothing_of_the_platform_uses_the_future(computation: Computation) -> None:
    found = judge(computation, market() if computation.is_of_market else tape(), cuts=16)
    assert found.is_clean, found
    assert found.rows > 0
    assert ("start not moved" in found.note) is (computation.warm_up_ns is None)


def test_a_leak_planted_into_the_platform_is_found() -> None:
    ahead = pl.col("spread_ratio").shift(-1).over("symbol")
    leaking = replace(MINUTES, rows=lambda tape: MINUTES.rows(tape).with_columns(ahead))
    found = judge(leaking, tape())
    assert (found.check, found.columns, str(found.horizon)) == ("cut", ("spread_ratio",), "up to 60 s (1 row)")


def test_a_label_that_is_not_hidden_until_it_is_known_is_found() -> None:
    training_set = next(each for each in CATALOGUE if each.name.endswith(TRAINING_SET.name))
    found = judge(replace(training_set, later=()), tape(), cuts=None)
    assert found.check == "cut"
    assert set(found.columns) <= {"barrier_label", "barrier_known_time"}


def test_a_warm_up_that_is_too_short_is_found() -> None:
    for change in (value.rolling_mean(20), value.ewm_mean(alpha=0.1, adjust=False), value.cum_sum()):
        computation = replace(changed(expression(change), "price"), warm_up_ns=5 * NS_PER_MINUTE, tolerance=1e-9)
        assert judge(computation, small_tape(), cuts=2).check == "start"


def test_a_column_carried_since_the_start_is_left_out_where_it_is_declared() -> None:
    computation = feature(
        "two", lambda tape: minutes(tape).with_columns(total=pl.col("volume").cum_sum().over("symbol"))
    )
    declared = replace(computation, warm_up_ns=2 * NS_PER_MINUTE, carried=("total",))
    assert judge(replace(declared, carried=()), small_tape(), cuts=2).columns == ("total",)
    assert judge(declared, small_tape(), cuts=2).note == "start moved without total"


def test_rows_that_differ_from_run_to_run_cannot_be_judged() -> None:
    rng = np.random.default_rng(0)
    drawn = feature("drawn", lambda tape: minutes(tape).with_columns(pl.lit(rng.normal()).alias("value")))
    assert judge(drawn, small_tape()).check == "repeat"


def test_the_moments_are_spread_and_begin_in_the_middle() -> None:
    assert chosen_times(np.arange(7), None) == [3, 1, 5, 0, 2, 4, 6]
    few = chosen_times(np.arange(1000), 9)
    assert len(few) == 9
    assert {0, 999} <= set(few)
    assert chosen_times(np.arange(0), 5) == []


@pytest.mark.long
def test_an_empty_tape_is_clean() -> None:
    empty = replace(tape(), frames={name: frame.clear() for name, frame in tape().frames.items()}, symbols=())
    for computation in ALL:
        assert judge(computation, empty, cuts=3).is_clean, computation.name


def test_every_computation_reads_tables_of_the_tape() -> None:
    assert {each.table.name for computation in ALL for each in computation.inputs} <= {*tape().frames}
    assert {TRADES.name, BARS.name} <= {each.table.name for computation in ALL for each in computation.inputs}
