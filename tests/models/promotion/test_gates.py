"""Each gate measures one thing, and says by how much a candidate fails it."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from models.promotion.comparison import Comparison
from models.promotion.gates import GATES, Case, Limits, calibration, judge, kinds, recall, rival
from tests.support.detectors import ordinary_rows
from tests.support.ensembles import ensemble
from tests.support.scans import tape


def comparison(found: int, champion: int, *, low: float, high: float) -> Comparison:
    counts = {"events": [40], "found": [found], "champion_found": [champion]}
    by_day = pl.DataFrame({"day": ["2024-06-04|stocks"], **counts})
    by_kind = pl.DataFrame({"kind": ["price_jump"], **counts})
    return Comparison(by_day, by_kind, 0.5, 3, 3, (found - champion) / 40, low, high)


@pytest.fixture(scope="module")
def case() -> Case:
    """The ensemble on an ordinary day that it was not fitted on."""
    rows, found = tape(3).regular, ensemble(hours=6.5)
    return Case(
        found, rows, found.score(rows), np.zeros(rows.height, np.bool_), None, "there was no champion to compare it with",
        ["2024-03-05|stocks"], ["2024-03-07|stocks"], 2**20, {"onnx_difference/ensemble.onnx": 2e-7},
    )  # fmt: skip


@pytest.mark.long
def test_a_candidate_passes_every_gate_that_has_something_to_measure(case: Case) -> None:
    # The day's labelled anomalies are no ordinary tape.
    truth = tape(3).truth.select("symbol", "event_time").with_columns(pl.col("symbol").cast(pl.String), is_anomaly=True)
    keys = case.rows.select(pl.col("symbol").cast(pl.String), "event_time")
    known = keys.join(truth.unique(), on=["symbol", "event_time"], how="left", maintain_order="left")
    judgement = judge(replace(case, is_anomaly=known["is_anomaly"].fill_null(value=False).to_numpy()))
    assert [gate.name for gate in judgement.gates] == [
        "recall", "look_ahead", "calibration", "size", "latency", "onnx", "losing",
    ]  # fmt: skip
    assert judgement.refusals == (), judgement.words
    assert judgement.words == "there was no champion to compare it with"
    assert len(list(GATES)) == len({gate.__name__ for gate in GATES})


def test_a_refusal_names_the_gate_and_by_how_much(case: Case) -> None:
    worse = comparison(20, 30, low=-0.4, high=-0.1)
    refused = judge(
        replace(
            case, comparison=worse, without="", rival=worse, train=case.validation, size=100 * 2**20,
            onnx={"one": 1e-3}, limits=Limits(latency_s=0.0),
        )
    )  # fmt: skip
    assert [gate.name for gate in refused.refusals] == [
        "recall", "rival", "kinds", "look_ahead", "size", "latency", "onnx",
    ]  # fmt: skip
    words = {gate.name: gate.words for gate in refused.refusals}
    assert words["recall"] == (
        "it finds 50.0% of the anomalies and the champion 75.0% at 3 false alerts; the gain is -25.0%, with 95 % certainty over "
        "-40.0%, and must be over +0.0%"
    )
    assert "price jump: 20 of 40 found, by the champion 30" in words["kinds"]
    assert words["size"] == "its files take 100.0 of 64 MiB"
    assert words["onnx"] == "its ONNX graph differs by 1.0e-03 at most; 1e-05 is allowed"
    assert "refused by the gate rival: it finds 50.0% of the anomalies and its rival 75.0%" in refused.words


def test_a_champion_must_be_beaten_and_a_rival_only_not_be_proven_better(case: Case) -> None:
    level = replace(case, comparison=comparison(30, 30, low=-0.1, high=0.1), without="")
    found, beside = recall(level), rival(replace(level, rival=level.comparison))
    assert (found.has_passed, found.measured) == (False, -0.1)
    assert beside is not None
    assert (beside.has_passed, beside.measured) == (True, 0.1)
    margin = kinds(level)
    assert margin is not None
    assert margin.has_passed
    nothing = recall(replace(case, without=""))
    assert not nothing.has_passed
    assert "hold no anomaly" in nothing.words


def test_the_rate_of_alerts_is_that_of_peaks_and_few_prove_little(case: Case) -> None:
    # Two symbols of 390 minutes: 13 hours, in which two alerts are set.
    rows = ordinary_rows()
    quiet, none = np.zeros(rows.height), np.zeros(rows.height, np.bool_)

    def measured(*minutes: int) -> tuple[bool, str]:
        score = quiet.copy()
        score[list(minutes)] = 0.9
        gate = calibration(replace(case, rows=rows, score=score, is_anomaly=none))
        return gate.has_passed, gate.words

    # Flagged minutes within ten of each other are one alert.
    assert measured(100, 101, 105, 114) == (
        True,
        "1 alerts in 13 ordinary hours of a symbol are 0.50 times the one in 6.5 hours that is set, with 95 % certainty over 0.03 "
        "times; at most 3 times are allowed",
    )
    assert measured(*range(0, 780, 78))[0]
    is_fine, words = measured(*range(0, 780, 40))
    assert not is_fine
    # Of 20 alerts the exact lower bound of the rate is 13.25 (Garwood's table), of two that are set 6.63 times.
    assert "20 alerts in 13 ordinary hours of a symbol are 10.00 times" in words
    assert "over 6.63 times" in words
    # Minutes of an anomaly, and the ten after, are not ordinary.
    anomalous = none.copy()
    anomalous[100] = True
    score = quiet.copy()
    score[[100, 105]] = 0.9
    gate = calibration(replace(case, rows=rows, score=score, is_anomaly=anomalous))
    assert gate.measured == 0.0
