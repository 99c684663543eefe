"""Usual sizes from past days."""

import datetime as dt

import numpy as np
import polars as pl
import pytest

from tapewatch.market.instruments import NS_PER_MINUTE, Market, Session
from tapewatch.streaming.detection.baselines import baselines_from
from tests.support.watching import session

DAYS = [dt.date(2024, 7, 1), dt.date(2024, 7, 2), dt.date(2024, 7, 3)]


def day(of: Session, factor: float, minutes: int | None = None) -> pl.DataFrame:
    count = minutes or of.regular_minutes
    at = np.arange(count)
    close = 100 * np.exp(0.0005 * (at % 2))
    return pl.DataFrame(
        {"time": of.regular_start + at * NS_PER_MINUTE, "open": close, "high": close * np.exp(0.0002), "low": close * np.exp(-0.0002), "close": close,
         "volume": factor * (1000.0 + at)}
    ).with_columns(pl.col("time").cast(pl.Datetime("ns")).dt.replace_time_zone("UTC"), symbol=pl.lit("AAA"))  # fmt: skip


def test_baselines_are_medians_and_a_half_day_does_not_count_for_the_afternoon() -> None:
    sessions = [session(Market.STOCKS, date) for date in DAYS]
    assert sessions[2].regular_minutes == 210
    known = baselines_from(
        zip(sessions, [day(sessions[0], 1), day(sessions[1], 3), day(sessions[2], 100)], strict=True)
    )
    assert known.volume["AAA"].size == 390
    assert known.volume["AAA"][100] == pytest.approx(3 * 1100)
    assert known.volume["AAA"][300] == pytest.approx(2 * 1300)
    assert known.move_bps["AAA"] == pytest.approx(5)
    assert known.range_bps["AAA"] == pytest.approx(4)


def test_a_minute_without_a_bar_counts_as_no_volume() -> None:
    of = session(Market.STOCKS, DAYS[0])
    known = baselines_from([(of, day(of, 1, minutes=60))])
    assert known.volume["AAA"][100] == 0


def test_hours_outside_the_session_do_not_count() -> None:
    of = session(Market.STOCKS, DAYS[0])
    early = day(of, 1).with_columns(pl.col("time") - pl.duration(hours=12, time_unit="ns"))
    assert baselines_from([(of, early)]).volume == {}


def test_no_past_days_give_no_baseline() -> None:
    assert baselines_from([]).volume == {}
