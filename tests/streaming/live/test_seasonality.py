"""Live minutes against the usual one: a fit that comes late, symbols that join late, rows that are revised and withdrawn."""

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tapewatch.features.families.rows import microstructure_more
from tapewatch.features.microstructure import microstructure
from tapewatch.features.seasonality.model import SeasonalModel
from tapewatch.features.seasonality.rows import seasonality
from tapewatch.market.instruments import NS_PER_MINUTE
from tapewatch.market.tables.features import SEASONALITY
from tapewatch.streaming.live.seasonality import LiveSeasonality
from tests.support.families import minutes_of, plain
from tests.support.live import last_of
from tests.support.tapes import random_tape, stock_session

SESSION = stock_session()
MINUTES = 110
HORIZON = 20


@pytest.fixture(scope="module")
def usual() -> SeasonalModel:
    # Of two of the three symbols.
    fitted = SeasonalModel.fit([minutes_of(*random_tape(seed, ("A", "B"), minutes=150), SESSION) for seed in (1, 2)])
    assert fitted is not None
    return fitted


@pytest.fixture(scope="module")
def day() -> tuple[pl.DataFrame, pl.DataFrame]:
    tape = random_tape(3, ("A", "B", "C"), minutes=MINUTES + 15)
    frames = (microstructure(*tape, SESSION), microstructure_more(*tape, SESSION))
    end = SESSION.regular_start + MINUTES * NS_PER_MINUTE
    return tuple(each.filter(pl.col("event_time").dt.epoch("ns") < end) for each in frames)


def of_minute(frame: pl.DataFrame, minute: int) -> pl.DataFrame:
    return frame.filter(pl.col("event_time").dt.epoch("ns") == SESSION.regular_start + minute * NS_PER_MINUTE)


def expected(rows: pl.DataFrame, more: pl.DataFrame, usual: SeasonalModel) -> pl.DataFrame:
    whole = rows.join(more.drop("known_time"), on=["symbol", "event_time"], how="left")
    return plain(SEASONALITY, seasonality(whole.sort("symbol", "event_time"), usual))


def test_minutes_that_came_before_the_fit_are_emitted_again(day, usual: SeasonalModel) -> None:
    rows, more = day
    found: list[SeasonalModel] = []
    live = LiveSeasonality(SESSION, lambda: found[0] if found else None)
    steps = []
    for minute in range(MINUTES):
        if minute == HORIZON - 2:
            assert last_of(SEASONALITY, steps)["volume_deviation"].null_count() == 3 * minute
            found.append(usual)
        given = (of_minute(rows, minute), of_minute(more, minute))
        steps.append([live.update(*given, rows.clear().select("symbol", "event_time"))])
        live.forget(SESSION.regular_start + (minute - HORIZON) * NS_PER_MINUTE)
    assert_frame_equal(plain(SEASONALITY, last_of(SEASONALITY, steps)), expected(rows, more, usual), check_exact=True)
    # The rows of the symbol that the fit lacks stay as they were.
    emitted = sum(change.rows.height for changes in steps for change in changes)
    assert emitted == 3 * MINUTES + 2 * (HORIZON - 2)


def test_a_late_symbol_a_revision_and_a_withdrawal_change_the_rows_that_depend_on_them(
    day, usual: SeasonalModel
) -> None:
    rows, more = day
    live, steps = LiveSeasonality(SESSION, lambda: usual), []
    is_late, none = pl.col("symbol").cast(pl.String) == "B", rows.clear().select("symbol", "event_time")
    joins = 60
    at = pl.lit(SESSION.regular_start + 70 * NS_PER_MINUTE).cast(rows.schema["event_time"])
    own = (pl.col("symbol").cast(pl.String) == "A") & (pl.col("event_time") == at)
    for minute in range(MINUTES):
        given = [of_minute(frame, minute).filter(~is_late | (minute >= joins)) for frame in day]
        if minute == joins:
            # All of its minutes so far, also those that no tick can change any more.
            before = pl.col("event_time").dt.epoch("ns") < SESSION.regular_start + joins * NS_PER_MINUTE
            given = [pl.concat([frame.filter(is_late, before), own]) for frame, own in zip(day, given, strict=True)]
            given = [frame.sort("symbol", "event_time") for frame in given]
        steps.append([live.update(*given, none)])
        if minute == 80:
            revised = rows.filter(own).with_columns(volume=pl.col("volume") + 1e6)
            steps.append([live.update(revised, more.clear(), none)])
        if minute == 85:
            gone = rows.filter((pl.col("symbol").cast(pl.String) == "C") & (pl.col("event_time") == at))
            steps.append([live.update(rows.clear(), more.clear(), gone.select("symbol", "event_time"))])
        live.forget(SESSION.regular_start + (minute - HORIZON) * NS_PER_MINUTE)
    rows = rows.with_columns(volume=pl.when(own).then(pl.col("volume") + 1e6).otherwise(pl.col("volume")))
    left = rows.join(gone.select("symbol", "event_time"), on=["symbol", "event_time"], how="anti")
    found = plain(SEASONALITY, last_of(SEASONALITY, steps))
    assert_frame_equal(found, expected(left, more, usual), check_exact=True)
    # Symbols depend on themselves alone, and minutes on those before.
    (revision,) = steps[81]
    assert set(revision.rows["symbol"].cast(pl.String)) == {"A"}
    assert revision.rows["event_time"].min() == rows.filter(own)["event_time"][0]
