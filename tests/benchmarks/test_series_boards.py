"""The boards' scores, worked out by hand."""

import numpy as np
import pytest

from benchmarks.detectors.series_boards import PROFILES, Labelled, nab_score, range_pr_auc, vus_pr
from benchmarks.detectors.series_corpus import series

STANDARD = PROFILES["standard"]


def scores(n: int, **heights: float) -> np.ndarray:
    out = np.zeros(n)
    for row, height in heights.items():
        out[int(row[1:])] = height
    return out


def reward(position: float) -> float:
    return 2.0 / (1.0 + np.exp(5.0 * position)) - 1.0


def test_an_alert_at_the_first_row_of_the_only_window_is_perfect() -> None:
    result, threshold = nab_score([Labelled(scores(100, r50=0.9), [(50, 59)])], STANDARD)
    assert result == pytest.approx(100.0)
    assert threshold == 0.9


def test_a_late_alert_earns_by_its_place_in_the_window() -> None:
    # Row 55 of 50-59: -(59 - 55 + 1) / 10 of the way. The alert earns that, and avoids the miss.
    result, _ = nab_score([Labelled(scores(100, r55=0.9), [(50, 59)])], STANDARD)
    assert result == pytest.approx(100.0 * (reward(-0.5) / reward(-1.0) + 1.0) / 2.0)


def test_only_the_earliest_alert_of_a_window_counts() -> None:
    once, _ = nab_score([Labelled(scores(100, r52=0.9), [(50, 59)])], STANDARD)
    twice, _ = nab_score([Labelled(scores(100, r52=0.9, r57=0.95), [(50, 59)])], STANDARD)
    assert once == pytest.approx(twice)


def test_a_false_alert_costs_its_weight_and_less_just_behind_a_window() -> None:
    far = Labelled(scores(100, r30=0.9, r50=0.9), [(50, 59)])
    assert nab_score([far], STANDARD)[0] == pytest.approx(100.0 * (2.0 - 0.11) / 2.0)
    assert nab_score([far], PROFILES["reward low FP"])[0] == pytest.approx(100.0 * (2.0 - 0.22) / 2.0)
    near = Labelled(scores(100, r50=0.9, r62=0.9), [(50, 59)])
    assert nab_score([near], STANDARD)[0] == pytest.approx(100.0 * (2.0 + 0.11 * reward(3.0 / 9.0)) / 2.0)


def test_the_threshold_is_one_for_all_series_and_probation_is_free() -> None:
    first = Labelled(scores(100, r50=0.9, r80=0.5, r3=1.0), [(50, 59)])
    second = Labelled(scores(100, r50=0.5), [(50, 59)])
    result, threshold = nab_score([first, second], STANDARD)
    # Down to 0.5 finds both windows, at one false alert.
    late = reward((80 - 59) / 9.0)
    assert threshold == 0.5
    assert result == pytest.approx(100.0 * (4.0 + 0.11 * late) / 4.0)


def test_no_alert_scores_nothing() -> None:
    result, threshold = nab_score([Labelled(scores(100, r20=0.9), [(50, 59)])], STANDARD)
    assert result >= 0.0
    many = Labelled(np.where(np.arange(100) < 50, 0.9, 0.0), [(60, 61)])
    result, threshold = nab_score([many], PROFILES["reward low FP"])
    assert (result, threshold) == (0.0, float("inf"))


def test_range_pr_auc_of_a_perfect_and_of_a_constant_score() -> None:
    labels = np.zeros(1000, dtype=bool)
    labels[400:420] = True
    assert range_pr_auc(labels.astype(float), labels, 0) == pytest.approx(1.0)
    # Every row is an alert at once: precision is the share of anomalous rows.
    assert range_pr_auc(np.zeros(1000), labels, 0) == pytest.approx(0.02)


def test_a_buffer_forgives_an_alert_beside_the_anomaly() -> None:
    labels = np.zeros(1000, dtype=bool)
    labels[400:420] = True
    beside = np.zeros(1000)
    beside[390:410] = 1.0
    assert range_pr_auc(beside, labels, 40) > range_pr_auc(beside, labels, 0) + 0.2
    assert 0.0 < vus_pr(beside, labels, 40) < 1.0
    with pytest.raises(ValueError, match="no row is labelled"):
        vus_pr(beside, np.zeros(1000, dtype=bool), 40)


def test_the_corpus_is_the_same_for_a_seed_and_its_windows_hold_their_anomalies() -> None:
    first, again = list(series(5, 1)), list(series(5, 1))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.values, other.values)
        for row in np.flatnonzero(one.labels):
            assert any(start <= row <= end for start, end in one.windows), one.name
