"""Fixed horizons, tail sets and trend scanning: by hand, against plain regressions, without a look ahead."""

import math

import numpy as np
import polars as pl
import pytest

from tapewatch.labels.barriers.events import cusum_events
from tapewatch.labels.barriers.horizons import fixed_horizon, tail_sets, trend_scan
from tests.support.price_bars import after, bars_of, walk


def event(minutes: int = 1, price: float = 100.0) -> pl.DataFrame:
    return pl.DataFrame(
        {"symbol": ["AAA"], "event_time": [after(minutes)], "price": [price], "volatility_bps": [10.0]},
        schema_overrides={"event_time": pl.Datetime("ns", "UTC"), "symbol": pl.Categorical()},
    )


def test_a_return_beyond_the_threshold_has_its_sign() -> None:
    bars = bars_of([100, 100.1, 100.2, 100.1, 100.21])
    # Four minutes at 10 bps make 20 bps; the return is 21.
    assert fixed_horizon(bars, event(), minutes=4).row(0)[2:] == (after(5), 1, pytest.approx(1e4 * math.log(1.0021)))
    assert fixed_horizon(bars, event(), minutes=4, multiple=1.1)["label"].to_list() == [0]
    assert fixed_horizon(bars, event(), minutes=2)["known_time"].to_list() == [after(3)]
    assert fixed_horizon(bars, event(), minutes=5).is_empty(), "the tape ends before"


def test_a_silent_horizon_keeps_the_last_close() -> None:
    bars = bars_of([100, 99, 98], minutes=[0, 1, 9])
    assert fixed_horizon(bars, event(), minutes=5)["return_bps"].to_list() == [pytest.approx(1e4 * math.log(0.99))]
    silent = fixed_horizon(bars_of([100, 98], minutes=[0, 9]), event(), minutes=5)
    assert silent["return_bps"].to_list() == [0]
    assert fixed_horizon(bars_of([100, -1, -1]), event(), minutes=2).is_empty()
    with pytest.raises(ValueError, match="horizon of 0 minutes"):
        fixed_horizon(bars, event(), minutes=0)


def test_tails_of_ten_symbols() -> None:
    moves = [5.0, -40, 12, 3, -2, 30, 1, -3, 8, 20]
    returns = pl.DataFrame(
        {"symbol": list("ABCDEFGHIJ"), "event_time": 1, "return_bps": moves, "volatility_bps": [1.0] * 9 + [100]}
    )
    plain = tail_sets(returns, scale=None)
    assert plain.filter(label=1)["symbol"].to_list() == ["F", "J"]
    assert plain.filter(label=-1)["symbol"].to_list() == ["B", "H"]
    scaled = tail_sets(returns)
    assert scaled.filter(label=1)["symbol"].to_list() == ["C", "F"], "J is volatile: 20 is little for it"
    assert tail_sets(returns.head(4))["label"].to_list() == [0] * 4
    unknown = returns.with_columns(return_bps=pl.when(pl.col("symbol") == "F").then(None).otherwise("return_bps"))
    assert tail_sets(unknown, scale=None).filter(pl.col("label").is_null())["symbol"].to_list() == ["F"]
    with pytest.raises(ValueError, match=r"tail of 0\.6"):
        tail_sets(returns, tail=0.6)


def plain_t(y: np.ndarray) -> float:
    x = np.arange(y.size)
    design = np.column_stack([np.ones(y.size), x])
    beta, residual, *_ = np.linalg.lstsq(design, y, rcond=None)
    covariance = residual[0] / (y.size - 2) * np.linalg.inv(design.T @ design)
    return float(beta[1] / np.sqrt(covariance[1, 1]))


def test_trends_are_those_of_plain_regressions() -> None:
    bars = walk(11, 200, gaps=False)
    events = cusum_events(bars, multiple=2.0)
    found = trend_scan(bars, events, shortest=5, longest=20)
    assert found.height > 10
    log_close = np.log(bars["close"].to_numpy())
    starts = found["event_time"].to_list()
    for row, start in zip(found.iter_rows(named=True), starts, strict=True):
        at = int((start - after(1)).total_seconds() // 60)
        values = {n: plain_t(log_close[at : at + n]) for n in range(5, 21)}
        best = max(values, key=lambda n: abs(values[n]))
        assert (row["bars"], row["t_value"]) == (best, pytest.approx(values[best]))
        assert row["label"] == np.sign(values[best])
        assert row["known_time"] == after(at + 20)


def test_a_straight_line_and_a_flat_one() -> None:
    straight = trend_scan(bars_of([100 * 1.001**i for i in range(6)]), event(), shortest=3, longest=5)
    assert (straight["label"][0], straight["t_value"][0]) == (1, 1e6)
    assert trend_scan(bars_of([100.0] * 6), event(), shortest=3, longest=5)["label"].to_list() == [0]
    assert trend_scan(bars_of([100.0] * 4), event(), shortest=3, longest=5).is_empty(), "too few bars"
    assert trend_scan(bars_of([100, 99, -1, 98, 97, 96]), event(), shortest=3, longest=5).is_empty()
    with pytest.raises(ValueError, match="regressions of 2 to 5 bars"):
        trend_scan(bars_of([100.0] * 6), event(), shortest=2, longest=5)


def test_a_longer_tape_only_adds_labels() -> None:
    whole = walk(12, 200)
    cut = whole.head(120)
    for label in (
        lambda bars: fixed_horizon(bars, cusum_events(bars, multiple=2.0), minutes=10),
        lambda bars: trend_scan(bars, cusum_events(bars, multiple=2.0), longest=15),
    ):
        early, late = label(cut), label(whole)
        assert 0 < early.height < late.height
        assert late.head(early.height).equals(early)
