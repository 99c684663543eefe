"""The numbers of an evaluation: by hand, and against scikit-learn."""

import datetime as dt

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import average_precision_score, precision_score, recall_score, roc_auc_score

from models.evaluation import Evaluation, _Ranking, evaluate, gain_interval, top
from tapewatch.market.tables.tape import EVALUATION, SYMBOL, TIME, TRUTH_LABELS

START = dt.datetime(2024, 3, 5, 15, tzinfo=dt.UTC)


def at(minute: float) -> dt.datetime:
    """That many minutes after the start."""
    return START + dt.timedelta(minutes=minute)


def scored(scores: dict[str, list[float]], rule: dict[str, list[float]]) -> pl.DataFrame:
    """Consecutive minutes of symbols with these scores."""
    return pl.DataFrame(
        [
            (symbol, at(i), at(i + 1), score, rule[symbol][i])
            for symbol, values in scores.items()
            for i, score in enumerate(values)
        ],
        schema={
            "symbol": SYMBOL,
            "event_time": TIME,
            "known_time": TIME,
            "score": pl.Float64,
            "rule_score": pl.Float64,
        },
        orient="row",
    )


def truth(*events: tuple[str, str, str, float, list[int]]) -> pl.DataFrame:
    """Events from (symbol, id, kind, start in minutes, minutes)."""
    rows = [
        {
            "symbol": symbol,
            "event_time": at(minute),
            "known_time": at(minute + 1),
            "event_id": event,
            "kind": kind,
            "start_time": at(start),
            "end_time": at(minutes[-1] + 1),
        }
        for symbol, event, kind, start, minutes in events
        for minute in minutes
    ]
    return TRUTH_LABELS.conform(pl.DataFrame(rows))


@pytest.fixture(scope="module")
def by_hand() -> Evaluation:
    """Two symbols of ten minutes. The detector flags AAA 2, 3 (true), 7 (false) and BBB 5 (false)."""
    calm = [0.1] * 10
    one, two = calm.copy(), calm.copy()
    one[2], one[3], one[7] = 0.8, 0.9, 0.6
    two[5] = 0.7
    rule_one, rule_two = calm.copy(), calm.copy()
    rule_one[9], rule_two[8], rule_two[1], rule_two[2] = 5.0, 4.0, 3.5, 3.2
    events = truth(
        ("AAA", "1", "price_jump", 1.5, [1, 2, 3]),
        ("BBB", "1", "volume_spike", 8.0, [8]),
        ("CCC", "1", "volume_spike", 8.0, [8]),
    )
    frame = scored({"AAA": one, "BBB": two}, {"AAA": rule_one, "BBB": rule_two})
    return evaluate(frame, events, threshold=0.6, truth="injected")


def test_counts(by_hand: Evaluation) -> None:
    metrics = by_hand.metrics
    assert metrics["minutes"] == 20
    assert metrics["anomalous_minutes"] == 4
    assert metrics["events"] == 2, "an anomaly of a symbol that was not judged does not count"
    assert metrics["alert_minutes"] == metrics["rule_alert_minutes"] == 4


def test_alerts(by_hand: Evaluation) -> None:
    metrics = by_hand.metrics
    assert metrics["precision"] == 0.5
    assert metrics["recall"] == 0.5
    assert metrics["event_recall"] == 0.5
    assert metrics["false_alerts_per_symbol_day"] == 1.0, "two runs that meet nothing, two symbols, one day"
    assert metrics["delay_minutes"] == 1.5, "from 1.5 to the end of minute 2"
    assert metrics["rule_precision"] == 0.25
    assert metrics["rule_event_recall"] == 0.5
    assert metrics["rule_false_alerts_per_symbol_day"] == 1.0, "minutes 1 and 2 of BBB are one run"


def test_by_kind(by_hand: Evaluation) -> None:
    EVALUATION.check(by_hand.by_kind)
    table = by_hand.by_kind.select(pl.col("kind").cast(pl.String), "events", "found", "rule_found").rows()
    assert table == [("all", 2, 1, 1), ("price_jump", 1, 1, 0), ("volume_spike", 1, 0, 1)]
    assert set(by_hand.by_kind["truth"].cast(pl.String)) == {"injected"}


def test_against_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    names = {f"S{i}": 200 for i in range(5)}
    scores = {name: rng.random(count).tolist() for name, count in names.items()}
    rule = {name: rng.exponential(1, count).tolist() for name, count in names.items()}
    events = truth(*((f"S{i}", str(j), "price_jump", j, [j, j + 1]) for i in range(5) for j in range(3, 190, 23)))
    frame = scored(scores, rule)
    result = evaluate(frame, events, threshold=0.8, truth="source")
    minutes = result.minutes
    y, s, r = (minutes[name].to_numpy() for name in ("is_anomaly", "score", "rule_score"))
    assert y.sum() == events.height
    metrics = result.metrics
    assert metrics["average_precision"] == average_precision_score(y, s)
    assert metrics["roc_auc"] == roc_auc_score(y, s)
    assert metrics["rule_average_precision"] == average_precision_score(y, r)
    assert metrics["precision"] == pytest.approx(precision_score(y, s >= 0.8))
    assert metrics["recall"] == pytest.approx(recall_score(y, s >= 0.8))
    assert metrics["rule_at_3x_precision"] == pytest.approx(precision_score(y, r > 3))
    assert metrics["rule_alert_minutes"] == (s >= 0.8).sum()
    shuffled = evaluate(frame.sample(fraction=1, shuffle=True, seed=1), events, threshold=0.8, truth="source")
    assert shuffled.metrics == metrics, "the order of rows does not matter"
    assert evaluate(frame, events, threshold=0.8, truth="source", seed=0).metrics == metrics


