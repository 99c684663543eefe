"""The training set: regular rows, labels at the right minute, nothing from the future."""

import datetime as dt

import polars as pl
import pytest

from tapewatch.bars.time_bars import minute_bars
from tapewatch.labels.barriers.barriers import triple_barrier
from tapewatch.labels.training.training_set import build_training_set
from tapewatch.market.instruments import Market
from tapewatch.market.tables.labels import HUMAN_LABELS
from tapewatch.market.tables.tape import MICROSTRUCTURE, TRAINING_SET
from tests.support.synthetic_days import days, synthetic_day

DAY = synthetic_day(Market.STOCKS, days(Market.STOCKS)[0])
KEY = ["symbol", "event_time"]


@pytest.fixture(scope="module")
def barriers() -> pl.DataFrame:
    return triple_barrier(minute_bars(DAY.trades, DAY.session), session=DAY.session)


def test_regular_minutes_with_their_features_as_they_are(barriers: pl.DataFrame) -> None:
    rows = build_training_set(DAY.features, barriers, DAY.truth)
    TRAINING_SET.check(rows)
    assert TRAINING_SET.duplicates(rows) == 0
    assert rows.height == 5 * 390
    assert rows.select(MICROSTRUCTURE.schema.names()).equals(DAY.regular)


def test_a_barrier_label_belongs_to_the_minute_that_ends_at_its_event(barriers: pl.DataFrame) -> None:
    rows = build_training_set(DAY.features, barriers, None).filter(pl.col("barrier_label").is_not_null())
    assert rows.height == barriers.height > 50
    expected = barriers.select("symbol", pl.col("event_time") - pl.duration(minutes=1), "label", "known_time")
    found = rows.select(*KEY, label="barrier_label", known_time="barrier_known_time")
    assert found.equals(expected.select(found.columns))
    assert (rows["barrier_known_time"] > rows["known_time"]).all(), "no label is known with its features"


def test_truth_or_none(barriers: pl.DataFrame) -> None:
    with_truth = build_training_set(DAY.features, barriers, DAY.truth)
    assert with_truth["is_anomaly"].null_count() == 0
    true_minutes = DAY.truth.select(KEY).unique().join(DAY.regular, on=KEY, how="semi")
    assert with_truth["is_anomaly"].sum() == true_minutes.height > 0
    without_truth = build_training_set(DAY.features, barriers, None)
    assert without_truth["is_anomaly"].null_count() == without_truth.height
    calm = build_training_set(DAY.features, barriers, DAY.truth.clear())
    assert calm["is_anomaly"].sum() == 0
    assert calm["is_anomaly"].null_count() == 0


def test_overlapping_anomalies_give_the_kind_of_the_first(barriers: pl.DataFrame) -> None:
    one = DAY.truth.join(DAY.regular, on=KEY, how="semi").head(1)
    earlier = one.with_columns(
        pl.col("start_time").dt.offset_by("-1h"),
        event_id=pl.lit("zzz"),
        kind=pl.lit("feed_outage").cast(pl.Categorical()),
    )
    rows = build_training_set(DAY.features, barriers, pl.concat([one, earlier]))
    assert rows.filter("is_anomaly")["anomaly_kind"].to_list() == ["feed_outage"]


def test_what_people_say_of_a_minute_by_the_share_that_they_cover(barriers: pl.DataFrame) -> None:
    minute = DAY.regular.filter(pl.col("symbol") == DAY.regular["symbol"][0]).slice(30, 1)
    at, symbol = minute["event_time"][0], str(minute["symbol"][0])
    label = {"symbol": symbol, "author": "ann", "confidence": 0.9, "is_anomaly": True, "note": None}
    labels = [
        # Three minutes, which the tape tightens to a minute and a half.
        label | {"label_id": "a", "start_time": at - dt.timedelta(minutes=1), "end_time": at + dt.timedelta(minutes=2),
                 "refined_start": at, "refined_end": at + dt.timedelta(seconds=90), "kind": "volume_spike", "known_time": at},
        # Of the second minute another person covers more.
        label | {"label_id": "b", "start_time": at + dt.timedelta(seconds=80), "end_time": at + dt.timedelta(seconds=125),
                 "refined_start": None, "refined_end": None, "kind": "normal", "known_time": at, "confidence": 0.4},
    ]  # fmt: skip
    frame = HUMAN_LABELS.conform(pl.DataFrame(labels).with_columns(refined_start_s=None, refined_end_s=None))
    rows = build_training_set(DAY.features, barriers, None, frame)
    TRAINING_SET.check(rows)
    said = rows.filter(pl.col("human_kind").is_not_null())
    assert said.select("event_time", "human_kind", "human_confidence", "human_share").rows() == [
        (at, "volume_spike", 0.9, 1.0),
        (at + dt.timedelta(minutes=1), "normal", 0.4, pytest.approx(40 / 60)),
        (at + dt.timedelta(minutes=2), "normal", 0.4, pytest.approx(5 / 60)),
    ]
    assert rows.drop("^human_.*$").equals(build_training_set(DAY.features, barriers, None).drop("^human_.*$"))
