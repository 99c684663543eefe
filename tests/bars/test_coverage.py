"""Coverage: minutes expected, received and missing, in every market."""

import datetime as dt
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapewatch.bars.coverage import coverage
from tapewatch.bars.time_bars import minute_bars
from tapewatch.market.instruments import NS_PER_MINUTE, Market, session_of
from tapewatch.market.tables.live import GAPS
from tapewatch.market.tables.tape import COVERAGE, DELIVERED_BARS, QUOTES, TRADES
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


def test_minutes_are_received_or_silent_and_the_longest_gap_is_found() -> None:
    trades, quotes = tape_of([(-300, 1, 1), (0, 1, 1), (90, 1, 1), (600, 1, 1)], [(5, 1, 2)])
    row = covered(trades, quotes, minute_bars(trades, SESSION))["AAA"]
    assert (row["trades"], row["quotes"], row["bars"]) == (4, 1, 4)
    assert (row["expected_minutes"], row["received_minutes"], row["missing_minutes"]) == (390, 3, 387)
    assert (row["silent_minutes"], row["is_complete"]) == (0, False)
    assert row["reason"] == (
        "387 minutes without a row from 14:41 UTC on: no other kept day and no other tape shows that the symbol was silent"
    )
    assert row["longest_gap_minutes"] == 390 - 11
    assert row["first_time"] == trades["time"][0]
    assert row["last_time"] == trades["time"][-1]


@pytest.mark.parametrize(("minute", "gap"), [(0, 389), (389, 389), (100, 289), (300, 300)])
def test_the_gap_may_lie_before_the_first_or_after_the_last_minute(minute, gap) -> None:
    trades, _ = tape_of([(minute * 60, 1, 1)])
    assert covered(trades, bars=minute_bars(trades, SESSION))["AAA"]["longest_gap_minutes"] == gap


def test_a_symbol_without_data_has_a_row() -> None:
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


def gap(start_minute: float, end_minute: float | None, status: str, symbol: str | None = None) -> dict:
    at = SESSION.regular_start
    return {
        "gap_id": f"{start_minute} {symbol}",
        "symbol": symbol,
        "channel": "all",
        "cause": "disconnect",
        "start_time": at + round(start_minute * NS_PER_MINUTE),
        "end_time": None if end_minute is None else at + round(end_minute * NS_PER_MINUTE),
        "opened_time": at,
        "status": status,
        "attempts": 0,
    }


def gaps_of(*rows: dict) -> pl.DataFrame:
    return GAPS.conform(pl.DataFrame(list(rows), schema_overrides={"symbol": pl.String, "end_time": pl.Int64}))


def quiet_day(*symbols: str) -> list:
    """A kept day on which each symbol has one row: what it does not print on other days is silence."""
    return [(SESSION, pl.concat([busy(symbol, [0]) for symbol in symbols]))]


def busy(symbol: str, minutes=range(390)) -> pl.DataFrame:
    return minute_bars(tape_of([(60 * minute, 1, 1) for minute in minutes], symbol=symbol)[0], SESSION)


def test_an_open_gap_makes_its_minutes_missing_and_a_healed_one_makes_them_healed() -> None:
    bars = pl.concat([busy("AAA"), busy("BBB", range(0, 390, 2))])
    gaps = gaps_of(gap(10.5, 12, "open"), gap(20, 30, "healed"), gap(100, 103, "unhealable", "BBB"))
    rows = covered(bars=bars, gaps=gaps, symbols=("CCC",), other_days=quiet_day("CCC"))
    minutes = ("received_minutes", "healed_minutes", "silent_minutes", "missing_minutes", "open_gaps")
    assert [rows["AAA"][name] for name in minutes] == [378, 10, 0, 2, 1]
    assert [rows["BBB"][name] for name in minutes] == [195 - 1 - 5 - 2, 5, 195 - 2, 5, 2]
    assert [rows["CCC"][name] for name in minutes] == [0, 0, 388, 2, 1]
    assert not any(row["is_complete"] for row in rows.values())


def test_a_growing_gap_and_what_was_not_collected_yet_are_missing() -> None:
    now = SESSION.regular_start + 200 * NS_PER_MINUTE
    row = covered(bars=busy("AAA", range(200)), gaps=gaps_of(gap(190, None, "growing")))["AAA"]
    assert (row["received_minutes"], row["missing_minutes"]) == (190, 200)
    row = covered(bars=busy("AAA", range(200)), known_until=now)["AAA"]
    assert (row["received_minutes"], row["silent_minutes"], row["missing_minutes"]) == (200, 0, 190)
    assert not row["is_complete"]


def test_healed_gaps_leave_a_day_complete_and_gaps_of_other_days_do_not_count() -> None:
    gaps = gaps_of(gap(20, 30, "healed"), gap(-3000, -2000, "open"), gap(5000, 6000, "open"))
    row = covered(bars=busy("AAA"), gaps=gaps)["AAA"]
    assert (row["is_complete"], row["healed_minutes"], row["open_gaps"]) == (True, 10, 0)


