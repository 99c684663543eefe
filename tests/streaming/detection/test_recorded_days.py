"""The detectors on recorded days: known faults raise one alert each, ordinary days few."""

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest

from tapewatch.market.instruments import Market
from tapewatch.market.tables.stream import STREAM_QUOTES, STREAM_TRADES
from tapewatch.market.tables.tape import QUOTES
from tapewatch.streaming.detection.baselines import baselines_from
from tapewatch.streaming.detection.watch import AlertChange
from tests.support.recorded import (
    TICK_DAYS,
    day_file,
    recorded_bars,
    recorded_quote_bars,
    recorded_quotes,
    recorded_trades,
)
from tests.support.watching import bars, closings, openings, session, watch

pytestmark = [pytest.mark.real_tape, pytest.mark.slow]

PRICE_RULES = {"price_move", "bad_print", "volatility_burst"}


def counts(changes: Sequence[AlertChange]) -> Counter[tuple[str, str]]:
    return Counter((change.row["rule"], change.row["symbol"]) for change in openings(changes))


def rules(changes: Sequence[AlertChange]) -> set[str]:
    return {change.row["rule"] for change in openings(changes)}


def streamed(frame: pl.DataFrame) -> pl.DataFrame:
    table = STREAM_TRADES if "price" in frame.columns else STREAM_QUOTES
    return table.conform(frame.with_columns(received_time="time"))


def crypto_quotes(root: Path, date: dt.date) -> pl.DataFrame:
    """One quote a minute, at the end of its quote bar."""
    book = recorded_quote_bars(root, date, "crypto").with_columns(
        pl.col("time") + pl.duration(seconds=59, time_unit="ns"), bid_price="bid_close", ask_price="ask_close"
    )
    return streamed(QUOTES.conform(book.with_columns(sequence_number=0)).drop("bid_size", "ask_size"))


def forex_quotes(root: Path) -> list[pl.DataFrame]:
    days = [dt.date(2014, 5, day) for day in (6, 7, 8)]
    raw = [pl.read_csv(day_file(root, "global_forex/quotes_v1", day)) for day in days]
    time = pl.from_epoch("participant_timestamp", time_unit="ns").dt.replace_time_zone("UTC")
    return [streamed(frame.with_columns(symbol="ticker", time=time)) for frame in raw]


def crypto_day(root: Path, *dates: dt.date) -> list[AlertChange]:
    minutes = [bars(recorded_bars(root, date, "global_crypto")) for date in dates]
    book = [crypto_quotes(root, date) for date in dates if date.year > 2016]
    return watch(Market.CRYPTO, [], book, minutes, seconds=60)


def test_crypto_bars_that_stop_while_quotes_go_on_are_one_outage(market_data: Path) -> None:
    changes = crypto_day(market_data, dt.date(2018, 4, 4))
    (outage,) = openings(changes, "feed_outage")
    assert outage.row["symbol"] == ""
    assert "bars" in outage.row["message"]
    start = dt.datetime(2018, 4, 4, 16, 46, tzinfo=dt.UTC)
    assert start <= outage.row["start_time"] <= start + dt.timedelta(minutes=8)
    assert closings(changes, "feed_outage") == []
    assert not rules(changes) & {*PRICE_RULES, "stale_symbol", "data_quality"}
    assert max(counts(changes).values()) <= 5


def test_the_outage_ends_with_the_next_day(market_data: Path) -> None:
    changes = crypto_day(market_data, dt.date(2018, 4, 4), dt.date(2018, 4, 5))
    (outage,) = closings(changes, "feed_outage")
    assert abs(outage.row["end_time"] - dt.datetime(2018, 4, 5, tzinfo=dt.UTC)) < dt.timedelta(minutes=10)
    assert "stale_symbol" not in rules(changes)


@pytest.mark.parametrize(
    "dates",
    [(dt.date(2016, 10, 7), dt.date(2016, 10, 8)), (dt.date(2017, 9, 3),), (dt.date(2018, 4, 5),)],
    ids=["2016", "2017", "2018"],
)
def test_ordinary_crypto_days_have_no_outage(market_data: Path, dates: tuple[dt.date, ...]) -> None:
    changes = crypto_day(market_data, *dates)
    assert not rules(changes) & {"feed_outage", "stale_symbol", "data_quality"}
    assert max(counts(changes).values()) <= 5


def test_a_feed_of_crossed_quotes_is_one_alert(market_data: Path) -> None:
    changes = watch(Market.FOREX, [], forex_quotes(market_data / "alt_feeds" / "fxcm"), seconds=60)
    assert counts(changes)["data_quality", "C:EUR-USD"] == 1
    assert closings(changes, "data_quality") == []
    assert sum(counts(changes).values()) <= 5


def test_a_feed_without_faults_raises_no_data_quality_alert(market_data: Path) -> None:
    changes = watch(Market.FOREX, [], forex_quotes(market_data), seconds=60)
    assert "data_quality" not in rules(changes)
    # The press conference of the European Central Bank on 8 May, 14:30 in Frankfurt.
    assert {change.row["start_time"].date() for change in openings(changes)} <= {dt.date(2014, 5, 8)}
    assert sum(counts(changes).values()) <= 4


def test_an_unadjusted_split_is_no_price_anomaly(market_data: Path) -> None:
    days = [dt.date(2014, 6, day) for day in (5, 6, 9)]
    changes = watch(Market.STOCKS, bars=[bars(recorded_bars(market_data, day)) for day in days], seconds=60)
    assert not rules(changes) & PRICE_RULES
    assert sum(counts(changes).values()) <= 8


def test_frozen_indices_and_half_days_raise_nothing(market_data: Path) -> None:
    days = [dt.date(2021, 1, 4), dt.date(2021, 1, 14), dt.date(2023, 6, 30), dt.date(2023, 7, 3)]
    minutes = [bars(recorded_bars(market_data, day, "us_indices")) for day in days]
    assert watch(Market.INDICES, bars=minutes, seconds=60) == []
    half = [bars(recorded_bars(market_data, dt.date(2015, 12, day))) for day in (23, 24, 28)]
    assert watch(Market.STOCKS, bars=half, seconds=60) == []


def test_three_days_of_stock_ticks_raise_few_alerts(market_data: Path) -> None:
    tapes = [streamed(recorded_trades(market_data, day)) for day in TICK_DAYS]
    books = [streamed(recorded_quotes(market_data, day)) for day in TICK_DAYS]
    changes = watch(Market.STOCKS, tapes, books, seconds=30)
    by_day = Counter((c.row["start_time"].date(), c.row["symbol"], c.row["rule"]) for c in openings(changes))
    assert max(by_day.values()) <= 3
    assert sum(by_day.values()) <= 24
    assert not rules(changes) & {"feed_outage", "stale_symbol", "data_quality", "spread_blowout"}
    assert len(closings(changes)) == len(openings(changes))


def test_with_baselines_of_past_days_the_first_half_hour_is_judged_too(market_data: Path) -> None:
    past = [(session(date=day), recorded_bars(market_data, day)) for day in TICK_DAYS[:2]]
    known = baselines_from(past)
    assert set(known.volume) == {"AIG", "BAC", "IBM", "SPY"}
    profile = known.volume["SPY"]
    assert profile.size == 390
    assert profile[:10].mean() > 3 * profile[180:210].mean()
    today = bars(recorded_bars(market_data, TICK_DAYS[2]))
    assert sum(counts(watch(Market.STOCKS, bars=[today], baselines=known, seconds=60)).values()) <= 8
