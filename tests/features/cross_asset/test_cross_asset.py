"""Features among the symbols of a market, against other libraries; no future, no infinity."""

import numpy as np
import polars as pl
import pytest
from sklearn.covariance import ledoit_wolf as sklearn_ledoit_wolf
from statsmodels.tsa.stattools import coint

from tapewatch.features.cross_asset import components, pairs
from tapewatch.features.cross_asset import correlations as matrices
from tapewatch.features.cross_asset.correlations import correlations
from tapewatch.features.cross_asset.panel import panel_of
from tapewatch.features.cross_asset.rows import cross_asset
from tapewatch.lookahead.catalogue import CROSS, MATRIX
from tapewatch.lookahead.checks import judge
from tapewatch.lookahead.computation import Tape
from tapewatch.market.instruments import Market
from tapewatch.market.tables.features import CORRELATIONS, CROSS_ASSET
from tapewatch.market.tables.tape import BARS
from tests.support.panels import bars_of_market
from tests.support.tapes import stock_session

SESSION = stock_session()
SYMBOLS, MINUTES = 6, 230


@pytest.fixture(scope="module")
def bars() -> pl.DataFrame:
    return bars_of_market(SESSION, SYMBOLS, MINUTES)


@pytest.fixture(scope="module")
def found(bars: pl.DataFrame) -> pl.DataFrame:
    rows = cross_asset(bars, SESSION)
    CROSS_ASSET.check(rows, Market.STOCKS)
    return rows


def series(rows: pl.DataFrame, name: str, symbol: str = "S2") -> np.ndarray:
    return rows.filter(pl.col("symbol") == symbol)[name].cast(pl.Float64).to_numpy()


@pytest.fixture(scope="module")
def returns(bars: pl.DataFrame) -> np.ndarray:
    closes = bars.pivot("symbol", index="time", values="close").sort("time").drop("time").to_numpy()
    return 1e4 * np.diff(np.log(closes), axis=0, prepend=np.nan)


def test_correlations_betas_and_residuals_against_numpy(found: pl.DataFrame, returns: np.ndarray) -> None:
    own, market = returns[:, 2], np.delete(returns, 2, axis=1).mean(axis=1)
    at = 200
    now, before = slice(at - 29, at + 1), slice(at - 89, at - 29)
    correlation = np.corrcoef(market[now], own[now])[0, 1]
    earlier = np.corrcoef(market[before], own[before])[0, 1]
    ahead = np.corrcoef(market[at - 30 : at], own[now])[0, 1]
    behind = np.corrcoef(market[now], own[at - 30 : at])[0, 1]
    error = np.sqrt(1 / 27 + 1 / 57)
    expected = {
        "market_return_bps": market[at],
        "market_correlation_30m": correlation,
        "correlation_break": (np.arctanh(correlation) - np.arctanh(earlier)) / error,
        "lead_lag_30m": ahead - behind,
        "beta_5m": np.polyfit(market[at - 4 : at + 1], own[at - 4 : at + 1], 1)[0],
        "beta_15m": np.polyfit(market[at - 14 : at + 1], own[at - 14 : at + 1], 1)[0],
        "beta_30m": np.polyfit(market[now], own[now], 1)[0],
    }
    for width in (5, 15, 30):
        fit, span = slice(at - width - 59, at - width + 1), slice(at - width + 1, at + 1)
        beta = np.polyfit(market[fit], own[fit], 1)[0]
        expected[f"residual_{width}m_bps"] = own[span].sum() - beta * market[span].sum()
    for name, value in expected.items():
        assert series(found, name)[at] == pytest.approx(value, rel=1e-9), name


def test_the_matrix_is_numpys(bars: pl.DataFrame, returns: np.ndarray) -> None:
    rows = correlations(bars, SESSION)
    CORRELATIONS.check(rows, Market.STOCKS)
    last = rows.filter(pl.col("event_time") == rows["event_time"].max())
    assert last.height == SYMBOLS * (SYMBOLS - 1)
    for width in (30, 60):
        expected = np.corrcoef(returns[MINUTES - width : MINUTES].T)
        names = [f"S{at}" for at in range(SYMBOLS)]
        for row in last.iter_rows(named=True):
            value = expected[names.index(row["symbol"]), names.index(row["other"])]
            assert row[f"correlation_{width}m"] == pytest.approx(value, rel=1e-9)
    early = rows.filter(pl.col("event_time") == rows["event_time"].min() + pl.duration(minutes=25))
    assert early["correlation_30m"].null_count() == early.height, "the first return of the day is no return"
    hour = rows.filter(pl.col("event_time") == rows["event_time"].min() + pl.duration(minutes=30))
    assert hour["correlation_30m"].null_count() == 0
    assert hour["correlation_60m"].null_count() == hour.height