def test_the_interval_holds_the_gain_of_a_perfect_detector_and_of_none() -> None:
    rng = np.random.default_rng(0)
    y = np.tile(np.arange(60) % 20 == 0, 40)
    noise = rng.random(y.size)
    minutes = pl.DataFrame(
        {
            "symbol": np.repeat([f"S{i}" for i in range(40)], 60),
            "event_time": [at(i % 60) for i in range(y.size)],
            "is_anomaly": y,
            "score": y.astype(float),
            "rule_score": noise,
        }
    )
    low, high = gain_interval(minutes, 0)
    assert 0.8 < low < high < 1
    assert gain_interval(minutes, 0) == (low, high)
    even = gain_interval(minutes.with_columns(score="rule_score"), 0)
    assert even == (0, 0)


def test_the_interval_is_that_of_resampled_hours() -> None:
    """The same draws of whole hours of a symbol, with scikit-learn's weighted average precision."""
    rng = np.random.default_rng(4)
    symbols, minute = np.repeat(["A", "B"], 240), np.tile(np.arange(240), 2)
    frame = pl.DataFrame(
        {
            "symbol": symbols,
            "event_time": [at(int(m)) for m in minute],
            "is_anomaly": rng.random(480) < 0.1,
            "score": rng.random(480),
            "rule_score": np.round(rng.random(480), 1),
        }
    )
    truth_, score, rule = (frame[name].to_numpy() for name in ("is_anomaly", "score", "rule_score"))
    hour = (symbols == "B") * 4 + minute // 60
    draws, gains = np.random.default_rng(9), []
    for _ in range(50):
        weights = draws.multinomial(8, np.full(8, 1 / 8))[hour]
        one, two = (average_precision_score(truth_, values, sample_weight=weights) for values in (score, rule))
        gains.append(one - two)
    assert gain_interval(frame, 9, resamples=50) == pytest.approx(tuple(np.quantile(gains, [0.025, 0.975])))
    assert np.isnan(gain_interval(frame.with_columns(is_anomaly=False), 0)).all()


def test_runs_of_minutes_are_one_alert() -> None:
    """Flagged: 0 and 2 (one ordinary minute between: one run), 5, 6 and the next day's 3; the truth is at 2 and 6."""
    flags = [0.9, 0.1, 0.9, 0.1, 0.1, 0.9, 0.9, 0.1]
    frame = scored({"AAA": flags, "BBB": [0.9] + [0.1] * 7}, {"AAA": [3.0, 3.01] + [0.0] * 6, "BBB": [0.0] * 8})
    tomorrow = scored({"AAA": [0.1] * 3 + [0.9]}, {"AAA": [0.0] * 4}).with_columns(
        pl.col("event_time", "known_time").dt.offset_by("1d")
    )
    events = truth(("AAA", "1", "price_jump", 2, [2]), ("AAA", "2", "price_jump", 5.5, [5, 6]))
    metrics = evaluate(pl.concat([frame, tomorrow]), events, threshold=0.9, truth="source").metrics
    assert metrics["alert_precision"] == 2 / 4, "two of AAA's runs meet an anomaly; its third and BBB's do not"
    assert metrics["false_alerts_per_symbol_day"] == pytest.approx(2 / 3)
    assert metrics["delay_minutes"] == pytest.approx((1 + 0.5) / 2)
    assert metrics["event_recall"] == 1
    assert metrics["rule_at_3x_alert_minutes"] == 1, "a ratio of exactly 3 is no alert"
    assert metrics["average_precision_gain"] == pytest.approx(
        metrics["average_precision"] - metrics["rule_average_precision"]
    )


def test_recalls_of_kinds_are_shares(by_hand: Evaluation) -> None:
    assert by_hand.by_kind.select("recall", "rule_recall").rows() == [(0.5, 0.5), (1, 0), (0, 1)]


def test_weighted_average_precision_against_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    y = rng.random(400) < 0.1
    score = np.round(rng.random(400), 1)
    for _ in range(20):
        weights = rng.poisson(1, 400)
        expected = average_precision_score(y, score, sample_weight=weights)
        assert _Ranking.of(y, score).average_precision(weights) == pytest.approx(expected)


def test_top_prefers_the_earlier_of_equals() -> None:
    assert top(np.array([1.0, 3.0, 3.0, 2.0]), 1).tolist() == [False, True, False, False]
    assert not top(np.array([1.0]), 0).any()


def test_truth_without_anomalies_is_refused() -> None:
    frame = scored({"AAA": [0.1, 0.2]}, {"AAA": [0.0, 0.0]})
    with pytest.raises(ValueError, match="0 of 2 judged minutes are anomalous"):
        evaluate(frame, TRUTH_LABELS.empty(), threshold=0.5, truth="source")


def test_a_silent_detector_is_judged_too() -> None:
    frame = scored({"AAA": [0.1, 0.2, 0.3]}, {"AAA": [0.0, 5.0, 0.0]})
    metrics = evaluate(frame, truth(("AAA", "1", "price_jump", 1, [1])), threshold=0.9, truth="source").metrics
    assert (metrics["alert_minutes"], metrics["precision"], metrics["event_recall"]) == (0, 0, 0)
    assert np.isnan(metrics["delay_minutes"])
