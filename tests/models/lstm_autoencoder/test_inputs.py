"""Windows and the midquote's return, against values worked out by hand."""

import datetime as dt
import math

import numpy as np
import polars as pl

from models.lstm_autoencoder.inputs import INPUTS, minutes_of, with_mid_return
from models.profile import Profile
from tests.support.detectors import ordinary_rows

NOON = dt.datetime(2024, 6, 3, 16, tzinfo=dt.UTC)


def mids(*rows: tuple[str, int, float | None]) -> pl.DataFrame:
    times = pl.Series([NOON + dt.timedelta(minutes=minute) for _, minute, _ in rows], dtype=pl.Datetime("ns", "UTC"))
    return pl.DataFrame(
        {"symbol": [row[0] for row in rows], "event_time": times, "mid_price": [row[2] for row in rows]}
    )


def test_the_midquotes_return_needs_the_minute_before_of_the_same_symbol() -> None:
    rows = mids(("A", 1, 101.0), ("A", 0, 100.0), ("B", 1, 50.0), ("A", 3, 103.0), ("A", 4, None), ("A", 5, 104.0))
    returns = with_mid_return(rows)["mid_return_bps"]
    assert returns[0] == 1e4 * math.log(101 / 100)
    assert returns[1:].to_list() == [None] * 5


def test_windows_hold_the_minutes_before_and_mask_what_is_missing() -> None:
    day = ordinary_rows().with_columns(pl.col("symbol").cast(pl.String))
    rows = day.filter(pl.col("session_minute") != 5).sample(fraction=1.0, shuffle=True, seed=1)
    minutes = minutes_of(rows, Profile.fit(with_mid_return(rows), INPUTS), window=4)
    at = rows.with_row_index().filter((pl.col("symbol") == "MSFT") & (pl.col("session_minute") == 7))["index"][0]
    held = [rows["session_minute"][int(i)] if i >= 0 else None for i in minutes.before[at]]
    assert held == [4, None, 6, 7]
    assert {rows["symbol"][int(i)] for i in minutes.before[at] if i >= 0} == {"MSFT"}
    values, mask = minutes.windows(np.array([at]))
    assert values.shape == mask.shape == (1, 4, len(INPUTS))
    assert not mask[0, 1].any()
    assert not values[0, 1].any()
    # The return of the midquote is unknown after the gap, all else is known.
    assert mask[0, 2].sum() == len(INPUTS) - 1
    opening = rows.with_row_index().filter((pl.col("symbol") == "AAPL") & (pl.col("session_minute") == 0))["index"][0]
    assert minutes.before[opening].tolist() == [-1, -1, -1, opening]
