"""Verdicts hold the detector's own numbers, however the rows were sent."""

import datetime as dt
import gc
import json
import weakref
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from models.events import merge_anomalies
from models.isolation_forest.detector import IsolationForestDetector
from serving.loader import Scorer
from tapewatch.market.tables.tape import ATTRIBUTIONS
from tests.support.detectors import extreme, fitted, ordinary_rows


@pytest.fixture(scope="module")
def detector() -> IsolationForestDetector:
    return fitted()


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory, detector: IsolationForestDetector) -> Scorer:
    folder = tmp_path_factory.mktemp("model")
    detector.save(folder)
    return Scorer.load(folder, name="isolation_forest", version="3")


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    ordinary = ordinary_rows(seed=5)
    return pl.concat([ordinary.sample(20, seed=2, shuffle=True), extreme(ordinary.slice(400, 3)), ordinary.slice(7, 1)])


def test_scores_are_the_detectors_own_in_the_order_of_the_rows(
    scorer: Scorer, detector: IsolationForestDetector, rows: pl.DataFrame
) -> None:
    answer = scorer.answer(rows)
    assert np.allclose([v.score for v in answer.results], detector.score(rows), rtol=0, atol=1e-6)
    assert [v.symbol for v in answer.results] == rows["symbol"].cast(pl.String).to_list()
    assert [v.event_time for v in answer.results] == rows["event_time"].to_list()
    assert {v.threshold for v in answer.results} == {detector.threshold}
    assert (answer.model.name, answer.model.version) == ("isolation_forest", "3")


def test_the_extreme_rows_are_anomalies_for_their_own_reasons(scorer: Scorer, rows: pl.DataFrame) -> None:
    verdicts = scorer.answer(rows, reasons=True).results
    assert [v.is_anomaly for v in verdicts[20:23]] == [True] * 3
    for verdict in verdicts[20:23]:
        assert verdict.reasons[0].feature in ("volume_ratio", "return_bps", "range_bps")
        values = [reason.shap_value for reason in verdict.reasons]
        assert values == sorted(values, reverse=True)


def test_a_row_has_the_same_reasons_alone_in_a_batch_and_beside_its_double(scorer: Scorer, rows: pl.DataFrame) -> None:
    one = rows.slice(20, 1)
    together = scorer.answer(rows, reasons=True).results[20]
    alone = scorer.answer(one, reasons=True).results[0]
    double = scorer.answer(pl.concat([one, rows.slice(0, 1), one]), reasons=True).results
    assert alone.reasons == together.reasons == double[0].reasons == double[2].reasons


def test_reasons_equal_those_of_batch_detection(
    scorer: Scorer, detector: IsolationForestDetector, rows: pl.DataFrame
) -> None:
    one = rows.slice(21, 1)
    event = merge_anomalies(
        detector.scored(one), detector.explain(one), one, threshold=detector.threshold, model="isolation_forest/3"
    )
    kept = json.loads(event["reasons"].item())
    served = [
        {"feature": r.feature, "value": r.value, "shap_value": r.shap_value}
        for r in scorer.answer(one, reasons=True).results[0].reasons
    ]
    assert served == kept


def test_a_batch_anomaly_has_the_level_that_the_service_answers(
    scorer: Scorer, detector: IsolationForestDetector, rows: pl.DataFrame
) -> None:
    scored, none = detector.scored(rows), ATTRIBUTIONS.empty()
    events = merge_anomalies(
        scored, none, rows, threshold=detector.threshold, model="m", hours_between=detector.hours_between
    )
    answered = scorer.answer(rows).results
    assert events.height
    for event in events.iter_rows(named=True):
        own = [
            verdict
            for verdict in answered
            if verdict.symbol == event["symbol"] and event["start_time"] <= verdict.event_time < event["end_time"]
        ]
        highest = max(own, key=lambda verdict: verdict.score)
        assert event["score"] == pytest.approx(highest.score, abs=1e-6)
        assert event["hours"] == pytest.approx(highest.one_in_hours, rel=1e-4)
        assert event["hours"] > 0.5


