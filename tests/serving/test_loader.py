"""Verdicts hold the detector's own numbers, however the rows were sent."""

import datetime as dt
import json

import numpy as np
import polars as pl
import pytest

from models.events import merge_anomalies
from serving.loader import Scorer
from serving.schemas import RequestError
from tests.support.detectors import extreme, fitted, ordinary_rows


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    folder = tmp_path_factory.mktemp("model")
    fitted().save(folder)
    return Scorer.load(folder, name="isolation_forest", version="3")


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    ordinary = ordinary_rows(seed=5)
    return pl.concat([ordinary.sample(20, seed=2, shuffle=True), extreme(ordinary.slice(400, 3)), ordinary.slice(7, 1)])


def test_scores_are_the_detectors_own_in_the_order_of_the_rows(scorer: Scorer, rows: pl.DataFrame) -> None:
    answer = scorer.answer(rows)
    assert [v.score for v in answer.results] == scorer.detector.score(rows).tolist()
    assert [v.symbol for v in answer.results] == rows["symbol"].cast(pl.String).to_list()
    assert [v.event_time for v in answer.results] == rows["event_time"].to_list()
    assert {v.threshold for v in answer.results} == {scorer.detector.threshold}
    assert (answer.model.name, answer.model.version) == ("isolation_forest", "3")


def test_the_extreme_rows_are_anomalies_for_their_own_reasons(scorer: Scorer, rows: pl.DataFrame) -> None:
    verdicts = scorer.answer(rows).results
    assert [v.is_anomaly for v in verdicts[20:23]] == [True] * 3
    for verdict in verdicts[20:23]:
        assert verdict.reasons[0].feature in ("volume_ratio", "return_bps", "range_bps")
        values = [reason.shap_value for reason in verdict.reasons]
        assert values == sorted(values, reverse=True)


def test_a_row_has_the_same_reasons_alone_in_a_batch_and_beside_its_double(scorer: Scorer, rows: pl.DataFrame) -> None:
    one = rows.slice(20, 1)
    together = scorer.answer(rows).results[20]
    alone = scorer.answer(one).results[0]
    double = scorer.answer(pl.concat([one, rows.slice(0, 1), one])).results
    assert alone.reasons == together.reasons == double[0].reasons == double[2].reasons


def test_reasons_equal_those_of_batch_detection(scorer: Scorer, rows: pl.DataFrame) -> None:
    one = rows.slice(21, 1)
    detector = scorer.detector
    event = merge_anomalies(
        detector.scored(one), detector.explain(one), one, threshold=detector.threshold, model="isolation_forest/3"
    )
    kept = json.loads(event["reasons"].item())
    served = [
        {"feature": r.feature, "value": r.value, "shap_value": r.shap_value}
        for r in scorer.answer(one).results[0].reasons
    ]
    assert served == kept


def test_a_missing_session_minute_is_computed(scorer: Scorer, rows: pl.DataFrame) -> None:
    without = rows.with_columns(session_minute=pl.lit(None, dtype=pl.Int32))
    expected = [v.score for v in scorer.answer(rows).results]
    assert np.allclose([v.score for v in scorer.answer(without).results], expected, rtol=0, atol=0)


def test_a_minute_in_which_the_market_is_closed_is_refused(scorer: Scorer, rows: pl.DataFrame) -> None:
    sunday = rows.head(1).with_columns(
        event_time=pl.lit(dt.datetime(2024, 6, 2, 15, tzinfo=dt.UTC)).dt.cast_time_unit("ns"),
        session_minute=pl.lit(None, dtype=pl.Int32),
    )
    with pytest.raises(RequestError, match="does not trade"):
        scorer.answer(sunday)
    far = sunday.with_columns(event_time=pl.lit(dt.datetime(2200, 6, 2, 15, tzinfo=dt.UTC)).dt.cast_time_unit("ns"))
    with pytest.raises(RequestError, match="calendar"):
        scorer.answer(far)


def test_quotes_may_be_missing(scorer: Scorer, rows: pl.DataFrame) -> None:
    quotes = [name for name in scorer.features if "spread" in name or "quote" in name]
    blind = rows.with_columns(pl.lit(None, dtype=pl.Float64).alias(name) for name in quotes)
    assert all(np.isfinite(v.score) for v in scorer.answer(blind).results)


def test_warming_up_needs_no_row(scorer: Scorer) -> None:
    scorer.warm_up()
