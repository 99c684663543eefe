"""Bad prices and price shocks in daily bars; splits are none."""

import datetime as dt
from pathlib import Path

import polars as pl
import pytest

from tapewatch.daily.anomalies import ANOMALY_SCHEMA, daily_anomalies
from tapewatch.market.instruments import NEW_YORK

FIRST = dt.date(2024, 1, 1)


def days(*rows: tuple[float, float, float, float], symbol: str = "AAA", step: int = 1) -> pl.DataFrame:
    """A row a day: open, high, low, close."""
    frame = pl.DataFrame(rows, schema=["open", "high", "low", "close"], orient="row")
    time = [dt.datetime.combine(FIRST + dt.timedelta(days=k * step), dt.time(), dt.UTC) for k in range(len(rows))]
    return frame.with_columns(time=pl.Series(time).cast(pl.Datetime("ns", "UTC")), symbol=pl.lit(symbol))


CALM = (100.0, 101.0, 99.0, 100.0)


def calm(level: float) -> tuple[float, float, float, float]:
    return (level, level * 1.01, level * 0.99, level)


def test_calm_days_have_no_anomaly() -> None:
    found = daily_anomalies(days(*[CALM] * 30))
    assert found.height == 0
    assert found.schema == ANOMALY_SCHEMA


@pytest.mark.parametrize(
    ("bad", "field"),
    [((100.0, 101.0, 0.01, 99.0), "low"), ((200.0, 200.0, 99.0, 100.0), "high"), ((100.0, 101.0, 30.0, 30.0), "close")],
)
def test_a_price_far_from_all_neighbours_is_bad(bad: tuple[float, float, float, float], field: str) -> None:
    found = daily_anomalies(days(*[CALM] * 10, bad, *[CALM] * 10)).to_dicts()
    assert [(row["kind"], row["field"]) for row in found] == [
        ("bad_price", field if field != "close" else row_field(found))
    ]
    assert found[0]["time"].date() == FIRST + dt.timedelta(days=10)


def row_field(found: list[dict[str, str]]) -> str:
    """The close is also the low, so both deviate equally and either may be reported."""
    assert found[0]["field"] in ("low", "close")
    return found[0]["field"]


@pytest.mark.parametrize("bad", [(128.0, 128.0, 99.0, 100.0), (78.0, 101.0, 78.0, 100.0)])
def test_an_isolated_opening_print_is_bad_before_the_next_day_is_known(
    bad: tuple[float, float, float, float],
) -> None:
    (row,) = daily_anomalies(days(*[CALM] * 10, bad)).to_dicts()
    assert (row["kind"], row["field"], row["value"], row["expected"]) == ("bad_price", "open", bad[0], 100)


def test_an_open_that_the_day_confirms_or_exceeds_is_no_bad_price() -> None:
    kept, exceeded = (128.0, 128.0, 124.0, 126.0), (128.0, 129.0, 99.0, 100.0)
    assert daily_anomalies(days(*[CALM] * 10, kept, calm(125.0))).height == 0
    assert daily_anomalies(days(*[CALM] * 10, exceeded, CALM)).height == 0


def with_volumes(frame: pl.DataFrame, *volumes: float) -> pl.DataFrame:
    return frame.with_columns(volume=pl.Series(volumes, dtype=pl.Float64))


#: Ratios of small numbers beyond the common ones.
FRACTIONS = [(7, 4), (9, 5), (11, 5), (9, 4), (7, 3), (12, 5), (8, 3), (11, 4), (10, 3), (11, 3), (11, 2)]


@pytest.mark.parametrize("volume", [None, 1_000.0])
@pytest.mark.parametrize(("larger", "smaller"), FRACTIONS)
def test_a_day_that_opens_exactly_at_a_fraction_is_a_split(larger: int, smaller: int, volume: float | None) -> None:
    for level in (100 * smaller / larger, 100 * larger / smaller):
        # The day goes on to move by 1.5 %.
        first = (level, level * 1.02, level * 0.995, level * 1.015)
        frame = days(*[CALM] * 20, first, *[calm(level * 1.015)] * 20)
        assert daily_anomalies(frame if volume is None else with_volumes(frame, *[volume] * 41)).height == 0


@pytest.mark.parametrize(("larger", "smaller"), FRACTIONS)
def test_volume_tells_a_split_that_opens_near_a_fraction_from_a_shock(larger: int, smaller: int) -> None:
    level = 100 * smaller / larger
    first = (level * 1.014, level * 1.02, level * 1.008, level * 1.012)
    frame = days(*[CALM] * 20, first, *[calm(level * 1.01)] * 20)
    # Of a split the shares become more, so that the traded value stays; noise of half and double is left to the medians.
    noise = [0.5, 1.0, 2.0] * 7
    shares = [1_000 * n for n in noise[:20]] + [1_000 * larger / smaller * n for n in noise]
    assert daily_anomalies(with_volumes(frame, *shares)).height == 0
    for crash in ([1_000.0] * 41, [1_000.0] * 20 + [100_000.0] + [20_000.0] * 20):
        assert daily_anomalies(with_volumes(frame, *crash))["kind"].to_list() == ["price_shock"]


