"""The classifier: what it finds on days it has not seen, what it says and leaves unsaid, saved state, bad input."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from models.anomaly_classifier.detector import AnomalyClassifierDetector
from models.anomaly_classifier.examples import by_people, by_votes, marked, ordinary
from models.anomaly_classifier.learning import PRIOR, probability
from models.base import DetectorError
from models.onnx_export import export_onnx
from models.onnx_files import session
from tapewatch.features.microstructure import microstructure
from tapewatch.labels.injection.strengths import Nature, inject_at_strengths
from tapewatch.labels.kinds import NORMAL
from tapewatch.market.instruments import Market
from tapewatch.market.tables.labels import WEAK_LABELS
from tests.models.anomaly_classifier.conftest import SMALL
from tests.support.synthetic_days import days, synthetic_day


@pytest.fixture(scope="module")
def unseen_anomalies() -> pl.DataFrame:
    """The anomalous minutes of a day that did not train, in the realisation that did not train."""
    day = synthetic_day(Market.STOCKS, days(Market.STOCKS)[3])
    tape = (day.trades, day.quotes, day.session)
    made = inject_at_strengths(*tape, Nature.of([tape]), seed=23, per_symbol=8, strengths=(5.0,), realisations=(2,))
    return marked(microstructure(made.trades, made.quotes, day.session).filter("is_regular"), made.events)


@pytest.mark.long
def test_unseen_anomalies_are_more_probable_than_the_rest(
    classifier: AnomalyClassifierDetector, unseen_rows: pl.DataFrame, unseen_anomalies: pl.DataFrame
) -> None:
    found, rest = classifier.score(unseen_anomalies), classifier.score(unseen_rows)
    assert np.median(found) > 5 * np.median(rest)
    assert (found >= classifier.threshold).mean() > 10 * (rest >= classifier.threshold).mean()


def test_probabilities_are_calibrated_on_held_out_days(
    classifier: AnomalyClassifierDetector, training_rows: pl.DataFrame
) -> None:
    """Ordinary minutes, nearly all of the prior's weight, have on average a probability near the prior."""
    mean = np.nanmean(classifier.held_out_scores(training_rows))
    assert PRIOR / 5 < mean < 5 * PRIOR


def test_it_names_kinds_and_abstains_between_the_limits(
    classifier: AnomalyClassifierDetector, unseen_anomalies: pl.DataFrame
) -> None:
    verdicts = classifier.verdicts(unseen_anomalies)
    chances = verdicts["probability"].to_numpy()
    is_band = (chances > classifier.ordinary_below) & (chances < classifier.threshold)
    assert (verdicts["is_anomaly"].is_null().to_numpy() == is_band).all()
    assert (verdicts["is_anomaly"].fill_null(value=False).to_numpy() == (chances >= classifier.threshold)).all()
    named = verdicts.with_columns(truth=unseen_anomalies["kind"]).drop_nulls("kind")
    assert named["is_anomaly"].all()
    assert (named["kind"] == named["truth"]).mean() > 0.5


def test_an_unlearnt_market_gets_no_verdict(classifier: AnomalyClassifierDetector, unseen_rows: pl.DataFrame) -> None:
    crypto = unseen_rows.head(20).with_columns(symbol=pl.lit("X:BTC-USD"))
    assert (classifier.score(crypto) == 0.0).all()
    assert classifier.verdicts(crypto)["is_anomaly"].is_null().all()


def test_attributions_add_up_to_the_log_odds(
    classifier: AnomalyClassifierDetector, unseen_anomalies: pl.DataFrame
) -> None:
    rows = unseen_anomalies.unique(["symbol", "event_time"], maintain_order=True).head(60)
    explained, base = classifier.explain(rows), classifier.explain_inputs(rows).base
    sums = explained.group_by("symbol", "event_time").agg(pl.col("shap_value").sum(), pl.col("score").first())
    assert sums.height == rows.height
    assert probability(sums["shap_value"].to_numpy() + base) == pytest.approx(sums["score"].to_numpy(), abs=1e-9)


def test_saved_and_loaded_it_scores_the_same(
    classifier: AnomalyClassifierDetector, training_rows: pl.DataFrame, unseen_rows: pl.DataFrame, tmp_path: Path
) -> None:
    classifier.save(tmp_path)
    loaded = AnomalyClassifierDetector.load(tmp_path)
    assert (loaded.score(unseen_rows) == classifier.score(unseen_rows)).all()
    assert loaded.verdicts(unseen_rows).equals(classifier.verdicts(unseen_rows))
    assert np.array_equal(
        loaded.held_out_scores(training_rows), classifier.held_out_scores(training_rows), equal_nan=True
    )
    assert loaded.explain(unseen_rows.head(9)).equals(classifier.explain(unseen_rows.head(9)))
    assert (loaded.growth, loaded.seed) == (SMALL, 3)
    (tmp_path / "trees.npz").write_bytes(b"other")
    with pytest.raises(DetectorError, match=r"trees\.npz"):
        AnomalyClassifierDetector.load(tmp_path)


