"""The path of one bet, followed alone, ends as among many."""

import numpy as np
import polars as pl
import pytest

from tapewatch.market.arrays import flat
from tapewatch.market.instruments import NS_PER_MINUTE
from tapewatch.market.tables.tape import TIME
from tapewatch.trading.bets.path import NEVER, Paths, path_labels
from tests.support.trading_rows import bars_at, session

_MINUTES = 120


@pytest.fixture
def bars() -> pl.DataFrame:
    """Two walks, one of which goes below zero: bars that are known at their end."""
    rng = np.random.default_rng(7)
    walks = {"AAA": 100 * np.exp(np.cumsum(rng.normal(0, 1e-3, _MINUTES))), "BBB": np.linspace(3.0, -1.0, _MINUTES)}
    frame = bars_at({name: walk.tolist() for name, walk in walks.items()})
    wide = frame.with_columns(high=pl.col("high") * 1.0005, low=pl.col("low") * 0.9995)
    return wide.with_columns(known_time=pl.col("time").dt.offset_by("1m"))


@pytest.fixture
def bets(bars: pl.DataFrame) -> pl.DataFrame:
    """Filled at any time within a bar at about its close, of a symbol without bars too."""
    rng = np.random.default_rng(8)
    at = rng.integers(0, bars.height, 200)
    filled = bars[at]
    return pl.DataFrame(
        {
            "bet": [f"bet {number}" for number in range(at.size)],
            "symbol": pl.Series([*filled["symbol"].cast(pl.String)[:-1], "ZZZ"]),
            "side": pl.Series(rng.choice([-1, 1], at.size), dtype=pl.Int8),
            "entry_price": filled["close"] * np.exp(rng.normal(0, 2e-4, at.size)),
            "fill_time": pl.Series(flat(filled["time"]) + rng.integers(0, NS_PER_MINUTE + 1, at.size)).cast(TIME),
            "target_bps": rng.uniform(5, 60, at.size),
            "horizon_minutes": rng.choice([10, 30], at.size),
        }
    )


@pytest.mark.parametrize("through", [60, _MINUTES])
def test_the_path_ends_when_the_label_is_known(bars: pl.DataFrame, bets: pl.DataFrame, through: int) -> None:
    through_ns = session().regular_start + through * NS_PER_MINUTE
    seen = bars.filter(pl.col("known_time") <= pl.lit(through_ns).cast(TIME))
    labels = path_labels(bets, seen, session(), through_ns=through_ns)
    expected = dict(zip(labels["bet"], flat(labels["known_time"]).tolist(), strict=True))
    paths = Paths(bars, session())
    columns = (
        "bet",
        "symbol",
        "side",
        "entry_price",
        pl.col("fill_time").to_physical(),
        "target_bps",
        "horizon_minutes",
    )
    found = {
        bet: end
        for bet, *of_bet in bets.select(columns).iter_rows()
        if (end := paths.end_ns(*of_bet, through_ns=through_ns, known_ns=through_ns)) != NEVER
    }
    assert found == expected
    assert 20 < len(found) < bets.height