@pytest.mark.long
@given(
    st.lists(
        st.tuples(
            st.floats(-100, 500),
            st.floats(0, 100),
            st.sampled_from(["open", "healed", "unhealable"]),
            st.sampled_from([None, "AAA", "BBB"]),
        ),
        max_size=6,
    ),
    st.sets(st.integers(0, 389)),
    st.none() | st.integers(-50, 450),
)
def test_every_expected_minute_is_exactly_one_of_four(spans, minutes, known) -> None:
    gaps = gaps_of(*(gap(at, at + long, status, symbol) for at, long, status, symbol in spans)) if spans else None
    until = None if known is None else SESSION.regular_start + known * NS_PER_MINUTE
    bars = pl.concat([busy("AAA", sorted(minutes) or [400]), busy("BBB")])
    for row in covered(bars=bars, gaps=gaps, known_until=until, symbols=("CCC",)).values():
        four = [row[f"{name}_minutes"] for name in ("received", "healed", "silent", "missing")]
        assert sum(four) == row["expected_minutes"]
        assert min(four) >= 0


HALVES = st.integers(-800, 800)


@pytest.mark.long
@given(
    st.lists(
        st.tuples(
            st.sampled_from([-331, -330, -329, 0, 1, 200, 388, 389, 390, 391, 869, 870, 871]) | HALVES,
            st.none() | st.sampled_from([0, 1, 2, 60, 500]),
            st.sampled_from(["open", "growing", "healed", "unhealable"]),
            st.sampled_from([None, "AAA", "BBB"]),
        ),
        max_size=5,
    ),
    st.sets(st.integers(0, 389)),
    st.none() | st.integers(-20, 800),
)
def test_each_minute_against_a_plain_reading(spans, minutes, known) -> None:
    """The gaps reach from before the day's start (-330 minutes) to after its end (870), in steps of half a minute."""
    spans = [(at / 2 if abs(at) <= 400 else at, long, status, symbol) for at, long, status, symbol in spans]
    ends = [None if long is None else at + long / 2 for at, long, _, _ in spans]
    gaps = [gap(at, end, status, symbol) for (at, _, status, symbol), end in zip(spans, ends, strict=True)]
    until = None if known is None else SESSION.regular_start + known * NS_PER_MINUTE // 2
    bars = pl.concat([busy("AAA", sorted(minutes) or [400]), busy("BBB", range(0, 390, 3))])
    others = quiet_day("AAA", "BBB", "CCC")
    found = covered(
        bars=bars, gaps=gaps_of(*gaps) if gaps else None, known_until=until, symbols=("CCC",), other_days=others
    )
    day = [(at - SESSION.regular_start) / NS_PER_MINUTE for at in (SESSION.day_start, SESSION.day_end)]
    has_bar = {"AAA": minutes, "BBB": set(range(0, 390, 3)), "CCC": set()}
    for symbol, own in has_bar.items():
        touching = [
            (at, day[1] if end is None else end, status)
            for (at, _, status, of), end in zip(spans, ends, strict=True)
            if of in (None, symbol)
        ]
        touching = [(at, end, status) for at, end, status in touching if at < end and end > day[0] and at < day[1]]
        state = {"received": 0, "healed": 0, "silent": 0, "missing": 0}
        for minute in range(390):
            hit = {status == "healed" for at, end, status in touching if at < minute + 1 and end > minute}
            if False in hit or (known is not None and minute >= known / 2):
                state["missing"] += 1
            elif minute not in own:
                state["silent"] += 1
            else:
                state["healed" if hit else "received"] += 1
        row = found[symbol]
        assert {name: row[f"{name}_minutes"] for name in state} == state
        open_gaps = sum(status != "healed" for *_, status in touching)
        assert (row["open_gaps"], row["is_complete"]) == (open_gaps, not (open_gaps or state["missing"]))
        edges = [-1, *sorted(own), 390]
        longest = max(later - earlier - 1 for earlier, later in pairwise(edges))
        assert row["longest_gap_minutes"] == longest


def state(row: dict) -> tuple[int, int, int, bool]:
    return row["received_minutes"], row["silent_minutes"], row["missing_minutes"], row["is_complete"]


