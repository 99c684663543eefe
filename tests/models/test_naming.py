"""Kinds are what the tape did: each name on a made-up tape, and no name where nothing fits."""

import datetime as dt

import numpy as np
import polars as pl
import pytest

from models.naming import UNUSUAL, name_events, outages
from tapewatch.market.tables.tape import MICROSTRUCTURE

START = dt.datetime(2024, 3, 5, 15, tzinfo=dt.UTC)
USUAL_BPS = 4.0
#: Minute returns in usual minutes.
CRASH = [-12.0, -20.0, 3.0, 15.0, 11.0]
PUMP = [3.0, 4.0, 5.0, 6.0, 4.0, -6.0, -8.0, -6.0]


def minutes(
    returns: list[float], *, usual_bps: float = USUAL_BPS, symbol: str = "AAA", **columns: object
) -> pl.DataFrame:
    """One row a minute after an ordinary one, with returns in usual minutes; the range of a minute is its return."""
    moves = [1.0, *returns]
    ordinary = {
        "volatility_ratio": 1.0, "volume_ratio": 1.0, "sustained_volume_2m": 1.0, "trade_count_ratio": 1.0,
        "quote_count_ratio": 1.0, "spread_ratio": 1.0, "flow_score_5m": 1.0, "is_out": False,
    } | {"range_bps": [abs(move) * usual_bps for move in returns]}  # fmt: skip
    given = ordinary | columns
    spread = {
        name: [ordinary[name] if name != "range_bps" else 0.0, *(value if isinstance(value, list) else [value] * len(returns))]
        for name, value in given.items()
    }  # fmt: skip
    frame = pl.DataFrame(
        {
            "event_time": [START + dt.timedelta(minutes=at - 1) for at in range(len(moves))],
            "return_bps": [move * usual_bps for move in moves],
            # As in the table: over the root mean square return of the half hour before.
            "return_score": moves,
            **spread,
        },
        strict=False,
    )
    types = {name: dtype for name, dtype in MICROSTRUCTURE.schema.items() if name in frame.columns}
    return frame.cast(types).with_columns(symbol=pl.lit(symbol))  # type: ignore[arg-type]


def kind_of(rows: pl.DataFrame) -> str:
    """The name of an event of all rows but the first."""
    event = {
        "event": 0,
        "symbol": "AAA",
        "start_time": START,
        "end_time": rows["event_time"].max() + dt.timedelta(minutes=1),
    }
    events = pl.DataFrame([event]).with_columns(pl.col("start_time", "end_time").cast(rows.schema["event_time"]))
    return str(name_events(events, rows)["kind"].item())


NAMED = {
    "feed_outage": minutes([0.0] * 4, is_out=[False, True, True, True]),
    "quote_stuffing": minutes([1.0, -1.0], quote_count_ratio=12.0, trade_count_ratio=1.2),
    "flash_crash": minutes(CRASH),
    "pump_and_dump": minutes(PUMP, volume_ratio=5.0),
    "spread_blowout": minutes([1.0, -1.0, 2.0], spread_ratio=[3.5, 6.0, 4.0]),
    "price_jump": minutes([15.0]),
    "volume_spike": minutes([1.0, 0.5], sustained_volume_2m=[3.0, 8.0], volume_ratio=9.0),
    "one_sided_flow": minutes([0.5, 0.5, 0.5], flow_score_5m=[10.0, 18.0, 21.0]),
    "volatility_burst": minutes([6.0, -7.0, 5.0, -5.0], volatility_ratio=5.0, range_bps=[40.0] * 4),
}
UNNAMED = {
    "ten basis points in three trades are no crash": minutes([-12.0, 12.0], usual_bps=0.8),
    "a fall that stays is no crash": minutes([-8.0, -8.0, -8.0], range_bps=[40.0] * 3),
    "a minute without news is no outage": minutes([0.0], is_out=[True]),
    "an outage within a busy event is none": minutes([1.0] * 6, is_out=[True, True, False, False, False, False]),
    "many quotes with as many trades are no stuffing": minutes([1.0], quote_count_ratio=9.0, trade_count_ratio=8.0),
    "one wide minute is no blow-out": minutes([1.0, 1.0, 1.0], spread_ratio=[6.0, 1.0, 1.0]),
    "a move spread over the minute's range is no jump": minutes([10.0], range_bps=[90.0]),
    "one busy minute is no volume spike": minutes([1.0], volume_ratio=20.0, sustained_volume_2m=1.2),
    "a rise without volume is no pump": minutes(PUMP),
    "buyers who move the price are not just one-sided": minutes(
        [6.0, 6.0, 6.0], flow_score_5m=20.0, range_bps=[60.0] * 3
    ),
    "nothing odd": minutes([1.0, -1.0]),
}


@pytest.mark.parametrize("kind", NAMED)
def test_a_kind_is_named_by_what_the_tape_did(kind: str) -> None:
    assert kind_of(NAMED[kind]) == kind


@pytest.mark.parametrize("why", UNNAMED)
def test_what_fits_no_kind_clearly_has_no_name(why: str) -> None:
    assert kind_of(UNNAMED[why]) == UNUSUAL, why


def test_unknown_features_are_no_evidence() -> None:
    blank = minutes([1.0, -1.0]).with_columns(
        pl.lit(None, pl.Float64).alias(name)
        for name in ("return_bps", "return_score", "range_bps", "spread_ratio", "quote_count_ratio", "flow_score_5m")
    )
    assert kind_of(blank) == UNUSUAL


def test_each_event_is_named_by_its_own_minutes_alone() -> None:
    rows = pl.concat([minutes([15.0, 0.0, 0.0]), minutes(CRASH, symbol="BBB")])
    start = rows["event_time"].dtype
    events = pl.DataFrame(
        {
            "event": [7, 3],
            "symbol": ["BBB", "AAA"],
            "start_time": [START, START],
            "end_time": [START + dt.timedelta(minutes=5), START + dt.timedelta(minutes=1)],
        }
    ).with_columns(pl.col("start_time", "end_time").cast(start))
    assert name_events(events, rows.sample(fraction=1, shuffle=True, seed=1)).rows() == [
        (7, "flash_crash"),
        (3, "price_jump"),
    ]
    assert name_events(events.clear(), rows).is_empty()


def test_an_event_that_begins_within_another_changes_nothing_of_it() -> None:
    rows = minutes(CRASH)
    whole = pl.DataFrame(
        {"event": [1], "symbol": ["AAA"], "start_time": [START], "end_time": [START + dt.timedelta(minutes=5)]}
    )
    within = whole.with_columns(event=pl.lit(2, pl.Int64), start_time=pl.lit(START + dt.timedelta(minutes=2)))
    types = [pl.col("start_time", "end_time").cast(rows["event_time"].dtype)]
    alone, both = whole.with_columns(types), pl.concat([each.with_columns(types) for each in (whole, within)])
    assert name_events(alone, rows).rows() == name_events(both, rows).head(1).rows() == [(1, "flash_crash")]


def test_an_outage_is_long_and_unusual() -> None:
    rows = pl.DataFrame({"tape_age_s": [20.0, 200.0, 200.0, 149.0, 150.0]})
    surprise = np.array([9.0, 4.9, 5.0, 9.0, 9.0])
    assert outages(rows, surprise).to_list() == [False, False, True, False, True]
