"""Regimes: probabilities given the past alone, equal to hmmlearn's; no future."""

import numpy as np
import polars as pl
import pytest
from hmmlearn.hmm import GaussianHMM

from tapewatch.features.regimes.blocks import block_panel
from tapewatch.features.regimes.hidden_markov import STATES, RegimeModel
from tapewatch.features.regimes.rows import regimes
from tapewatch.lookahead.catalogue import regimes_with
from tapewatch.lookahead.checks import judge
from tapewatch.lookahead.computation import Tape
from tapewatch.market.instruments import NS_PER_MINUTE, Market
from tapewatch.market.tables.features import REGIMES
from tests.support.panels import bars_of_market
from tests.support.tapes import stock_session

SESSION = stock_session()


@pytest.fixture(scope="module")
def model() -> RegimeModel:
    days = [
        block_panel(bars_of_market(SESSION, 6, 390, seed=seed), SESSION, through_ns=SESSION.day_end)
        for seed in (1, 2, 3)
    ]
    fitted = RegimeModel.fit([(panel.symbols, volatility) for panel, volatility, _ in days])
    assert fitted is not None
    return fitted


def test_filtered_probabilities_are_those_of_hmmlearn_on_each_prefix(model: RegimeModel) -> None:
    other = GaussianHMM(3, covariance_type="tied")
    other.startprob_, other.transmat_ = model.start, model.transitions
    other.means_, other.covars_ = model.means[:, None], np.array([[model.variance]])
    panel, volatility, _ = block_panel(bars_of_market(SESSION, 2, 390, seed=9), SESSION, through_ns=SESSION.day_end)
    found = model.filtered(panel.symbols, volatility)
    scale = model.scales["S1"]
    values = np.clip((volatility[:, 1] - scale.median) / scale.deviation, -3, 3)
    begins = int(np.isfinite(values).argmax())
    for block in (begins, begins + 1, 20, values.size - 1):
        expected = other.predict_proba(values[begins : block + 1, None])[-1]
        np.testing.assert_allclose(found[block, 1], expected, atol=1e-9)
    # Smoothing, which uses later blocks, is another thing.
    smoothed = other.predict_proba(values[begins:, None])
    assert np.abs(smoothed - found[begins:, 1]).max() > 0.05


def test_states_are_ordered_and_a_storm_is_turbulent(model: RegimeModel) -> None:
    assert (np.diff(model.means) > 0).all()
    bars = bars_of_market(SESSION, 6, 390, seed=12)
    wild = pl.when(pl.int_range(pl.len()).over("symbol") % 2 == 0).then(1.01).otherwise(1.0)
    is_late = pl.col("time").dt.timestamp("ns") >= SESSION.regular_start + 200 * 60_000_000_000
    rows = regimes(
        bars.with_columns(close=pl.col("close") * pl.when(is_late).then(wild).otherwise(1.0)),
        SESSION,
        model,
        through_ns=SESSION.day_end,
    )
    REGIMES.check(rows, Market.STOCKS)
    late = rows.filter(pl.col("event_time").dt.timestamp("ns") >= SESSION.regular_start + 205 * 60_000_000_000)
    assert late["regime"].unique().to_list() == ["turbulent"]
    assert late["volatility_level"].unique().to_list() == ["high"]
    total = rows.select(pl.sum_horizontal(f"probability_{name}" for name in STATES)).to_series().drop_nulls()
    assert total.is_between(1 - 1e-12, 1 + 1e-12).all()


def test_a_straight_line_is_a_trend() -> None:
    bars = bars_of_market(SESSION, 1, 120).with_columns(close=50 * (1 + 1e-4) ** pl.int_range(pl.len()))
    rows = regimes(bars, SESSION, None, through_ns=SESSION.regular_start + 120 * NS_PER_MINUTE)
    # The first minute has no return, and so has the first block none.
    assert rows["trend_score"].drop_nulls().to_numpy() == pytest.approx(np.sqrt(60), rel=1e-9)
    assert rows["direction"].drop_nulls().unique().to_list() == ["rising"]
    assert rows["regime"].null_count() == rows.height


@pytest.mark.parametrize("has_model", [True, False])
def test_nothing_uses_the_future(model: RegimeModel, has_model: bool) -> None:
    bars = bars_of_market(SESSION, 3, 150, silent=0.1)
    tape = Tape(SESSION, {"bars": bars}, ("S0", "S1", "S2"), SESSION.day_end)
    verdict = judge(regimes_with(model if has_model else None), tape, cuts=6)
    assert verdict.is_clean, verdict
    assert verdict.rows > 50


def test_too_little_gives_no_model_and_rows_without_states() -> None:
    panel, volatility, _ = block_panel(bars_of_market(SESSION, 2, 60), SESSION, through_ns=SESSION.day_end)
    assert RegimeModel.fit([(panel.symbols, volatility)]) is None
    assert RegimeModel.fit([]) is None
    assert regimes(bars_of_market(SESSION, 1, 10).clear(), SESSION, None, through_ns=SESSION.day_end).equals(
        REGIMES.empty()
    )
    assert regimes(
        bars_of_market(SESSION, 1, 10).with_columns(close=-1.0), SESSION, None, through_ns=SESSION.day_end
    ).equals(REGIMES.empty())


@pytest.mark.parametrize("minutes", [-30, 0, 4])
def test_a_tape_that_ends_before_the_first_block_gives_no_row(model: RegimeModel, minutes: int) -> None:
    through = SESSION.regular_start + minutes * NS_PER_MINUTE
    for bars in (bars_of_market(SESSION, 2, 5), bars_of_market(SESSION, 2, 5).clear()):
        assert regimes(bars, SESSION, model, through_ns=through).is_empty()


def test_the_same_days_give_the_same_model(model: RegimeModel) -> None:
    days = [
        block_panel(bars_of_market(SESSION, 6, 390, seed=seed), SESSION, through_ns=SESSION.day_end)
        for seed in (1, 2, 3)
    ]
    again = RegimeModel.fit([(panel.symbols, volatility) for panel, volatility, _ in days])
    assert again is not None
    np.testing.assert_array_equal(again.transitions, model.transitions)
    np.testing.assert_array_equal(again.means, model.means)


def test_a_symbol_has_the_same_rows_alone(model: RegimeModel) -> None:
    bars = bars_of_market(SESSION, 5, 390, seed=4)
    together = regimes(bars, SESSION, model, through_ns=SESSION.day_end)
    for symbol in ("S0", "S3"):
        is_own = pl.col("symbol") == symbol
        alone = regimes(bars.filter(is_own), SESSION, model, through_ns=SESSION.day_end)
        assert alone.equals(together.filter(is_own))
