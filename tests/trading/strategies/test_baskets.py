"""Baskets of prices whose combination is known: found, weighted so that common moves cancel, and no other."""

import numpy as np
import polars as pl
import pytest

from tapewatch.market.tables.derived import INCIDENTS
from tapewatch.market.tables.tape import ANOMALIES
from tapewatch.trading.signals.build import proposals
from tapewatch.trading.signals.context import context
from tapewatch.trading.strategies.alerts import alerts_of
from tapewatch.trading.strategies.baskets import BasketRules, baskets, cointegrated_baskets
from tapewatch.trading.strategies.closes import closes
from tests.support.trading_rows import minute, minute_rows

RULES = BasketRules(formation=120, trading=60)
RATIOS = (0.5, 0.8)


def logs_of(minutes: int = 180) -> dict[str, np.ndarray]:
    """AAA is 0.5 BBB and 0.8 CCC plus noise, two walks with a common part; DDD walks alone. At minute 130 AAA is far above."""
    rng = np.random.default_rng(8)
    common, second, third, alone = (np.cumsum(rng.normal(0, 5e-4, minutes)) for _ in range(4))
    noise = rng.normal(0, 2e-4, minutes)
    noise[130:] = 0.0
    noise[130:133] = 12e-4
    left, right = common + second, common + third
    return {"AAA": RATIOS[0] * left + RATIOS[1] * right + noise, "BBB": left, "CCC": right, "DDD": alone}


def rows(logs: dict[str, np.ndarray]) -> pl.DataFrame:
    return minute_rows({name: (100 * np.exp(values)).tolist() for name, values in logs.items()})


def test_a_basket_far_apart_is_bet_to_return_with_the_weights_of_the_combination() -> None:
    found = baskets(closes(context(rows(logs_of()))), RULES)
    legs = found.filter(
        (pl.col("known_time") >= minute(128)) & pl.col("partner").is_in(["BBB+CCC", "AAA+CCC", "AAA+BBB"])
    )
    at = legs.filter(symbol="AAA", side=-1)["known_time"][0]
    assert at == minute(131)
    entry = {row["symbol"]: row for row in legs.filter(pl.col("known_time") == at).to_dicts()}
    assert {name: row["side"] for name, row in entry.items()} == {"AAA": -1, "BBB": 1, "CCC": 1}
    weights = [entry[name]["weight"] for name in ("AAA", "BBB", "CCC")]
    assert weights == pytest.approx([1.0, *RATIOS], abs=0.05)
    assert found["horizon_minutes"].unique().to_list() == [30]


def test_the_combination_is_that_of_least_squares_and_its_p_value_that_of_the_library() -> None:
    from statsmodels.regression.linear_model import OLS  # noqa: PLC0415
    from statsmodels.tools import add_constant  # noqa: PLC0415
    from statsmodels.tsa.stattools import adfuller  # noqa: PLC0415

    logs = np.column_stack(list(logs_of().values()))[:120]
    (best, *_) = cointegrated_baskets(logs, RULES)
    assert (best.target, best.partners) == (0, (1, 2))
    fitted = OLS(logs[:, 0], add_constant(logs[:, 1:3])).fit()
    assert [best.level, *best.ratios] == pytest.approx(fitted.params.tolist())
    assert best.deviation == pytest.approx(np.sqrt(fitted.mse_resid))
    # Engle and Granger's statistic is that of the residual's unit root; at so low a value both tables call it sure.
    assert adfuller(fitted.resid, maxlag=1, regression="n", autolag=None, result_object=False)[0] < -5.0
    assert best.p_value < 1e-3


def test_walks_gaps_and_prices_that_move_alike_make_no_basket() -> None:
    walks = np.cumsum(np.random.default_rng(9).normal(0, 5e-4, (120, 5)), axis=0)
    assert cointegrated_baskets(walks, RULES) == []
    logs = np.column_stack(list(logs_of().values()))[:120]
    logs[3, 1] = np.nan
    assert all(1 not in (found.target, *found.partners) for found in cointegrated_baskets(logs, RULES))
    same = np.repeat(np.cumsum(np.random.default_rng(1).normal(0, 5e-4, 120))[:, None], 3, axis=1)
    assert cointegrated_baskets(same, RULES) == []
    assert cointegrated_baskets(np.empty((120, 0)), RULES) == []
    with pytest.raises(ValueError, match="30 minutes of formation"):
        BasketRules(formation=10)


def test_baskets_are_among_the_proposals_of_a_day_and_rest_on_what_was_known() -> None:
    whole, cut = rows(logs_of()), rows({name: values[:140] for name, values in logs_of().items()})
    alerts = alerts_of(ANOMALIES.empty(), INCIDENTS.empty())
    found, earlier = (proposals(alerts, frame)[0].filter(strategy="baskets") for frame in (whole, cut))
    assert found.height >= 3
    assert earlier.equals(found.filter(pl.col("known_time") <= minute(140)))
