"""Sample weights: López de Prado's published examples, by hand, and without a look ahead."""

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tapewatch.labels.barriers.barriers import BarrierRules, triple_barrier
from tapewatch.labels.barriers.events import cusum_events
from tapewatch.labels.barriers.volatility import usable_bars
from tapewatch.labels.training.weights import (
    attributed_returns,
    average_uniqueness,
    concurrency,
    drawn_in_turn,
    label_weights,
    sample_weights,
    sequential_bootstrap,
    time_decay,
)
from tapewatch.market.tables.labels import LABEL_WEIGHTS
from tests.support.price_bars import walk

#: Section 4.5.3: labels over bars 0-2, 2-3 and 4-5.
FIRST, LAST = np.array([0, 2, 4]), np.array([2, 3, 5])


def test_concurrency_and_uniqueness_of_the_published_example() -> None:
    concurrent = concurrency(FIRST, LAST, 6)
    assert concurrent.tolist() == [1, 1, 2, 1, 1, 1]
    assert average_uniqueness(FIRST, LAST, concurrent) == pytest.approx([5 / 6, 3 / 4, 1])


def test_draws_of_the_published_example() -> None:
    """After label 2 the probabilities are 5/14, 3/14, 6/14; after labels 2 and 3 they are 5/11, 3/11, 3/11."""

    def drawn(*uniforms: float) -> list[int]:
        return drawn_in_turn(FIRST, LAST, 6, np.array(uniforms)).tolist()

    below = 1e-9
    assert [drawn(u)[0] for u in (0.0, 1 / 3 - below, 1 / 3 + below, 2 / 3 - below, 2 / 3 + below)] == [0, 0, 1, 1, 2]
    limits = (5 / 14 - below, 5 / 14 + below, 8 / 14 - below, 8 / 14 + below)
    assert [drawn(0.5, u)[1] for u in limits] == [0, 1, 1, 2]
    limits = (5 / 11 - below, 5 / 11 + below, 8 / 11 - below, 8 / 11 + below)
    assert [drawn(0.5, 0.9, u)[2] for u in limits] == [0, 1, 1, 2]


def test_a_sequential_draw_is_more_unique_than_a_plain_one() -> None:
    rng = np.random.default_rng(7)
    first = rng.integers(0, 40, 15)
    last = first + rng.integers(2, 8, 15)

    def mean_uniqueness(drawn: np.ndarray) -> float:
        return float(average_uniqueness(first[drawn], last[drawn], concurrency(first[drawn], last[drawn], 50)).mean())

    sequential = np.mean([mean_uniqueness(sequential_bootstrap(first, last, 50, 15, seed)) for seed in range(200)])
    plain = np.mean([mean_uniqueness(rng.integers(0, 15, 15)) for _ in range(200)])
    assert sequential > plain * 1.05
    with pytest.raises(ValueError, match="needs labels"):
        sequential_bootstrap(first, first - 1, 100, 5, 0)


def test_returns_are_shared_among_the_labels_alive() -> None:
    returns = np.array([1.0, 2.0, 4.0, -8.0, 3.0, -5.0])
    found = attributed_returns(FIRST, LAST, concurrency(FIRST, LAST, 6), returns)
    assert found == pytest.approx([1 + 2 + 2, 8 - 2, 2])


def test_decay_falls_linearly_with_cumulated_uniqueness() -> None:
    unique = np.array([0.5, 1.0, 0.5])
    assert time_decay(unique, 1.0) == pytest.approx([1, 1, 1])
    # Cumulated: 0.5, 1.5, 2. With an oldest factor of 0.5 the line is 0.5 + x / 4; with 0 it is x / 2.
    assert time_decay(unique, 0.5) == pytest.approx([0.625, 0.875, 1])
    assert time_decay(unique, 0.0) == pytest.approx([0.25, 0.75, 1])
    # With -0.5 the line starts at zero in the middle, at 1, and ends at 1.
    assert time_decay(unique, -0.5) == pytest.approx([0, 0.5, 1])
    with pytest.raises(ValueError, match="oldest label's factor is -1"):
        time_decay(unique, -1.0)


def test_weights_of_a_days_labels() -> None:
    bars = usable_bars(pl.concat([walk(3, 300), walk(4, 300, symbol="BBB")]), None)
    events, rules = cusum_events(bars, multiple=2.0), BarrierRules(vertical_minutes=20)
    labels = triple_barrier(bars, events=events, rules=rules)
    weights = label_weights(bars, events, labels)
    LABEL_WEIGHTS.check(weights)
    assert weights.height == labels.height > 20
    assert weights["uniqueness"].min() < 1, "some labels overlap"
    for (symbol,), own in weights.partition_by("symbol", as_dict=True).items():
        alone = bars.filter(pl.col("symbol") == symbol)
        again = label_weights(
            alone, events.filter(pl.col("symbol") == symbol), labels.filter(pl.col("symbol") == symbol)
        )
        assert_frame_equal(again, own, categorical_as_str=True)
    used = sample_weights(weights, oldest=0.5)
    assert used.mean() == pytest.approx(1)
    flat = sample_weights(weights, by_return=False)
    assert flat == pytest.approx((weights["uniqueness"] / weights["uniqueness"].mean()).to_list())


def test_a_longer_tape_changes_no_weight() -> None:
    whole, rules = usable_bars(walk(5, 300), None), BarrierRules(vertical_minutes=20)
    shorter = whole.head(200)
    found = [
        label_weights(
            bars, (events := cusum_events(bars, multiple=2.0)), triple_barrier(bars, events=events, rules=rules)
        )
        for bars in (shorter, whole)
    ]
    assert found[0].height > 5
    assert found[1].head(found[0].height).equals(found[0])


def test_a_label_alone_is_unique_to_the_last_bit() -> None:
    first = np.array([*range(0, 2_000, 3), 2_002])
    last = np.array([*(first[:-1] + 3), 2_012])
    assert average_uniqueness(first, last, concurrency(first, last, 2_013)).max() <= 1.0


def test_no_events_have_no_weights() -> None:
    bars = usable_bars(walk(6, 20), None)
    none = cusum_events(bars).clear()
    assert label_weights(bars, none, triple_barrier(bars, events=none)).is_empty()
    assert sample_weights(LABEL_WEIGHTS.empty()).size == 0
