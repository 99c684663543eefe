"""The training set: regular rows, labels at the right minute, nothing from the future."""

import polars as pl
import pytest

from tapewatch.bars.time_bars import minute_bars
from tapewatch.labels.barriers.barriers import triple_barrier
from tapewatch.labels.training.training_set import build_training_set
from tapewatch.market.instruments import Market
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
