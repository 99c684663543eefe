"""Peaks, tails and incidents."""

import numpy as np
import pytest

from models.scan.calibration import APART, BINS_A_DAY, fit_tail, peaks
from models.scan.incidents import QUIET, REARM, incidents
from models.scan.layout import KINDS
from models.scan.quantiles import around, row_quantiles


@pytest.mark.long
def test_peaks_are_apart() -> None:
    values = np.zeros(1000)
    values[[100, 150, 400, 530]] = [5, 4, 3, 6]
    values[700:] = np.nan
    found = peaks(values)
    assert found[:3].tolist() == [6, 5, 3]
    assert 4 not in found


def test_surprise_is_the_rate_of_peaks() -> None:
    rng = np.random.default_rng(0)
    days = [rng.exponential(1.0, BINS_A_DAY) for _ in range(60)]
    tail = fit_tail(days)
    unseen = np.concatenate([peaks(rng.exponential(1.0, BINS_A_DAY)) for _ in range(200)])
    for surprise in (0.0, 0.5, 1.0):
        rate = (tail.surprise(unseen) >= surprise).sum() / 200
        assert rate == pytest.approx(10.0**-surprise, rel=0.35)


def test_a_few_anomalies_among_the_peaks_do_not_set_the_tail() -> None:
    rng = np.random.default_rng(1)
    days = [rng.exponential(1.0, BINS_A_DAY) for _ in range(20)]
    clean = fit_tail(days).surprise(np.array([20.0]))[0]
    for day in days[:6]:
        day[2000] = 200.0
    assert fit_tail(days).surprise(np.array([20.0]))[0] == pytest.approx(clean, rel=0.4)


def test_what_is_missing_has_no_surprise() -> None:
    tail = fit_tail([np.full(100, np.nan)])
    assert np.isnan(tail.surprise(np.array([np.nan]))).all()
    assert (tail.surprise(np.array([0.0, 1e6])) < 0).all()


def of_one(**kinds: dict[int, float]) -> np.ndarray:
    """Surprises of one symbol, 0 but where given by kind and bin."""
    judged = np.zeros((1, len(KINDS), 2000))
    for kind, at in kinds.items():
        for where, value in at.items():
            judged[0, KINDS.index(kind), where] = value
    return judged


def test_kinds_together_are_one_incident_named_by_what_brings_the_others_about() -> None:
    found = incidents(of_one(volume_spike={100: 1.2, 101: 1.4}, price_jump={140: 1.1}, feed_outage={900: 1.1}), 1.0)
    assert [KINDS[kind] for kind in found.kind] == ["price_jump", "feed_outage"]
    assert found.first.tolist() == [100, 900]
    assert found.last.tolist() == [140, 900]
    assert found.surprise.tolist() == [1.4, 1.1]


@pytest.mark.parametrize(
    ("kinds", "name"),
    [
        ({"spread_blowout": {101: 3.0}, "flash_crash": {100: 1.0}}, "flash_crash"),
        ({"spread_blowout": {101: 3.0}, "flash_crash": {101: 0.4}}, "spread_blowout"),
        ({"spread_blowout": {101: 3.0}, "flash_crash": {100: 0.6}}, "spread_blowout"),
        ({"spread_blowout": {101: 3.0}, "flash_crash": {101: 0.6}}, "flash_crash"),
        ({"price_jump": {100: 1.5}, "flash_crash": {110: 2.0}, "volume_spike": {120: 4.0}}, "flash_crash"),
        ({"price_jump": {100: 1.5}, "correlation_break": {219: 0.7, 220: 1.0}}, "correlation_break"),
        ({"one_sided_flow": {100: 1.0}, "volume_spike": {100: 2.0}}, "one_sided_flow"),
    ],
)
def test_the_name_of_an_incident(kinds: dict[str, dict[int, float]], name: str) -> None:
    found = incidents(of_one(**kinds), 1.0)
    assert [KINDS[kind] for kind in found.kind] == [name]


def test_a_kind_that_stays_high_opens_once() -> None:
    stays = dict.fromkeys(range(100, 800), 1.5)
    assert incidents(of_one(volume_spike=stays), 1.0).first.tolist() == [100]
    hovers = {at: 1.5 if at % QUIET < 4 else 0.9 for at in range(100, 100 + 4 * REARM)}
    assert incidents(of_one(volume_spike=hovers), 1.0).first.size == 1


def test_a_slow_rise_is_found() -> None:
    rise = {at: (at - 100) / 100 for at in range(100, 300)}
    assert incidents(of_one(volume_spike=rise), 1.0).first.tolist() == [200]


def test_quantiles_are_those_of_numpy() -> None:
    rows = np.random.default_rng(2).normal(size=(20, 101))
    rows[rows > 1.5] = np.nan
    np.testing.assert_allclose(row_quantiles(rows, 0.9), np.nanpercentile(rows, 90, axis=1))
    assert np.isnan(row_quantiles(np.full((1, 3), np.nan), 0.5)).all()


def test_around_holds_the_neighbours() -> None:
    windows = around(np.arange(6.0).reshape(1, 6), 1)
    np.testing.assert_array_equal(windows[0], [np.nan, 0, 1])
    np.testing.assert_array_equal(windows[5], [4, 5, np.nan])
    assert around(np.arange(120.0).reshape(1, 120), 5, step=60)[:, 5].tolist() == [30, 90]
    assert APART == 120
