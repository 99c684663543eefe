"""A candidate is compared with the champion at as many false alerts, by days."""

import datetime as dt

import numpy as np
import polars as pl
import pytest

from models.promotion.comparison import compare
from tapewatch.market.tables.tape import TRUTH_LABELS

_START = dt.datetime(2024, 6, 3, 14, tzinfo=dt.UTC)
_DAYS = 6


def _minutes(score: np.ndarray, champion: np.ndarray) -> pl.DataFrame:
    """Six days of an hour each."""
    times = [_START + dt.timedelta(days=day, minutes=minute) for day in range(_DAYS) for minute in range(60)]
    return pl.DataFrame({"event_time": pl.Series(times).cast(pl.Datetime("ns", "UTC"))}).with_columns(
        symbol=pl.lit("AAPL"),
        day=pl.col("event_time").dt.date().cast(pl.String),
        score=pl.Series(score),
        champion_score=pl.Series(champion),
    )


def _truth(minutes: pl.DataFrame) -> pl.DataFrame:
    """Two anomalies a day, of a minute each: a jump at minute 10 and a spike at minute 40."""
    parts = [
        minutes.gather([60 * day + at for day in range(_DAYS)]).select(
            "symbol",
            "event_time",
            known_time=pl.col("event_time") + dt.timedelta(minutes=1),
            event_id=pl.format("{} {}", pl.lit(kind), "day"),
            kind=pl.lit(kind),
            start_time="event_time",
            end_time=pl.col("event_time") + dt.timedelta(minutes=1),
        )
        for kind, at in (("price_jump", 10), ("volume_spike", 40))
    ]
    return TRUTH_LABELS.conform(pl.concat(parts))


def test_a_candidate_that_finds_more_gains_on_every_day() -> None:
    score, champion = np.full(360, 0.1), np.full(360, 0.1)
    for day in range(_DAYS):
        # Both raise one false alert a day; the candidate finds both anomalies, the champion one.
        champion[[60 * day + 10, 60 * day + 25]] = 0.9
        score[[60 * day + 10, 60 * day + 40, 60 * day + 50]] = 0.8
    minutes = _minutes(score, champion)
    found = compare(minutes, _truth(minutes), champion_threshold=0.5)
    assert found is not None
    assert (found.false_alerts, found.champion_false_alerts) == (6, 6)
    assert (found.recall, found.champion_recall) == (1.0, 0.5)
    # Each day has the same gain, so every draw of days has it.
    assert (found.gain, found.low, found.high) == (0.5, 0.5, 0.5)
    assert found.by_kind.rows() == [("price_jump", 6, 6, 6), ("volume_spike", 6, 6, 0)]


def test_a_candidate_may_not_buy_anomalies_with_false_alerts() -> None:
    score, champion = np.full(360, 0.1), np.full(360, 0.1)
    for day in range(_DAYS):
        champion[60 * day + 10] = 0.9
        # The false alerts come before the second anomaly.
        score[[60 * day + 10, 60 * day + 25, 60 * day + 40]] = (0.9, 0.8, 0.7)
    minutes = _minutes(score, champion)
    found = compare(minutes, _truth(minutes), champion_threshold=0.5)
    assert found is not None
    assert found.false_alerts == found.champion_false_alerts == 0
    assert found.gain == 0.0


def test_the_interval_is_that_of_a_paired_bootstrap_worked_out_another_way() -> None:
    score, champion = np.full(360, 0.1), np.full(360, 0.1)
    for day in range(_DAYS):
        champion[60 * day + 10] = 0.9
        score[60 * day + 10] = 0.9
    score[[40, 100]] = 0.9  # two days gain one of two anomalies
    minutes = _minutes(score, champion)
    found = compare(minutes, _truth(minutes), champion_threshold=0.5)
    assert found is not None
    gains = np.array([0.5, 0.5, 0, 0, 0, 0])
    draws = np.random.default_rng(1).choice(gains, size=(20_000, _DAYS)).mean(axis=1)
    assert found.gain == pytest.approx(gains.mean())
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(draws, [0.05, 0.95])), abs=1e-9)


def test_days_without_an_anomaly_compare_nothing() -> None:
    minutes = _minutes(np.zeros(360), np.zeros(360))
    assert compare(minutes, TRUTH_LABELS.empty(), champion_threshold=0.5) is None
