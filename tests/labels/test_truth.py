"""Minutes of the truth from its intervals."""

import datetime as dt

import polars as pl
import pytest

from tapewatch.labels.truth import TRUTH_EVENTS_SCHEMA, truth_minutes
from tapewatch.market.tables.tape import TRUTH_LABELS
from tests.support.tapes import stock_session

SESSION = stock_session()
NOON = dt.datetime(2024, 3, 5, 17, tzinfo=dt.UTC)


def truth(*rows: tuple[str, str, float, float]) -> pl.DataFrame:
    """Events from (symbol, id, seconds after noon, seconds after noon)."""
    return pl.DataFrame(
        [(s, i, "price_jump", NOON + dt.timedelta(seconds=a), NOON + dt.timedelta(seconds=b)) for s, i, a, b in rows],
        schema=TRUTH_EVENTS_SCHEMA,
        orient="row",
    )


@pytest.mark.parametrize(
    ("start", "end", "minutes"),
    [
        (0, 60, [0]),
        (0, 60.001, [0, 1]),
        (59.999, 60, [0]),
        (30, 130, [0, 1, 2]),
        (60, 60, [1]),
    ],
)
def test_every_minute_that_overlaps(start: float, end: float, minutes: list[int]) -> None:
    labels = truth_minutes(truth(("AAA", "1", start, end)), SESSION)
    TRUTH_LABELS.check(labels)
    assert labels["event_time"].to_list() == [NOON + dt.timedelta(minutes=m) for m in minutes]
    assert (labels["known_time"] - labels["event_time"]).unique().to_list() == [dt.timedelta(minutes=1)]


def test_events_may_overlap() -> None:
    labels = truth_minutes(truth(("AAA", "1", 0, 120), ("AAA", "2", 60, 120), ("BBB", "1", 60, 90)), SESSION)
    assert labels.select("symbol", "event_id").rows() == [("AAA", "1"), ("AAA", "1"), ("AAA", "2"), ("BBB", "1")]
    assert TRUTH_LABELS.duplicates(labels) == 0


def test_other_symbols_and_other_days_are_left_out() -> None:
    events = truth(("AAA", "1", 0, 60), ("BBB", "1", 0, 60), ("AAA", "2", 86_400, 86_460))
    labels = truth_minutes(events, SESSION, ["AAA"])
    assert labels.select("symbol", "event_id").rows() == [("AAA", "1")]


def test_the_days_bounds_and_the_last_nanosecond() -> None:
    """An event over two days has the minutes of the session's day alone; one that ends on a minute does not touch it."""
    first, last = (dt.datetime.fromtimestamp(at / 1e9, dt.UTC) for at in (SESSION.day_start, SESSION.day_end))
    long = truth(("AAA", "1", (first - NOON).total_seconds() - 90, (last - NOON).total_seconds() + 90))
    labels = truth_minutes(long, SESSION)
    assert labels["event_time"].min() == first
    assert labels["event_time"].max() == last - dt.timedelta(minutes=1)
    assert labels.height == (last - first) // dt.timedelta(minutes=1)
    just_over = truth(("AAA", "1", 0, 60)).with_columns(pl.col("end_time") + pl.duration(nanoseconds=1))
    assert truth_minutes(just_over, SESSION).height == 2


def test_no_events_no_labels() -> None:
    assert truth_minutes(truth(), SESSION).schema == TRUTH_LABELS.schema


def test_an_event_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(ValueError, match="event 7 of AAA ends before it starts"):
        truth_minutes(truth(("AAA", "7", 60, 0)), SESSION)
