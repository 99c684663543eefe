"""Coverage: minutes expected, received and missing, in every market."""

import datetime as dt

import polars as pl
import pytest

from tapewatch.bars.coverage import coverage
from tapewatch.bars.time_bars import minute_bars
from tapewatch.market.instruments import Market, session_of
from tapewatch.market.tables import COVERAGE, DELIVERED_BARS, QUOTES, TRADES
from tests.support.recorded import TICK_DAYS, recorded_bars, recorded_quotes, recorded_trades
from tests.support.tapes import stock_session, tape_of

SESSION = stock_session()


def covered(trades=None, quotes=None, bars=None, session=SESSION, **options) -> dict[str, dict]:
    rows = coverage(
        TRADES.empty() if trades is None else trades,
        QUOTES.empty() if quotes is None else quotes,
        DELIVERED_BARS.empty() if bars is None else bars,
        session,
        **options,
    )
    COVERAGE.check(rows)
    return {row["symbol"]: row for row in rows.to_dicts()}


def test_minutes_are_received_or_missing_and_the_longest_gap_is_found() -> None:
    trades, quotes = tape_of([(-300, 1, 1), (0, 1, 1), (90, 1, 1), (600, 1, 1)], [(5, 1, 2)])
    row = covered(trades, quotes, minute_bars(trades, SESSION))["AAA"]
    assert (row["trades"], row["quotes"], row["bars"]) == (4, 1, 4)
    assert (row["expected_minutes"], row["received_minutes"], row["missing_minutes"]) == (390, 3, 387)
    assert row["longest_gap_minutes"] == 390 - 11
    assert row["first_time"] == trades["time"][0]
    assert row["last_time"] == trades["time"][-1]


@pytest.mark.parametrize(("minute", "gap"), [(0, 389), (389, 389), (100, 289), (300, 300)])
def test_the_gap_may_lie_before_the_first_or_after_the_last_minute(minute, gap) -> None:
    trades, _ = tape_of([(minute * 60, 1, 1)])
    assert covered(trades, bars=minute_bars(trades, SESSION))["AAA"]["longest_gap_minutes"] == gap


def test_a_symbol_of_which_nothing_came_has_a_row() -> None:
    row = covered(symbols=("ZZZ",))["ZZZ"]
    assert (row["trades"], row["received_minutes"], row["longest_gap_minutes"]) == (0, 0, 390)
    assert row["first_time"] is None


def test_bars_outside_regular_hours_alone_receive_nothing() -> None:
    trades, _ = tape_of([(-60, 1, 1)])
    row = covered(trades, bars=minute_bars(trades, SESSION))["AAA"]
    assert (row["bars"], row["received_minutes"], row["longest_gap_minutes"]) == (1, 0, 390)


def test_forex_minutes_are_received_with_quotes() -> None:
    friday = session_of(Market.FOREX, dt.date(2024, 3, 8))
    _, quotes = tape_of(quotes=[(0, 1, 2), (1, 1, 2), (61, 1, 2)], session=friday, symbol="C:EUR-USD")
    row = covered(quotes=quotes, session=friday)["C:EUR-USD"]
    assert (row["expected_minutes"], row["received_minutes"], row["longest_gap_minutes"]) == (22 * 60, 2, 22 * 60 - 2)


def test_lazy_frames_give_the_same() -> None:
    trades, quotes = tape_of([(0, 1, 1), (90, 1, 1)], [(5, 1, 2)])
    bars = minute_bars(trades, SESSION)
    assert coverage(trades.lazy(), quotes.lazy(), bars.lazy(), SESSION).equals(coverage(trades, quotes, bars, SESSION))


@pytest.mark.real_tape
def test_the_recorded_tick_days_are_complete(market_data) -> None:
    day = TICK_DAYS[0]
    trades = recorded_trades(market_data, day)
    rows = covered(
        trades, recorded_quotes(market_data, day), minute_bars(trades, stock_session(day)), stock_session(day)
    )
    assert {symbol: row["trades"] for symbol, row in rows.items()} == {
        "AIG": 25_351,
        "BAC": 88_172,
        "IBM": 24_293,
        "SPY": 250_601,
    }
    assert {row["missing_minutes"] for row in rows.values()} <= {0, 1}
    assert rows["SPY"]["quotes"] == 0


@pytest.mark.real_tape
def test_the_recorded_outage_and_half_day_are_seen(market_data) -> None:
    day = dt.date(2018, 4, 4)
    rows = covered(bars=recorded_bars(market_data, day, "global_crypto"), session=session_of(Market.CRYPTO, day))
    assert len(rows) == 4
    assert all(row["expected_minutes"] == 1440 and row["longest_gap_minutes"] > 400 for row in rows.values())
    half = dt.date(2023, 7, 3)
    (row,) = covered(
        bars=recorded_bars(market_data, half, "us_indices"), session=session_of(Market.INDICES, half)
    ).values()
    assert (row["expected_minutes"], row["missing_minutes"]) == (210, 0)


@pytest.mark.real_tape
@pytest.mark.parametrize("day", [dt.date(2008, 3, 7), dt.date(2008, 3, 10)])
def test_days_either_side_of_summer_time_are_measured_on_their_own_hours(market_data, day) -> None:
    bars = recorded_bars(market_data, day)
    row = covered(bars=bars, session=stock_session(day))["SHY"]
    within = bars.filter(
        pl.col("time").dt.convert_time_zone("America/New_York").dt.time().is_between(dt.time(9, 30), dt.time(15, 59))
    )
    assert row["received_minutes"] == within.height