def test_a_missing_session_minute_is_computed(scorer: Scorer, rows: pl.DataFrame) -> None:
    without = rows.with_columns(session_minute=pl.lit(None, dtype=pl.Int32))
    expected = [v.score for v in scorer.answer(rows).results]
    assert np.allclose([v.score for v in scorer.answer(without).results], expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("symbol", "time", "why"),
    [
        ("AAPL", dt.datetime(2024, 6, 3, 13, 29, tzinfo=dt.UTC), "outside the regular session of stocks"),
        ("AAPL", dt.datetime(2024, 6, 3, 20, 0, tzinfo=dt.UTC), "outside the regular session of stocks"),
        ("AAPL", dt.datetime(2024, 7, 3, 17, 0, tzinfo=dt.UTC), "outside the regular session of stocks"),
        ("AAPL", dt.datetime(2024, 6, 2, 15, tzinfo=dt.UTC), "stocks does not trade"),
        ("AAPL", dt.datetime(2200, 6, 2, 15, tzinfo=dt.UTC), "no calendar of stocks"),
        ("X:BTC-USD", dt.datetime(2024, 6, 3, 15, tzinfo=dt.UTC), "trained on stocks, not on crypto"),
    ],
)
def test_a_row_that_the_model_was_not_made_for_is_not_scored(
    scorer: Scorer, rows: pl.DataFrame, symbol: str, time: dt.datetime, why: str
) -> None:
    ordinary = rows.head(1).with_columns(pl.col("symbol").cast(pl.String))
    # Whatever minute of the session the row claims.
    odd = ordinary.with_columns(symbol=pl.lit(symbol), event_time=pl.lit(time).dt.cast_time_unit("ns"))
    first, verdict, last = scorer.answer(pl.concat([ordinary, odd, ordinary])).results
    assert (verdict.symbol, verdict.event_time) == (symbol, time)
    assert (verdict.score, verdict.is_anomaly, verdict.reasons) == (None, None, [])
    assert why in verdict.not_scored
    assert first.score == last.score == scorer.answer(rows.head(1)).results[0].score


def test_the_first_and_the_last_minute_of_the_session_are_scored(scorer: Scorer, rows: pl.DataFrame) -> None:
    for time in (dt.datetime(2024, 6, 3, 13, 30, tzinfo=dt.UTC), dt.datetime(2024, 6, 3, 19, 59, tzinfo=dt.UTC)):
        row = rows.head(1).with_columns(event_time=pl.lit(time).dt.cast_time_unit("ns"))
        assert scorer.answer(row).results[0].score is not None


def test_reasons_are_left_out_unless_they_are_asked_for(scorer: Scorer, rows: pl.DataFrame) -> None:
    assert all(not v.reasons for v in scorer.answer(rows).results)


def test_quotes_may_be_missing(scorer: Scorer, rows: pl.DataFrame) -> None:
    quotes = [name for name in scorer.features if "spread" in name or "quote" in name]
    blind = rows.with_columns(pl.lit(None, dtype=pl.Float64).alias(name) for name in quotes)
    assert all(np.isfinite(v.score) for v in scorer.answer(blind).results)


def test_a_replaced_scorer_gives_its_memory_back_at_once(
    tmp_path: Path, detector: IsolationForestDetector, rows: pl.DataFrame
) -> None:
    detector.save(tmp_path)
    replaced = Scorer.load(tmp_path, name="isolation_forest", version="3")
    replaced.answer(rows, reasons=True)
    kept = weakref.ref(replaced.detector)
    # A service collects garbage rarely.
    gc.disable()
    try:
        del replaced
        assert kept() is None
    finally:
        gc.enable()


def test_warming_up_needs_no_row(scorer: Scorer) -> None:
    scorer.warm_up()