@pytest.mark.long
def test_the_same_seed_gives_the_same_classifier(
    classifier: AnomalyClassifierDetector,
    training_rows: pl.DataFrame,
    labelled: pl.DataFrame,
    unseen_rows: pl.DataFrame,
) -> None:
    again = AnomalyClassifierDetector(SMALL, seed=3).fit(training_rows, labelled=labelled)
    assert (again.score(unseen_rows) == classifier.score(unseen_rows)).all()


def test_the_onnx_graph_gives_the_probabilities(
    classifier: AnomalyClassifierDetector, unseen_rows: pl.DataFrame, tmp_path: Path
) -> None:
    off = export_onnx(classifier, unseen_rows, tmp_path)
    assert off["anomaly_classifier.onnx"] <= 1e-5
    graph = session((tmp_path / "anomaly_classifier.onnx").read_bytes())
    (found,) = graph.run(None, {"surprises": classifier.inputs(unseen_rows).astype(np.float32)})
    assert found[:, 0] == pytest.approx(classifier.score(unseen_rows), abs=1e-5)


@pytest.mark.long
def test_what_cannot_teach_is_refused(training_rows: pl.DataFrame, labelled: pl.DataFrame) -> None:
    def fit(rows: pl.DataFrame, examples: pl.DataFrame | None) -> None:
        AnomalyClassifierDetector(SMALL).fit(rows, labelled=examples)

    one_day = labelled.filter(pl.col("event_time").dt.date() == days(Market.STOCKS)[0])
    names = AnomalyClassifierDetector(SMALL).fit(training_rows, labelled=labelled).features
    blank = [pl.lit(None).alias(name) for name in names]
    with pytest.raises(DetectorError, match="and 0: train on more days"):
        fit(training_rows, None)
    with pytest.raises(DetectorError, match="30 anomalous minutes"):
        fit(training_rows, labelled.filter(pl.col("kind") == NORMAL))
    with pytest.raises(DetectorError, match="200 ordinary"):
        fit(training_rows.head(100), labelled)
    with pytest.raises(DetectorError, match="each part needs both kinds"):
        fit(training_rows, one_day)
    with pytest.raises(DetectorError, match="has a value in the training rows"):
        fit(training_rows.with_columns(blank), labelled)
    with pytest.raises(DetectorError, match="call fit or load first"):
        AnomalyClassifierDetector().score(training_rows)


@pytest.mark.long
def test_a_constant_feature_and_a_vanished_symbol_do_no_harm(
    training_rows: pl.DataFrame, labelled: pl.DataFrame, unseen_rows: pl.DataFrame
) -> None:
    flat = pl.lit(1.0).alias("volume_ratio")
    fitted = AnomalyClassifierDetector(SMALL).fit(
        training_rows.with_columns(flat), labelled=labelled.with_columns(flat)
    )
    few = unseen_rows.filter(pl.col("symbol").cast(pl.String) != "AAPL")
    stranger = few.head(50).with_columns(symbol=pl.lit("NEWCO"))
    assert np.isfinite(fitted.score(few)).all()
    assert np.isfinite(fitted.score(stranger)).all()
    assert fitted.score(few.clear()).size == 0


def test_declared_minutes_and_uncertain_ones_weigh_less(training_rows: pl.DataFrame) -> None:
    rows = training_rows.head(4).with_columns(
        is_anomaly=pl.Series([True, False, None, False]), barrier_label=pl.Series([0, 0, 1, None])
    )
    assert ordinary(rows)["weight"].to_list() == [1.0, 0.5, 1.0]


def test_people_and_votes_label_minutes(training_rows: pl.DataFrame) -> None:
    rows = training_rows.filter(pl.col("symbol").cast(pl.String) == "AAPL").head(6)
    start = rows["event_time"]
    said = pl.DataFrame(
        {
            "symbol": ["AAPL", "AAPL"],
            "kind": ["price_jump", NORMAL],
            "start_time": [start[1], start[4]],
            "end_time": [start[3], start[5]],
            "confidence": [0.5, 1.0],
            "refined_start": [None, None],
            "refined_end": [start[2], None],
        },
        schema_overrides={"refined_start": start.dtype, "refined_end": start.dtype},
    )
    by_hand = by_people(rows, said).sort("event_time")
    assert by_hand.select("event_time", "kind", "weight").rows() == [
        (start[1], "price_jump", 1.0),
        (start[4], NORMAL, 2.0),
    ]
    weak = WEAK_LABELS.conform(
        rows.head(3)
        .select("symbol", "event_time", "known_time")
        .with_columns(probability=pl.Series([0.9, 0.5, 0.0]), label=pl.Series([1, 1, 0]), votes=pl.lit("a"))
    )
    votes = by_votes(rows, weak)
    assert votes["kind"].to_list() == ["unusual", NORMAL]
    assert votes["weight"].to_list() == pytest.approx([0.24, 0.3])