def test_a_large_market_keeps_the_symbols_that_moved_most(bars: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    still = bars.filter(~((pl.col("symbol") == "S3") & (pl.col("time").rank("ordinal").over("symbol") % 2 == 0)))
    monkeypatch.setattr(matrices, "MOST_SYMBOLS", 5)
    rows = correlations(still, SESSION)
    late = rows.filter(pl.col("event_time") > rows["event_time"].min() + pl.duration(minutes=60))
    assert set(late["symbol"].cast(pl.String)) == {"S0", "S1", "S2", "S4", "S5"}


def test_the_shrunk_covariance_is_scikit_learns(returns: np.ndarray) -> None:
    rows = returns[100:160] - returns[100:160].mean(axis=0)
    covariance, weight = components.ledoit_wolf(rows)
    expected, expected_weight = sklearn_ledoit_wolf(rows, assume_centered=True)
    np.testing.assert_allclose(covariance, expected, rtol=1e-10)
    assert weight == pytest.approx(expected_weight, rel=1e-10)


def test_residual_scores_have_unit_scale_and_show_a_symbol_that_leaves_the_others(returns: np.ndarray) -> None:
    wide = bars_of_market(SESSION, 30, 390, seed=5)
    panel = panel_of(wide, SESSION)
    scores = components.residual_scores(panel.returns)
    assert 0.8 < np.nanstd(scores) < 1.4
    assert np.isnan(scores[:60]).all()
    moved = panel.returns.copy()
    moved[200, 7] += 60.0
    assert components.residual_scores(moved)[200, 7] > 6
    np.testing.assert_array_equal(components.residual_scores(moved)[:200], scores[:200])


def test_the_pair_and_its_statistic_are_those_of_statsmodels(bars: pl.DataFrame, found: pl.DataFrame) -> None:
    panel = panel_of(bars, SESSION)
    at = 220
    window = slice(at - 119, at + 1)
    assert found.filter(pl.col("symbol") == "S1")["pair"].to_list()[at] == "S0"
    statistic, *_ = coint(panel.prices[window, 1], panel.prices[window, 0], maxlag=0, autolag=None)
    assert series(found, "pair_statistic", "S1")[at] == pytest.approx(statistic, rel=1e-6)
    assert statistic < -3.4
    x, y = panel.prices[window, 0], panel.prices[window, 1]
    residual = y - np.polyval(np.polyfit(x, y, 1), x)
    assert series(found, "pair_spread_score", "S1")[at] == pytest.approx(residual[-1] / residual.std(), rel=1e-6)


def test_nothing_uses_the_future() -> None:
    bars = bars_of_market(SESSION, 5, 170, silent=0.1)
    tape = Tape(SESSION, {"bars": bars}, tuple(f"S{n}" for n in range(5)), SESSION.day_end)
    for computation, least in ((CROSS, 700), (MATRIX, 600)):
        verdict = judge(computation, tape, cuts=5)
        assert verdict.is_clean, verdict
        assert verdict.rows > least


def test_a_late_bar_makes_later_rows_known_later(bars: pl.DataFrame) -> None:
    late = pl.lit(SESSION.day_end).cast(pl.Datetime("ns", "UTC"))
    is_it = (pl.col("symbol") == "S3") & (pl.int_range(pl.len()).over("symbol") == 50)
    rows = cross_asset(bars.with_columns(known_time=pl.when(is_it).then(late).otherwise("known_time")), SESSION)
    known = rows.filter(pl.col("symbol") == "S0")["known_time"].dt.timestamp("ns").to_numpy()
    assert (known[50:200] == SESSION.day_end).all()
    assert (known[:50] < SESSION.day_end).all()
    assert known[201] < SESSION.day_end


@pytest.mark.parametrize(
    "change",
    [
        lambda bars: bars.clear(),
        lambda bars: bars.filter(pl.col("symbol") == "S0"),
        lambda bars: bars.with_columns(close=pl.lit(5.0)),
        lambda bars: bars.with_columns(close=pl.lit(float("nan"))),
        lambda bars: bars.with_columns(close=-pl.col("close")),
        lambda bars: bars.filter((pl.col("symbol") != "S0") | (pl.int_range(pl.len()).over("symbol") == 40)),
        lambda bars: bars.with_columns(close=pl.when(pl.col("symbol") == "S1").then(pl.col("close").first()).otherwise("close")),
    ],
    ids=["empty", "alone", "constant", "NaN", "negative", "one bar", "one constant"],
)  # fmt: skip
def test_hard_tapes_give_nulls_and_no_infinity(bars: pl.DataFrame, change) -> None:
    changed = change(bars)
    rows = cross_asset(changed, SESSION)
    CROSS_ASSET.check(rows, Market.STOCKS)
    assert rows.height == changed.height
    values = rows.select(pl.selectors.float())
    assert (
        values.select(pl.all().is_infinite().any() | pl.all().is_nan().any()).sum_horizontal().item() == 0
        if rows.height
        else True
    )


def test_candidates_are_the_most_correlated_before_the_choice(returns: np.ndarray) -> None:
    chosen = pairs.candidates(returns[1:])
    assert (chosen[:4] == -1).all()
    together = np.abs(np.corrcoef(returns[1:][:120], rowvar=False))
    np.fill_diagonal(together, -1)
    np.testing.assert_array_equal(chosen[4][:, : SYMBOLS - 1], np.argsort(-together, axis=1)[:, : SYMBOLS - 1])
    assert BARS.schema["close"] == pl.Float64
