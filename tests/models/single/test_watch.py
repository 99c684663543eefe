"""The watch of single series: causal, of fixed memory, calm on noise, awake to what is new."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from models.base import DetectorError
from models.single.layout import BLOCK
from models.single.watch import PARTS, SeriesWatch

N = 3000
DAY_S = 86_400.0


def noise(n: int = N, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=n)


def every(seconds: float, n: int = N) -> np.ndarray:
    return 1.7e9 + seconds * np.arange(n)


@pytest.fixture(scope="module")
def rhythm() -> tuple[np.ndarray, np.ndarray]:
    """Ten days of five minutes."""
    times = every(300.0, 2880)
    return times, 50.0 + 20.0 * np.sin(2.0 * np.pi * times / DAY_S) + noise(2880)


@pytest.mark.long
def test_a_score_depends_on_no_later_row(rhythm: tuple[np.ndarray, np.ndarray]) -> None:
    times, values = rhythm
    whole = SeriesWatch().scan(values, times)
    for cut in (1, 41, 777, 2500):
        np.testing.assert_array_equal(SeriesWatch().scan(values[:cut], times[:cut]), whole[:cut])


@pytest.mark.long
def test_row_by_row_equals_all_at_once_and_many_series_equal_each_alone() -> None:
    values = np.stack([noise(300, seed).cumsum() for seed in range(3)])
    values[1, 100:120] = np.nan
    times = every(60.0, 300)
    watch = SeriesWatch(3)
    together = np.stack([watch.update(values[:, row], times[row]) for row in range(300)], axis=1)
    for series in range(3):
        np.testing.assert_array_equal(SeriesWatch().scan(values[series], times), together[series])


def test_saved_and_loaded_equals_undisturbed(tmp_path: Path, rhythm: tuple[np.ndarray, np.ndarray]) -> None:
    times, values = rhythm
    whole = SeriesWatch().scan(values, times)
    watch = SeriesWatch()
    watch.scan(values[:1234], times[:1234])
    watch.save(tmp_path / "watch.npz", rows=1234)
    loaded, notes = SeriesWatch.load(tmp_path / "watch.npz")
    assert notes == {"rows": 1234}
    np.testing.assert_array_equal(loaded.scan(values[1234:], times[1234:]), whole[1234:])


def test_no_state_but_a_watchs_own_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    path.write_bytes(b"no archive")
    with pytest.raises(DetectorError, match="no saved watch"):
        SeriesWatch.load(path)
    np.savez(path, version=np.array(1), surprises=np.zeros((1, len(PARTS))))
    with pytest.raises(DetectorError, match="holds no numbers"):
        SeriesWatch.load(path)
    np.savez(path, version=np.array(99))
    with pytest.raises(DetectorError, match="another version"):
        SeriesWatch.load(path)


def spike(values: np.ndarray) -> None:
    values[2000] += 15.0


def shift(values: np.ndarray) -> None:
    values[2000:] += 4.0


def burst(values: np.ndarray) -> None:
    values[2000:2030] *= 6.0


def silence(values: np.ndarray) -> None:
    values[2000:2100] = values[2000]


def pause(values: np.ndarray) -> None:
    values[2000:2100] = np.nan
    values[2100] = 12.0


@pytest.mark.parametrize("anomaly", [spike, shift, burst, silence])
def test_what_is_new_scores_highest_within_thirty_rows(anomaly: Callable[[np.ndarray], None]) -> None:
    values = noise()
    anomaly(values)
    scores = SeriesWatch().scan(values, every(60.0))
    # All before it, and nothing but the first rows of the new.
    assert scores[2000:2030].max() > 0.995
    assert scores[2000:2030].max() > scores[:2000].max()


def test_a_shift_is_told_once() -> None:
    values = noise(6000)
    values[3000:] += 8.0
    scores = SeriesWatch().scan(values, every(60.0, 6000))
    # The new level is usual after a while: as many alerts as before.
    assert np.sum(scores[4500:] > 0.99) <= 3


def test_a_day_out_of_rhythm_is_found_by_the_time_of_day(rhythm: tuple[np.ndarray, np.ndarray]) -> None:
    times, values = rhythm
    still = values.copy()
    night = np.flatnonzero(values[2000:] < 35.0)[0] + 2000
    still[night : night + 6] = 55.0
    scores = SeriesWatch().scan(still, times)
    assert scores[night : night + 6].max() > 0.99
    # 55 is a usual value at another hour.
    assert np.sum(np.abs(values[:2000] - 55.0) < 2.0) > 50


@pytest.mark.long
def test_the_second_day_and_a_period_just_found_raise_no_alarm(rhythm: tuple[np.ndarray, np.ndarray]) -> None:
    times, values = rhythm
    assert SeriesWatch().scan(values, times)[200:700].max() < 0.99
    assert SeriesWatch().scan(values)[200:].max() < 0.999


def test_a_beat_without_times_gives_its_period_and_a_strange_beat_is_found() -> None:
    phase = np.arange(4000) % 75 / 75
    values = np.exp(-(((phase - 0.3) / 0.05) ** 2)) + 0.02 * noise(4000)
    values[3000:3075] = values[3000:3075][::-1]
    watch = SeriesWatch()
    scores = watch.scan(values)
    assert watch.periods[0] == 75
    assert scores[3000:3090].max() > scores[500:3000].max()


def test_a_score_is_the_rate_of_blocks_as_high() -> None:
    for values in (noise(40_000), np.random.default_rng(2).standard_t(3, 40_000)):
        scores = SeriesWatch().scan(values, every(300.0, 40_000))
        peaks = scores[BLOCK * 4 :].reshape(-1, BLOCK).max(axis=1)
        assert np.mean(peaks > 0.9) == pytest.approx(0.1, abs=0.04)
        assert 0.002 < np.mean(peaks > 0.99) < 0.02


@pytest.mark.parametrize("step", [1e-6, 1.0, 3600.0, DAY_S])
def test_any_interval_between_rows(step: float) -> None:
    values = noise()
    spike(values)
    scores = SeriesWatch().scan(values, every(step))
    assert int(np.argmax(scores)) == 2000
    assert np.isfinite(scores).all()


def test_repeated_backward_and_missing_times_are_rows_like_any_other() -> None:
    values, times = noise(), every(60.0)
    times[500:520] = times[500]
    times[900:1000] = times[900:1000][::-1]
    times[1500:] += 40 * DAY_S
    spike(values)
    scores = SeriesWatch().scan(values, times)
    assert scores.shape == values.shape
    assert int(np.argmax(scores)) == 2000


def test_missing_and_infinite_values_score_nothing_and_teach_nothing() -> None:
    values = noise(2000)
    kept = SeriesWatch().scan(values)
    holes = np.insert(values, 700, [np.nan, np.inf, -np.inf, 1e200])
    scores = SeriesWatch().scan(holes)
    np.testing.assert_array_equal(scores[700:704], 0.0)
    np.testing.assert_array_equal(np.delete(scores, range(700, 704)), kept)


@pytest.mark.parametrize("value", [0.0, 5.0, -1e140, 1e-300])
def test_a_constant_series_is_calm_and_its_first_change_is_found(value: float) -> None:
    values = np.full(1000, value)
    values[800] = 2.0 * value + 1.0
    scores = SeriesWatch().scan(values, every(1.0, 1000))
    assert np.isfinite(scores).all()
    assert scores[:800].max() < 0.9
    assert scores[800] > 0.99


def test_units_and_offsets_hardly_matter() -> None:
    values = noise(1500)
    scores = SeriesWatch().scan(values)
    for other in (1e6 * values, 1e-6 * values, values + 1e4):
        assert np.abs(SeriesWatch().scan(other) - scores).max() < 0.05


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(DetectorError, match="at least one series, not 0"):
        SeriesWatch(0)
    with pytest.raises(DetectorError, match="3 series need as many values, not 2"):
        SeriesWatch(3).update([1.0, 2.0])
    with pytest.raises(DetectorError, match="3 series need as many times, not 2"):
        SeriesWatch(3).update([1.0, 2.0, 3.0], [1.0, 2.0])
    with pytest.raises(DetectorError, match="3 values need as many times, not 2"):
        SeriesWatch().scan([1.0, 2.0, 3.0], [1.0, 2.0])
    with pytest.raises(DetectorError, match="use update"):
        SeriesWatch(2).scan([1.0])


@pytest.mark.long
def test_the_strongest_part_is_named() -> None:
    values = noise()
    watch = SeriesWatch()
    watch.scan(values[:2000])
    watch.update([30.0])
    assert PARTS[int(np.argmax(watch.surprises[0]))] in {"surprise", "deviation", "novelty"}
