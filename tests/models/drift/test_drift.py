"""Distances agree with other sources, and what drifts is found while what does not stays silent."""

import datetime as dt

import numpy as np
import polars as pl
import pytest
from scipy import stats

from models.drift.cusum import LIMIT, Cusum
from models.drift.distances import kolmogorov_smirnov, stability_index, wasserstein
from models.drift.measure import drift_rows, verdict_rows
from tapewatch.market.tables.derived import DRIFT
from tests.support.detectors import fitted, ordinary_rows


def _later(rows: pl.DataFrame, days: int) -> pl.DataFrame:
    return rows.with_columns(pl.col("event_time", "known_time") + dt.timedelta(days=days))


def test_the_distances_are_those_of_scipy() -> None:
    noise = np.random.default_rng(3)
    reference, current = noise.standard_t(4, 701), noise.standard_t(3, 433) * 1.4 + 0.3
    assert kolmogorov_smirnov(reference, current) == pytest.approx(stats.ks_2samp(reference, current).statistic)
    width = np.subtract(*np.quantile(reference, [0.75, 0.25]))
    assert wasserstein(reference, current) == pytest.approx(stats.wasserstein_distance(reference, current) / width)


def test_the_stability_index_by_hand() -> None:
    # Two bins of the reference, half each; of the current values 3 of 4 lie in the upper.
    reference, current = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 3.0, 3.5, 9.0])
    expected = (0.25 - 0.5) * np.log(0.25 / 0.5) + (0.75 - 0.5) * np.log(0.75 / 0.5)
    assert stability_index(reference, current, bins=2) == pytest.approx(expected)
    assert stability_index(reference, reference) == pytest.approx(0.0)


def test_a_shift_of_one_and_a_half_deviations_is_found_within_days_and_none_is_rarely() -> None:
    noise = np.random.default_rng(5)

    def days_until(shift: float, most: int) -> int:
        total = Cusum()
        for day in range(1, most + 1):
            total = total.after(noise.normal(shift))
            if total.is_shifted:
                return day
        return most

    assert np.mean([days_until(1.5, 100) for _ in range(200)]) == pytest.approx(5.75, abs=0.6)
    # 465 days for a two-sided chart with these settings is the textbook value.
    assert np.mean([days_until(0.0, 4000) for _ in range(300)]) == pytest.approx(465, rel=0.2)


def test_what_moved_drifts_and_the_rest_does_not() -> None:
    detector = fitted()
    reference = pl.concat([_later(ordinary_rows(seed), -seed) for seed in range(1, 5)])
    day = ordinary_rows(seed=9)
    quiet = drift_rows(day, reference, detector, DRIFT.empty(), model="isolation_forest/1")
    assert not quiet["is_drifting"].any()
    wider = day.with_columns(quoted_spread_bps=3 * pl.col("quoted_spread_bps"))
    found = drift_rows(wider, reference, detector, DRIFT.empty(), model="isolation_forest/1")
    drifting = found.filter("is_drifting")
    assert "quoted_spread_bps" in drifting["name"].cast(pl.String).to_list()
    assert set(drifting["name"].cast(pl.String)) <= {"quoted_spread_bps", "score", "alerts"}


@pytest.mark.long
def test_the_sums_go_on_from_the_day_before_and_begin_anew_with_a_model() -> None:
    detector = fitted()
    reference = pl.concat([_later(ordinary_rows(seed), -seed) for seed in range(1, 5)])
    wider = ordinary_rows(seed=9).with_columns(quoted_spread_bps=1.2 * pl.col("quoted_spread_bps"))
    first = drift_rows(wider, reference, detector, DRIFT.empty(), model="isolation_forest/1")
    second = drift_rows(wider, reference, detector, first, model="isolation_forest/1")
    again = drift_rows(wider, reference, detector, first, model="isolation_forest/1")
    other = drift_rows(wider, reference, detector, first, model="isolation_forest/2")

    def up(rows: pl.DataFrame) -> float:
        return float(rows.filter(pl.col("name").cast(pl.String) == "quoted_spread_bps")["cusum_up"].item())

    assert up(second) == pytest.approx(2 * up(first))
    assert up(first) > 0
    assert again.equals(second)
    assert up(other) == up(first)
    assert LIMIT > 0


def test_fewer_confirmed_alerts_are_drift() -> None:
    noon = dt.datetime(2024, 6, 3, 12, tzinfo=dt.UTC)

    def verdicts(confirmed: int, dismissed: int, days: int) -> pl.DataFrame:
        words = ["confirmed"] * confirmed + ["dismissed"] * dismissed
        return pl.DataFrame({"verdict": words}).with_columns(created_time=pl.lit(noon + dt.timedelta(days=days)))

    earlier = verdicts(80, 20, -60)
    # Wilson's interval of 3 of 12 ends at 0.53, of 9 of 12 at 0.91.
    worse = verdict_rows(pl.concat([earlier, verdicts(3, 9, 0)]), since=noon, model="m/1")
    as_before = verdict_rows(pl.concat([earlier, verdicts(9, 3, 0)]), since=noon, model="m/1")
    assert worse.select("value", "reference", "is_drifting").row(0) == (0.25, 0.8, True)
    assert not as_before["is_drifting"].item()
    assert verdict_rows(earlier, since=noon, model="m/1").is_empty()
