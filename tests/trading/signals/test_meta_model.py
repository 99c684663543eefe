"""The meta-model: found where it is there, calibrated, silent where bets are few or say nothing."""

import numpy as np
import polars as pl
import pytest
from scipy.special import expit

from tapewatch.market.tables.signals import OUTCOMES
from tapewatch.trading.evaluation import sized_by
from tapewatch.trading.signals.build import signals
from tapewatch.trading.signals.confidence import confidence
from tapewatch.trading.signals.context import context
from tapewatch.trading.signals.meta_model import LEAST_BETS, LEAST_OF_STRATEGY, MetaModel
from tapewatch.trading.strategies.proposals import PROPOSALS
from tests.support.trading_rows import minute, minute_rows, outcome

#: Log odds by cost over target, when bets are dear or cheap alike in kind and regime.
BASE, SLOPE = 1.5, -6.0


def chance_of(bets: pl.DataFrame) -> np.ndarray:
    return expit(BASE + SLOPE * (bets["cost_bps"] / bets["target_bps"]).to_numpy())


def past(count: int, seed: int, *, is_noise: bool = False, strategy: str = "reversal") -> pl.DataFrame:
    """Bets on which costs decide, or nothing does."""
    rng = np.random.default_rng(seed)
    rows = pl.concat([outcome(number, 1.0, strategy=strategy) for number in range(count)])
    rows = rows.with_columns(cost_bps=pl.Series(rng.uniform(1, 9, count)))
    won = rng.random(count) < (0.5 if is_noise else chance_of(rows))
    return OUTCOMES.conform(rows.with_columns(label=pl.Series(won.astype(np.int8))))


def test_it_finds_what_the_rate_cannot_and_is_calibrated() -> None:
    model = MetaModel.fit(past(600, 1))
    assert model is not None
    assert (model.bets, model.strategies) == (600, frozenset({"reversal"}))
    new = past(600, 2)
    given = model.confidence(new, "event_time").to_numpy()
    assert np.abs(given - chance_of(new)).mean() < 0.06
    won = new["label"].to_numpy()
    for third in np.array_split(np.argsort(given), 3):
        assert given[third].mean() == pytest.approx(won[third].mean(), abs=0.1)
    # The gain that was claimed is there on bets that it was not fitted to.
    rate = confidence(new, past(600, 1))["confidence"].to_numpy()
    loss = [-np.where(won == 1, np.log(each), np.log(1 - each)).mean() for each in (rate, given)]
    assert loss[0] - loss[1] == pytest.approx(model.gain, abs=0.03)


def test_it_abstains_where_bets_are_few_or_say_nothing() -> None:
    assert MetaModel.fit(OUTCOMES.empty()) is None
    assert MetaModel.fit(past(LEAST_BETS - 1, 1)) is None
    assert all(MetaModel.fit(past(400, seed, is_noise=True)) is None for seed in range(3))
    won = past(300, 1).with_columns(label=pl.lit(1, pl.Int8))
    assert MetaModel.fit(won) is None
    few = past(LEAST_OF_STRATEGY - 1, 3, strategy="pairs")
    model = MetaModel.fit(pl.concat([past(600, 1), few]))
    assert model is not None
    assert model.confidence(few, "event_time").null_count() == few.height
    unknown = past(2, 4).with_columns(target_bps=pl.Series([None, 20.0]))
    assert model.confidence(unknown, "event_time").is_null().to_list() == [True, False]


def test_a_later_bet_changes_nothing_that_was_tested_before_it() -> None:
    """The first blocks' predictions rest on bets before them: results of the last block move the gain by their own share alone."""
    bets = past(500, 1).sort("event_time")
    last = pl.int_range(pl.len()) >= 400
    turned = bets.with_columns(label=pl.when(last).then(1 - pl.col("label")).otherwise("label").cast(pl.Int8))
    early, model = MetaModel.fit(bets.head(400)), MetaModel.fit(OUTCOMES.conform(turned))
    assert early is not None
    assert model is None or model.gain < early.gain


def test_signals_take_it_where_it_speaks_and_the_rate_elsewhere() -> None:
    prices = {"AAA": [100, 100.02] * 5 + [99.6, 99.5, 99.4, 99.3] * 4}
    minutes = context(minute_rows(prices))
    common = {"symbol": "AAA", "event_time": minute(11), "known_time": minute(12), "partner": "", "kind": "unusual"}
    common |= {"detector": "scan", "side": -1, "horizon_minutes": 9, "weight": 1.0}
    proposed = pl.DataFrame(
        [{**common, "strategy": name} for name in ("reversal", "pairs")], schema_overrides=PROPOSALS
    )
    history = past(600, 1).with_columns(
        pl.col("event_time", "known_time").dt.offset_by("-30d").cast(OUTCOMES.schema["known_time"])
    )
    model = MetaModel.fit(history)
    assert model is not None
    found = {str(row["strategy"]): row for row in signals(proposed, minutes, history, model=model).to_dicts()}
    plain = {str(row["strategy"]): row for row in signals(proposed, minutes, history).to_dicts()}
    assert found["pairs"] == plain["pairs"]
    given = chance_of(signals(proposed, minutes, history).filter(pl.col("strategy").cast(pl.String) == "reversal"))
    assert found["reversal"]["confidence"] == pytest.approx(given.item(), abs=0.1)
    assert found["reversal"]["confidence"] != plain["reversal"]["confidence"]


def test_the_evaluation_sizes_by_it() -> None:
    """Bets of one kind and regime, of which the dear lose: their common rate is below every break-even, the model takes the cheap."""
    new = past(200, 6)
    sizes, cost = sized_by(past(600, 1), new), new["cost_bps"].to_numpy()
    assert (sizes[cost < 3] > 0).all()
    assert (sizes[cost > 6] == 0).all()
