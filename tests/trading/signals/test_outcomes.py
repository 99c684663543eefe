"""Outcomes by hand: which barrier a bet meets, what it costs, and where there is no bet."""

import numpy as np
import polars as pl
import pytest

from tapewatch.market.instruments import NS_PER_MINUTE
from tapewatch.trading.signals.outcomes import outcomes
from tests.support.trading_rows import bars_at, minute, session, signal

FLAT = [100.0] * 30
TARGET = 20e-4


def moved(at: int, share: float) -> list[float]:
    """A price that moves by a share of the target from minute `at` on."""
    return [100.0] * at + [100.0 * float(np.exp(share * TARGET))] * (30 - at)


@pytest.mark.parametrize(
    ("side", "share", "barrier", "gross"),
    [
        (1, 1.5, 1, 30.0),
        (1, -1.5, -1, -30.0),
        (-1, -1.5, 1, 30.0),
        (-1, 1.5, -1, -30.0),
        (1, 0.5, 0, 10.0),
        (-1, 0.5, 0, -10.0),
    ],
)
def test_a_bet_is_closed_at_its_first_barrier(side: int, share: float, barrier: int, gross: float) -> None:
    (row,) = outcomes(signal(5, side), bars_at({"AAA": moved(8, share)}), session()).to_dicts()
    # The bar opens beyond the barrier, so it is closed at the open.
    assert (row["barrier"], row["gross_bps"]) == (barrier, pytest.approx(gross))
    assert (row["event_time"], row["known_time"]) == (minute(5), minute(15 if barrier == 0 else 9))
    assert row["net_bps"] == pytest.approx(gross - 4.0)
    assert (row["label"], row["entry_price"]) == (int(gross > 4.0), 100.0)


def test_a_gain_below_the_costs_is_no_win() -> None:
    (row,) = outcomes(signal(5, 1), bars_at({"AAA": moved(8, 0.15)}), session()).to_dicts()
    assert (row["gross_bps"], row["label"]) == (pytest.approx(3.0), 0)


def test_a_bet_opens_at_the_first_bar_after_the_signal() -> None:
    bars = bars_at({"AAA": moved(6, 10.0)}).filter(pl.col("time") != minute(5))
    (row,) = outcomes(signal(5, 1), bars, session()).to_dicts()
    assert row["entry_price"] == pytest.approx(100.0 * np.exp(10 * TARGET))
    assert row["gross_bps"] == pytest.approx(0.0)


def test_signals_that_are_not_tradable_and_those_without_bars_have_no_outcome() -> None:
    bars = bars_at({"AAA": FLAT})
    assert outcomes(signal(5, is_tradable=False), bars, session()).is_empty()
    assert outcomes(signal(5, symbol="BBB"), bars, session()).is_empty()
    assert outcomes(signal(31), bars, session()).is_empty()
    # The tape ends before the horizon, and it is not known that it is complete.
    assert outcomes(signal(25), bars, session()).is_empty()
    through = session().regular_start + 60 * NS_PER_MINUTE
    assert outcomes(signal(25), bars, session(), through_ns=through)["barrier"].to_list() == [0]


def test_two_strategies_with_the_same_bet_have_the_same_outcome_each_with_its_cost() -> None:
    both = pl.concat([signal(5), signal(5, strategy="flow_momentum", cost_bps=7.0)])
    found = outcomes(both, bars_at({"AAA": moved(8, 1.5)}), session())
    assert found["strategy"].to_list() == ["flow_momentum", "reversal"]
    np.testing.assert_allclose(found["net_bps"], [23.0, 26.0])