def test_a_few_rows_of_a_day_are_no_whole_day_unless_the_symbol_is_usually_as_quiet() -> None:
    crypto = session_of(Market.CRYPTO, dt.date(2024, 6, 4))

    def rows(minutes, symbol="X:AAA-USD"):
        return tape_of([(60 * minute, 1, 1) for minute in minutes], symbol=symbol, session=crypto)[0]

    six = [10, 200, 500, 800, 1100, 1400]
    assert state(covered(bars=rows(six), session=crypto)["X:AAA-USD"]) == (6, 0, 1434, False)
    busy_day = [(crypto, rows(range(1440)))]
    row = covered(bars=rows(six), session=crypto, other_days=busy_day)["X:AAA-USD"]
    assert state(row) == (6, 0, 1434, False)
    assert row["reason"].startswith("1434 minutes without a row from ")
    assert row["reason"].endswith(" on: on other days it has rows then")
    quiet = [(crypto, rows([20, 300, 600, 700, 1000, 1300]))]
    assert state(covered(bars=rows(six), session=crypto, other_days=quiet)["X:AAA-USD"]) == (6, 1434, 0, True)
    # A neighbour in every minute shows that the feed was up.
    both = pl.concat([rows(six), rows(range(1440), "X:BBB-USD")])
    assert state(covered(bars=both, session=crypto)["X:AAA-USD"]) == (6, 1434, 0, True)
    # Where the neighbour pauses for an hour, that hour is not known.
    pause = pl.concat([rows(six), rows([m for m in range(1440) if not 600 <= m < 660], "X:BBB-USD")])
    assert state(covered(bars=pause, session=crypto)["X:AAA-USD"]) == (6, 1374, 60, False)


def test_a_symbol_that_ends_within_a_day_is_not_whole() -> None:
    bars = pl.concat([busy("FB", range(150)), busy("AAA")])
    for others in ([], [(SESSION, pl.concat([busy("FB"), busy("AAA")]))]):
        rows = covered(bars=bars, other_days=others)
        assert state(rows["FB"]) == (150, 0, 240, False)
        assert state(rows["AAA"]) == (390, 0, 0, True)
        assert rows["AAA"]["reason"] is None
        assert "240 minutes without a row from 17:00 UTC" in rows["FB"]["reason"]


def test_the_habit_is_that_of_the_time_of_day() -> None:
    mornings = [(SESSION, busy("AAA", range(200)))] * 2
    assert state(covered(bars=busy("AAA", range(200)), other_days=mornings)["AAA"]) == (200, 190, 0, True)
    found = covered(bars=busy("AAA", range(190, 390)), other_days=mornings)["AAA"]
    assert state(found) == (200, 0, 190, False)


def test_own_quotes_show_that_the_feed_was_up() -> None:
    quotes = tape_of(quotes=[(60 * minute, 1, 2) for minute in range(390)])[1]
    assert state(covered(quotes=quotes, bars=busy("AAA", [7, 200]))["AAA"]) == (2, 388, 0, True)


def test_pauses_of_a_symbol_that_trades_in_most_minutes_are_silence() -> None:
    scattered = [minute for minute in range(390) if minute not in (5, 100, 101, 389)]
    assert state(covered(bars=busy("AAA", scattered))["AAA"]) == (386, 4, 0, True)
    pause = [minute for minute in range(390) if not 100 <= minute < 110]
    assert state(covered(bars=busy("AAA", pause))["AAA"]) == (380, 0, 10, False)


def test_expected_minutes_are_those_of_the_product() -> None:
    early = session_of(Market.FUTURES, dt.date(2025, 11, 28))
    bars = pl.concat(
        [
            tape_of([(60 * minute, 1, 1) for minute in range(closes)], symbol=symbol, session=early)[0]
            for symbol, closes in (("ESZ5", 1155), ("GCG6", 1185))
        ]
    )
    rows = covered(bars=bars, session=early, symbols=("LEG6",))
    assert {symbol: row["expected_minutes"] for symbol, row in rows.items()} == {
        "ESZ5": 1155,
        "GCG6": 1185,
        "LEG6": 215,
    }
    assert (rows["ESZ5"]["is_complete"], rows["GCG6"]["is_complete"]) == (True, True)
    assert state(rows["LEG6"]) == (0, 0, 215, False)
    mourning = session_of(Market.FUTURES, dt.date(2025, 1, 9))
    assert covered(session=mourning, symbols=("ESH5",))["ESH5"]["expected_minutes"] == 930


def test_a_closed_product_lacks_nothing() -> None:
    row = covered(session=session_of(Market.FUTURES, dt.date(2025, 1, 20)), symbols=("ZCH5",))["ZCH5"]
    assert (row["expected_minutes"], row["missing_minutes"], row["is_complete"]) == (0, 0, True)


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
    assert {row["silent_minutes"] for row in rows.values()} <= {0, 1}
    assert all(row["is_complete"] for row in rows.values())
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
    assert (row["expected_minutes"], row["silent_minutes"]) == (210, 0)


@pytest.mark.real_tape
@pytest.mark.parametrize("day", [dt.date(2008, 3, 7), dt.date(2008, 3, 10)])
def test_days_either_side_of_summer_time_are_measured_on_their_own_hours(market_data, day) -> None:
    bars = recorded_bars(market_data, day)
    row = covered(bars=bars, session=stock_session(day))["SHY"]
    within = bars.filter(
        pl.col("time").dt.convert_time_zone("America/New_York").dt.time().is_between(dt.time(9, 30), dt.time(15, 59))
    )
    assert row["received_minutes"] == within.height