@pytest.mark.parametrize("level", [50.0, 300.0, 37.5])
def test_a_level_that_a_multiple_of_the_usual_value_was_traded_at_is_a_shock(level: float) -> None:
    frame = days(*[CALM] * 20, *[calm(level)] * 20)
    volumes = [1_000.0] * 20 + [1_000_000 / level] + [1_000.0] * 19
    assert daily_anomalies(with_volumes(frame, *volumes))["kind"].to_list() == ["price_shock"]
    assert daily_anomalies(frame).height == 0


@pytest.mark.parametrize(
    "ratio", [2, 7, 4, 1.5, 3, 5 / 3, 7 / 2, 20, *(1 / n for n in (8, 20, 50, 60, 100, 150, 250, 1000))]
)
def test_a_split_is_no_price_shock(ratio: float) -> None:
    assert daily_anomalies(days(*[CALM] * 20, *[calm(100 / ratio)] * 20)).height == 0


def test_a_lasting_fall_by_no_split_ratio_is_a_shock() -> None:
    (row,) = daily_anomalies(days(*[CALM] * 20, (62.0, 64.0, 58.0, 58.5), *[calm(58.5)] * 20)).to_dicts()
    assert (row["kind"], row["expected"], row["value"]) == ("price_shock", 100, 58.5)


@pytest.mark.parametrize("at_once", [0.38, 1 / 120])
def test_a_whole_day_at_a_level_that_no_split_leads_to_is_a_shock(at_once: float) -> None:
    (row,) = daily_anomalies(days(*[CALM] * 20, *[calm(100 * at_once)] * 20)).to_dicts()
    assert (row["kind"], row["value"]) == ("price_shock", 100 * at_once)


def test_a_halving_within_the_day_is_a_shock_and_one_before_the_open_a_split() -> None:
    within = daily_anomalies(days(*[CALM] * 20, (100.0, 101.0, 49.0, 50.0), *[calm(50.0)] * 20))
    assert within["kind"].to_list() == ["price_shock"]
    assert daily_anomalies(days(*[CALM] * 20, *[calm(50.0)] * 20)).height == 0


@pytest.mark.parametrize("level", [10_000.0, 1_000.0, 50.0, 1.0])
@pytest.mark.parametrize("lasting", [1, 3, 9])
def test_a_level_that_is_left_again_is_no_split(level: float, lasting: int) -> None:
    found = daily_anomalies(days(*[CALM] * 20, *[calm(level)] * lasting, *[CALM] * 20)).to_dicts()
    assert found[0]["time"].date() == FIRST + dt.timedelta(days=20)
    assert found[0]["kind"] == ("bad_price" if lasting == 1 else "price_shock")
    assert {row["time"].date() for row in found} <= {FIRST + dt.timedelta(days=d) for d in (20, 20 + lasting)}


def test_a_split_that_a_fall_follows_is_none() -> None:
    falling = [calm(2_000 * 0.9**day) for day in range(30)]
    assert daily_anomalies(days(*[CALM] * 20, *falling)).height == 0


def test_volatile_symbols_are_compared_with_their_own_range() -> None:
    wild = [(1.0, 1.3, 0.8, 1.0), (1.0, 1.2, 0.75, 1.1)] * 20
    assert daily_anomalies(days(*wild, (1.0, 2.2, 0.8, 1.0), *wild)).height == 0


def test_another_company_with_the_same_ticker_is_no_shock() -> None:
    before, after = days(*[CALM] * 10), days(*[calm(9.0)] * 10)
    later = after.with_columns(pl.col("time") + pl.duration(days=400, time_unit="ns"))
    assert daily_anomalies(pl.concat([before, later])).height == 0


@pytest.mark.real_tape
def test_recorded_years(market_data: Path) -> None:
    files = sorted((market_data / "us_stocks_sip" / "day_aggs_v1").glob("*.csv.gz"))
    columns = ["ticker", "window_start", "open", "high", "low", "close", "volume"]
    volume = {"volume": pl.Float64}
    bars = pl.concat([pl.read_csv(path, columns=columns, schema_overrides=volume) for path in files]).rename(
        {"ticker": "symbol"}
    )
    assert bars.height == 70_025
    found = daily_anomalies(
        bars.with_columns(time=pl.from_epoch("window_start", time_unit="ns").dt.replace_time_zone("UTC"))
    )
    named = {
        (row["symbol"], row["time"].astimezone(NEW_YORK).date().isoformat(), row["kind"], row["field"])
        for row in found.to_dicts()
    }
    assert named == {
        # A profit warning halved the price, with eleven times the usual value traded: no split, though at its ratio.
        ("AAPL", "2000-09-29", "price_shock", "close"),
        ("GOOG", "2008-09-30", "bad_price", "low"),
        ("IBM", "2002-12-23", "bad_price", "high"),
        # Prints with a lost digit or of another symbol, which were not known before.
        ("AAPL", "2009-09-21", "bad_price", "low"),
        ("AAPL", "2010-08-31", "bad_price", "low"),
        ("AAPL", "2011-01-03", "bad_price", "low"),
        ("AIG", "2009-05-05", "bad_price", "high"),
        ("GOOG", "2007-12-18", "bad_price", "low"),
        ("IWM", "2008-09-19", "bad_price", "high"),
        # Opening prints far from both closes: a known one, and two of funds, 15 and 18 % off.
        ("GOOCV", "2014-04-02", "bad_price", "open"),
        ("EEM", "2005-04-11", "bad_price", "open"),
        ("SPY", "2000-12-18", "bad_price", "open"),
    }
