"""Merging of flagged minutes into anomalies."""

import datetime as dt
import json

import polars as pl
import pytest

from models.events import merge_anomalies, top_reasons
from models.isolation_forest.detector import IsolationForestDetector
from models.naming import UNUSUAL
from tapewatch.market.tables.tape import ANOMALIES, ATTRIBUTIONS, MICROSTRUCTURE, SYMBOL, TIME
from tests.support.detectors import ordinary_rows

START = dt.datetime(2024, 3, 5, 15, tzinfo=dt.UTC)


def minutes(*rows: tuple[str, int, float]) -> pl.DataFrame:
    """Scored minutes from (symbol, minute, score)."""
    return pl.DataFrame(
        [
            (symbol, START + dt.timedelta(minutes=m), START + dt.timedelta(minutes=m + 1), score, False)
            for symbol, m, score in rows
        ],
        schema={"symbol": SYMBOL, "event_time": TIME, "known_time": TIME, "score": pl.Float64, "is_out": pl.Boolean},
        orient="row",
    )


def features(scored: pl.DataFrame) -> pl.DataFrame:
    """Feature rows of scored minutes, all null or 0."""
    nulls = {name: pl.lit(None, dtype) for name, dtype in MICROSTRUCTURE.schema.items() if name not in scored.columns}
    return (
        scored.select("symbol", "event_time", "known_time").with_columns(**nulls).select(MICROSTRUCTURE.schema.names())
    )


def merged(scored: pl.DataFrame, attributions: pl.DataFrame | None = None) -> pl.DataFrame:
    """Merged at 0.6."""
    reasons = ATTRIBUTIONS.empty() if attributions is None else attributions
    events = merge_anomalies(scored, reasons, features(scored), threshold=0.6, model="m/1")
    ANOMALIES.check(events)
    return events


def test_adjacent_minutes_and_those_one_apart_are_one_event() -> None:
    scored = minutes(
        ("AAA", 0, 0.7), ("AAA", 1, 0.9), ("AAA", 2, 0.1), ("AAA", 3, 0.6),
        ("AAA", 6, 0.8), ("BBB", 4, 0.7),
    )  # fmt: skip
    events = merged(scored)
    found = events.select(
        "symbol",
        (pl.col("start_time") - START).dt.total_minutes(),
        (pl.col("end_time") - START).dt.total_minutes().alias("end"),
        (pl.col("known_time") - START).dt.total_minutes().alias("known"),
        "score", "minutes",
    )  # fmt: skip
    assert found.rows() == [
        ("AAA", 0, 4, 1, 0.9, 3),
        ("AAA", 6, 7, 7, 0.8, 1),
        ("BBB", 4, 5, 5, 0.7, 1),
    ]


def test_reasons_are_those_of_the_highest_minute_strongest_first() -> None:
    scored = minutes(("AAA", 0, 0.7), ("AAA", 1, 0.9))
    attributions = ATTRIBUTIONS.conform(
        pl.DataFrame(
            [
                ("AAA", START + dt.timedelta(minutes=m), feature, value, shap, 0.9)
                for m, feature, value, shap in [
                    (0, "volume_ratio", 9.0, 5.0),
                    (1, "return_bps", 80.0, 0.5),
                    (1, "quote_age_s", None, 0.75),
                    (1, "volume_ratio", 1.0, -0.25),
                ]
            ],
            schema=ATTRIBUTIONS.schema,
            orient="row",
        )
    )
    reasons = json.loads(merged(scored, attributions)["reasons"][0])
    assert reasons == [
        {"feature": "quote_age_s", "value": None, "shap_value": 0.75},
        {"feature": "return_bps", "value": 80.0, "shap_value": 0.5},
    ]
    assert json.loads(merged(scored)["reasons"][0]) == []


@pytest.mark.parametrize(("gap", "events"), [(0, 4), (1, 3), (2, 2), (3, 1)])
def test_more_ordinary_minutes_may_lie_within_an_event(gap: int, events: int) -> None:
    scored = minutes(*(("AAA", minute, 0.7) for minute in (0, 1, 3, 6, 10)))
    found = merge_anomalies(
        scored, ATTRIBUTIONS.empty(), features(scored), threshold=0.6, model="m/1", max_gap_minutes=gap
    )
    assert found.height == events


