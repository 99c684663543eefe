"""Strategies on prices whose relation is known."""

from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest

from tapewatch.trading.signals.context import context
from tapewatch.trading.strategies.closes import closes
from tapewatch.trading.strategies.flow import flow_momentum
from tapewatch.trading.strategies.lead_lag import LeadRules, lagged_t_values, lead_lag
from tapewatch.trading.strategies.pairs import PairRules, cointegrated, entries, pairs
from tests.support.trading_rows import minute, minute_rows

RULES = PairRules(formation=120, trading=60)


def prices(logs: dict[str, np.ndarray]) -> dict[str, Sequence[float]]:
    return {name: (100 * np.exp(values)).tolist() for name, values in logs.items()}


def cointegrated_logs(minutes: int = 180) -> dict[str, np.ndarray]:
    """AAA is 1.5 times BBB plus noise around it; CCC walks alone. At minute 130 AAA is far above."""
    rng = np.random.default_rng(4)
    walk, alone = (np.cumsum(rng.normal(0, 5e-4, minutes)) for _ in range(2))
    noise = rng.normal(0, 2e-4, minutes)
    noise[130:] = 0.0
    noise[130:133] = 12e-4
    return {"AAA": 1.5 * walk + noise, "BBB": walk, "CCC": alone}


def test_a_pair_far_apart_is_bet_to_return() -> None:
    found = pairs(closes(context(minute_rows(prices(cointegrated_logs())))), RULES).filter(
        pl.col("known_time") >= minute(125)
    )
    legs = found.select("symbol", "partner", "known_time", "side").rows()
    assert legs == [("AAA", "BBB", minute(131), -1), ("BBB", "AAA", minute(131), 1)]


def test_the_pair_and_its_ratio_are_found_and_no_other() -> None:
    logs = np.column_stack(list(cointegrated_logs().values()))[:120]
    (pair,) = cointegrated(logs, RULES)
    assert (pair.a, pair.b) == (0, 1)
    assert pair.ratio == pytest.approx(np.polyfit(logs[:, 1], logs[:, 0], 1)[0])
    assert pair.deviation == pytest.approx(2e-4, rel=0.2)


def test_gaps_and_prices_that_never_move_are_left_out() -> None:
    logs = np.column_stack(list(cointegrated_logs().values()))[:120]
    logs[3, 1] = np.nan
    assert cointegrated(logs, RULES) == []
    assert cointegrated(np.zeros((120, 3)), RULES) == []
    assert cointegrated(np.empty((120, 0)), RULES) == []


def test_a_pair_begins_anew_once_it_has_come_back() -> None:
    assert entries(np.array([0.5, 2.1, 3.0, 1.5, 2.2, 0.9, -2.0, -2.5]), 2.0) == [1, 6]


@pytest.mark.parametrize("sign", [1, -1])
def test_a_follower_is_expected_to_follow(sign: int) -> None:
    rng = np.random.default_rng(5)
    leader = rng.normal(0, 5e-4, 200)
    leader[150] = 4e-3
    follower = sign * np.roll(leader, 1) * 0.8 + rng.normal(0, 2e-4, 200)
    both = closes(context(minute_rows(prices({"AAA": np.cumsum(leader), "BBB": np.cumsum(follower)}))))
    found = lead_lag(both, both, LeadRules()).filter(pl.col("known_time") == minute(151))
    assert found.select("symbol", "partner", "side").rows() == [("BBB", "AAA", sign)]


def test_t_values_equal_those_of_a_regression() -> None:
    x, y = np.random.default_rng(6).normal(0, 1, (2, 60))
    slope = np.polyfit(x[:-1], y[1:], 1)
    residual = y[1:] - np.polyval(slope, x[:-1])
    error = np.sqrt((residual**2).sum() / 57 / ((x[:-1] - x[:-1].mean()) ** 2).sum())
    assert lagged_t_values(x[:, None], y[:, None]).item() == pytest.approx(slope[0] / error)
    assert lagged_t_values(np.zeros((60, 1)), y[:, None]).item() == 0.0


def test_flow_and_quotes_must_lean_together_and_bets_do_not_overlap() -> None:
    flow = np.zeros(40)
    flow[[5, 6, 9, 20]] = 7.0
    flow[30] = -7.0
    ofi = np.where(np.arange(40) == 30, 0.5, 0.3)
    rows = context(minute_rows({"AAA": [100.0] * 40}, flow_score_5m=flow, best_level_ofi=ofi))
    # Minute 9 lies within ten minutes of minute 5; at minute 30 trades sell while quotes buy.
    assert flow_momentum(rows).select("known_time", "side").rows() == [(minute(6), 1), (minute(21), 1)]


def test_prices_are_carried_through_silent_minutes_and_unknown_before_the_first() -> None:
    rows = context(minute_rows({"AAA": [1.0, 2.0, 3.0, 4.0], "BBB": [1.0, 1.0, 1.0, 1.0]}))
    silent = (pl.col("symbol") == "AAA") & pl.col("event_time").is_in([minute(0), minute(2)])
    found = closes(rows.filter(~silent))
    np.testing.assert_allclose(np.exp(found.logs[:, 0]), [np.nan, 2.0, 2.0, 4.0])
    assert closes(rows.clear()).symbols == ()


def test_windows_that_are_too_short_are_refused() -> None:
    with pytest.raises(ValueError, match="30 minutes of formation"):
        PairRules(formation=10)
    with pytest.raises(ValueError, match="30 minutes of formation"):
        LeadRules(formation=10)