def test_reasons_of_no_weight_are_left_out_and_five_are_named() -> None:
    rows = [
        ("AAA", START, name, 1.0, value, 0.9) for name, value in zip("abcdefg", [0.0, 1, 2, 3, 4, 5, 6], strict=True)
    ]
    attributions = pl.DataFrame(rows, schema=ATTRIBUTIONS.schema, orient="row")
    assert [reason["feature"] for reason in top_reasons(attributions)] == ["g", "f", "e", "d", "c"]
    assert [reason["feature"] for reason in top_reasons(attributions.head(2))] == ["b"]


def test_the_earliest_of_equally_anomalous_minutes_is_the_peak() -> None:
    scored = minutes(("AAA", 0, 0.7), ("AAA", 1, 0.9), ("AAA", 2, 0.9))
    reasons = [("AAA", START + dt.timedelta(minutes=m), f"of_minute_{m}", 1.0, 1.0, 0.9) for m in range(3)]
    (event,) = merged(scored, pl.DataFrame(reasons, schema=ATTRIBUTIONS.schema, orient="row")).to_dicts()
    assert (event["score"], event["minutes"], event["kind"]) == (0.9, 3, "unusual")
    assert json.loads(event["reasons"])[0]["feature"] == "of_minute_1"


def test_nothing_flagged_nothing_found() -> None:
    assert merged(minutes(("AAA", 0, 0.59))).is_empty()
    assert merged(minutes()).schema == ANOMALIES.schema


def test_twice_equals_once_and_order_does_not_matter(
    detector: IsolationForestDetector, unseen_rows: pl.DataFrame
) -> None:
    scored = detector.scored(unseen_rows)
    attributions = detector.explain(unseen_rows.filter(scored["score"] >= detector.threshold))
    once = merge_anomalies(scored, attributions, unseen_rows, threshold=detector.threshold, model="m/1")
    ANOMALIES.check(once)
    assert once.height > 3
    assert ANOMALIES.duplicates(once) == 0
    twice = pl.concat([scored, scored]).sample(fraction=1, shuffle=True, seed=0)
    again = merge_anomalies(
        twice,
        attributions.sample(fraction=1, shuffle=True, seed=1),
        unseen_rows.sample(fraction=1, shuffle=True, seed=2),
        threshold=detector.threshold,
        model="m/1",
    )
    assert again.equals(once)
    assert once["minutes"].sum() == (scored["score"] >= detector.threshold).sum()


@pytest.mark.parametrize("count", [1, 3])
def test_top_reasons_are_positive_and_sorted(
    detector: IsolationForestDetector, unseen_rows: pl.DataFrame, count: int
) -> None:
    strongest = unseen_rows[int(detector.score(unseen_rows).argmax())]
    reasons = top_reasons(detector.explain(strongest), count)
    values = [float(str(reason["shap_value"])) for reason in reasons]
    assert len(values) == count
    assert values == sorted(values, reverse=True)
    assert min(values) > 0


def test_a_detector_names_what_the_tape_leaves_unnamed() -> None:
    rows = ordinary_rows().head(20)
    flags = [at in (4, 5, 6, 12) for at in range(20)]
    kinds = [{4: "price_jump", 5: "flash_crash", 6: "price_jump"}.get(at) for at in range(20)]
    scored = rows.select("symbol", "event_time", "known_time").with_columns(
        score=pl.Series(flags).cast(pl.Float64), is_out=pl.lit(value=False)
    )
    unnamed = merge_anomalies(scored, ATTRIBUTIONS.empty(), rows, threshold=0.5, model="m")
    assert unnamed["kind"].cast(pl.String).to_list() == [UNUSUAL, UNUSUAL]
    named = merge_anomalies(
        scored.with_columns(kind=pl.Series(kinds, dtype=pl.String)),
        ATTRIBUTIONS.empty(),
        rows,
        threshold=0.5,
        model="m",
    )
    assert named["kind"].cast(pl.String).to_list() == ["price_jump", UNUSUAL]
    assert named.drop("kind").equals(unnamed.drop("kind"))
