"""Every feature worked out by hand on tapes small enough to do so."""

import datetime as dt
import math

import polars as pl
import pytest

from tapewatch.features.microstructure import microstructure
from tapewatch.market.instruments import NS_PER_MINUTE, Market, session_of
from tapewatch.market.tables.tape import MICROSTRUCTURE, QUOTES, TRADES
from tests.support.tapes import stock_session, tape_of

SESSION = stock_session()
QUOTE_FEATURES = (
    "mid_price", "quoted_spread_bps", "effective_spread_bps", "realised_spread_bps", "spread_ratio", "depth_imbalance",
    "best_level_ofi", "quote_count", "quote_rate_hz", "quote_count_ratio", "crossed_share", "quote_age_s",
)  # fmt: skip


def rows_of(trades=(), quotes=(), session=SESSION, symbol="AAA", **options) -> dict[int, dict]:
    """Rows by session minute."""
    rows = microstructure(*tape_of(trades, quotes, session=session, symbol=symbol), session, **options)
    MICROSTRUCTURE.check(rows)
    return {row["session_minute"]: row for row in rows.to_dicts()}


def bps(quotient: float) -> float:
    return 1e4 * math.log(quotient)


@pytest.fixture(scope="module")
def minute() -> dict:
    """The first regular minute of a tape with a valid, a better and then a crossed quote."""
    trades = [(5, 10.02, 100), (10, 10.00, 50), (30, 10.03, 200), (55, 10.01, 10), (55, 10.00, 40, "2")]
    quotes = [(-30, 10.00, 10.02, 100, 300), (20, 10.02, 10.04, 200, 200), (50, 10.04, 10.02, 100, 100)]
    return rows_of(trades, quotes)[0]


def test_activity(minute) -> None:
    assert minute["trade_count"] == 5
    assert minute["volume"] == 400
    assert minute["notional"] == pytest.approx(1002 + 500 + 2006 + 100.1 + 400)
    assert minute["trade_age_s"] == 5
    assert minute["is_regular"]
    assert minute["known_time"] - minute["event_time"] == dt.timedelta(minutes=1)


def test_sides(minute) -> None:
    """Above the midpoint bought, below it sold; at it, and while the quote is crossed, by the tick. Code 2 has no side."""
    assert (minute["buy_volume"], minute["buy_count"]) == (300, 2)
    assert (minute["sell_volume"], minute["sell_count"]) == (60, 2)
    assert minute["order_flow_imbalance"] == pytest.approx(240 / 360)


def test_prices(minute) -> None:
    assert minute["last_price"] == 10.01
    assert minute["return_bps"] is None
    assert minute["range_bps"] == pytest.approx(bps(10.03 / 10.00))
    steps = [10.00 / 10.02, 10.03 / 10.00, 10.01 / 10.03]
    assert minute["realised_volatility_bps"] == pytest.approx(math.sqrt(sum(bps(step) ** 2 for step in steps)))
    assert minute["drawdown_bps"] == pytest.approx(bps(10.03 / 10.01))


def test_spreads(minute) -> None:
    assert minute["mid_price"] == pytest.approx(10.03)
    assert minute["quoted_spread_bps"] == pytest.approx(1e4 * (20 * 0.02 / 10.01 + 30 * 0.02 / 10.03) / 50)
    assert minute["effective_spread_bps"] == pytest.approx(1e4 * (150 * 2 * 0.01 / 10.01) / 350)
    # Two trades reach their 30 s in this minute; the third does so in the next, under a crossed quote.
    bought, sold = 100 * (10.02 - 10.03), 50 * -(10.00 - 10.03)
    assert minute["realised_spread_bps"] == pytest.approx(2e4 * (bought + sold) / 10.01 / 150)


def test_quotes(minute) -> None:
    assert minute["quote_count"] == 2
    assert minute["quote_rate_hz"] == pytest.approx(2 / 60)
    assert minute["crossed_share"] == 0.5
    assert minute["quote_age_s"] == 10
    assert minute["depth_imbalance"] == pytest.approx((20 * (100 - 300) / 400) / 50)


def test_best_level_imbalance_adds_and_removes_sizes() -> None:
    quotes = [(0, 10, 12, 5, 7), (1, 10, 12, 8, 7), (2, 10, 11, 8, 2), (3, 9, 11, 1, 1)]
    # +3 bid size; the ask improves with 2; the bid of 8 falls away while the ask loses 1 of its 2.
    contributions = [3, -2, -8 + 1]
    expected = sum(contributions) / sum(map(abs, contributions))
    assert rows_of(quotes=quotes)[0]["best_level_ofi"] == pytest.approx(expected)


def test_rows_are_the_regular_minutes_and_those_with_ticks() -> None:
    rows = rows_of([(-600, 10, 1)], [(400 * 60 + 1, 10, 11)])
    assert sorted(rows) == [-10, *range(390), 400]
    assert [minute for minute, row in rows.items() if row["is_regular"]] == list(range(390))


def test_half_day() -> None:
    session = stock_session(dt.date(2015, 12, 24))
    assert sorted(rows_of([(0, 10, 1)], session=session)) == list(range(210))


def test_silence_keeps_what_is_in_force_and_ages() -> None:
    row = rows_of([(0, 10, 1), (1, 11, 1)], [(0, 10, 11)])[2]
    assert (row["last_price"], row["mid_price"], row["volume"], row["quote_count"]) == (11, 10.5, 0, 0)
    assert (row["return_bps"], row["realised_volatility_bps"]) == (0, 0)
    assert (row["trade_age_s"], row["quote_age_s"]) == (179, 180)
    assert row["quoted_spread_bps"] == pytest.approx(1e4 / 10.5)
    assert row["order_flow_imbalance"] is None
    assert row["range_bps"] is None


def test_one_trade() -> None:
    rows = rows_of([(90, 10, 5)])
    assert rows[0]["last_price"] is None
    assert rows[0]["trade_age_s"] == (SESSION.regular_start - SESSION.day_start) / 1e9 + 60
    assert (rows[1]["volume"], rows[1]["last_price"], rows[1]["trade_age_s"]) == (5, 10, 30)
    assert (rows[1]["buy_count"], rows[1]["sell_count"]) == (0, 0)
    assert rows[1]["realised_volatility_bps"] is None


def test_without_quotes_quote_features_are_null_and_the_rest_stands() -> None:
    tape, _ = tape_of([(second, 10 + second * second % 7 / 100, 100) for second in range(3600)])
    without = microstructure(tape, None, SESSION)
    assert without.equals(microstructure(tape, QUOTES.empty(), SESSION))
    assert all(without[name].is_null().all() for name in QUOTE_FEATURES)
    late = without.row(59, named=True)
    assert all(late[name] is not None for name in late if name not in QUOTE_FEATURES)


def test_quote_features_are_null_until_the_first_quote() -> None:
    rows = rows_of([(0, 10, 1)], [(61, 10, 11)])
    assert rows[0]["quote_count"] is None
    assert (rows[1]["quote_count"], rows[2]["quote_count"]) == (1, 0)


def test_a_one_sided_quote_ends_the_one_before() -> None:
    row = rows_of([(30, 10.5, 1)], [(0, 10, 11), (10, 10, 0)])[0]
    assert row["quoted_spread_bps"] == pytest.approx(1e4 / 10.5)
    assert row["effective_spread_bps"] is None
    assert row["crossed_share"] == 0
    assert row["quote_count"] == 2
    assert rows_of(quotes=[(0, 0, 11)])[0]["mid_price"] is None


def test_a_locked_quote_counts_with_spread_zero() -> None:
    row = rows_of([(30, 10.1, 1)], [(0, 10, 10)])[0]
    assert row["quoted_spread_bps"] == 0
    assert row["buy_count"] == 1
    assert row["crossed_share"] == 0


def test_a_midpoint_that_is_not_exact_in_binary_is_still_the_midpoint() -> None:
    row = rows_of([(1, 10.1, 1), (2, 10.015, 1)], [(0, 10.01, 10.02)])[0]
    assert (row["buy_count"], row["sell_count"]) == (1, 1)


def test_the_quote_in_force_is_strictly_earlier() -> None:
    row = rows_of([(0, 10.04, 1), (1, 10.08, 1)], [(-1, 10, 10.1), (1, 10, 11)])[0]
    assert (row["buy_count"], row["sell_count"]) == (1, 1)


def test_trades_of_one_instant_count_in_their_order() -> None:
    assert rows_of([(1, 10, 1), (1, 11, 1)])[0]["last_price"] == 11
    assert rows_of([(1, 11, 1), (1, 10, 1)])[0]["last_price"] == 10


def test_zero_sizes_weigh_nothing() -> None:
    row = rows_of([(1, 10.1, 0), (2, 10.2, 0)], [(0, 10, 10.1, 0, 0)])[0]
    assert (row["trade_count"], row["volume"], row["buy_count"], row["last_price"]) == (2, 0, 2, 10.2)
    assert row["effective_spread_bps"] is None
    assert row["depth_imbalance"] is None


def test_withdrawn_trades_count_for_nothing() -> None:
    trades, quotes = tape_of([(1, 10, 1), (2, 20, 5)])
    row = microstructure(trades.with_columns(correction=pl.Series([0, 8], dtype=pl.Int8)), quotes, SESSION).row(
        0, named=True
    )
    assert (row["trade_count"], row["last_price"], row["trade_age_s"]) == (1, 10, 59)


def test_forex_states_no_sizes_and_has_no_trades() -> None:
    session = session_of(Market.FOREX, dt.date(2024, 3, 6))
    trades, quotes = tape_of(quotes=[(0, 1.1, 1.2), (30, 1.2, 1.3)], session=session, symbol="C:EUR-USD")
    quotes = quotes.with_columns(bid_size=pl.lit(None, pl.Float64), ask_size=pl.lit(None, pl.Float64))
    row = microstructure(trades, quotes, session).row(0, named=True)
    assert row["quoted_spread_bps"] == pytest.approx(1e4 * (0.1 / 1.15 + 0.1 / 1.25) / 2)
    assert row["depth_imbalance"] is None
    assert row["best_level_ofi"] is None


def test_in_forex_midquotes_stand_for_prices() -> None:
    session = session_of(Market.FOREX, dt.date(2024, 3, 6))
    # The crossed quote gives no price; the last of a five-second interval counts.
    made = [(0, 1.0, 1.2), (1, 1.1, 1.3), (2, 1.0, 1.1), (3, 1.3, 1.2), (10, 1.2, 1.4), (70, 1.0, 1.1)]
    trades, quotes = tape_of(quotes=made, session=session, symbol="C:EUR-USD")
    first, second = microstructure(trades, quotes, session).head(2).to_dicts()
    assert (first["last_price"], second["last_price"]) == (pytest.approx(1.3), pytest.approx(1.05))
    assert first["range_bps"] == pytest.approx(1e4 * math.log(1.3 / 1.05))
    assert second["return_bps"] == pytest.approx(1e4 * math.log(1.05 / 1.3))
    assert first["realised_volatility_bps"] == pytest.approx(1e4 * math.log(1.3 / 1.05))
    assert second["drawdown_bps"] == pytest.approx(1e4 * math.log(1.3 / 1.05))
    assert (first["trade_count"], first["volume"], first["order_flow_imbalance"]) == (0, 0, None)
    assert (first["roll_spread_bps"], first["effective_spread_bps"]) == (None, None)


def test_crypto_sides_are_the_vendors_codes() -> None:
    session = session_of(Market.CRYPTO, dt.date(2024, 3, 5))
    trades = [(1, 10, 0.5, "1"), (2, 11, 0.25, "2"), (3, 12, 1, ""), (4, 13, 1, "0")]
    row = rows_of(trades, [(0, 1, 2)], session=session, symbol="X:BTC-USD")[0]
    assert (row["sell_volume"], row["buy_volume"], row["volume"]) == (0.5, 0.25, 2.75)
    assert row["is_regular"]


def test_an_empty_tape_has_no_rows_unless_symbols_are_named() -> None:
    assert microstructure(TRADES.empty(), QUOTES.empty(), SESSION).equals(MICROSTRUCTURE.empty())
    rows = microstructure(TRADES.empty(), None, SESSION, symbols=["BBB", "AAA"])
    MICROSTRUCTURE.check(rows)
    assert rows.height == 2 * 390
    assert rows["symbol"].cast(pl.String).unique().sort().to_list() == ["AAA", "BBB"]


def test_minutes_that_end_later_are_left_out() -> None:
    cut = SESSION.regular_start + 10 * NS_PER_MINUTE
    assert sorted(rows_of([(0, 1, 1)], through_ns=cut)) == list(range(10))
    assert sorted(rows_of([(0, 1, 1)], through_ns=cut - 1)) == list(range(9))


def test_ratios_compare_with_the_minutes_before() -> None:
    trades = [(60 * minute + second, 10, 100) for minute in range(40) for second in range(minute % 2 + 1)]
    trades += [(60 * 40 + second, 10, 100) for second in range(12)]
    rows = rows_of(trades, [(60 * minute, 10, 10.01 + minute / 1000) for minute in range(41)])
    assert rows[4]["volume_ratio"] is None
    assert rows[5]["volume_ratio"] == pytest.approx(200 / (700 / 5))
    assert rows[40]["volume_ratio"] == pytest.approx(12 / 1.5)
    assert rows[40]["trade_count_ratio"] == pytest.approx(12 / 1.5)
    assert rows[40]["quote_count_ratio"] == 1
    before = [rows[minute]["quoted_spread_bps"] for minute in range(10, 40)]
    assert rows[40]["spread_ratio"] == pytest.approx(rows[40]["quoted_spread_bps"] * 30 / sum(before))


def test_sustained_volume_is_the_least_volume_over_the_half_hour_before() -> None:
    usual = [(60 * minute, 10, 100) for minute in range(40)]
    spike = [(60 * 40, 10, 900), (60 * 41, 10, 500), (60 * 42, 10, 700), (60 * 43, 10, 100)]
    row = rows_of([*usual, *spike])
    of_two = [row[minute]["sustained_volume_2m"] for minute in range(39, 45)]
    of_three = [row[minute]["sustained_volume_3m"] for minute in range(39, 45)]
    # The spike is measured against minutes before it, until it has become part of them.
    assert of_two == pytest.approx([1, 1, 5, 500 / (3800 / 30), 100 / (4200 / 30), 0])
    assert of_three == pytest.approx([1, 1, 1, 5, 100 / (3800 / 30), 0])
    assert (row[5]["sustained_volume_2m"], row[6]["sustained_volume_2m"]) == (None, 1)
    assert (row[6]["sustained_volume_3m"], row[7]["sustained_volume_3m"]) == (None, 1)


def test_volume_is_not_sustained_across_a_minute_without_a_row() -> None:
    """Before the open a silent minute has no row; its neighbours do not replace it."""
    trades = [(60 * minute, 10, 100) for minute in range(-60, 0) if minute != -20]
    row = rows_of(trades)
    assert -20 not in row
    assert [row[minute]["sustained_volume_2m"] for minute in (-21, -19)] == [1, 0]
    assert row[-18]["sustained_volume_2m"] == pytest.approx(30 / 29)
    assert row[-18]["sustained_volume_3m"] == 0


def test_one_sidedness_is_counted_over_minutes_while_it_lasts() -> None:
    """Nine buys and no sell: the score is the root of their number, and 0 once sellers take over."""
    buys = [(60 * minute + second, 10.02, 1) for minute in range(3) for second in (10, 20, 30)]
    sells = [(60 * 3 + 10, 10.00, 1)]
    row = rows_of([*buys, *sells], [(-5, 10.00, 10.02)])
    assert [row[minute]["flow_score_3m"] for minute in range(5)] == pytest.approx([3**0.5, 6**0.5, 3, 0, 0])
    assert row[2]["flow_score_5m"] == 3
    assert row[6]["flow_score_3m"] is None, "no trade for three minutes"


def test_the_tape_age_is_that_of_the_last_trade_or_quote() -> None:
    row = rows_of([(5, 10, 1), (200, 10, 1)], [(20, 9, 11)])
    assert [row[minute]["tape_age_s"] for minute in (0, 1, 2, 3)] == [40, 100, 160, 40]
    assert rows_of([(5, 10, 1)])[0]["tape_age_s"] == 55


def test_windows_do_not_reach_across_the_open() -> None:
    trades = [(60 * minute, 10, 1e6) for minute in range(-30, 0)] + [(60 * minute, 10, 100) for minute in range(8)]
    rows = rows_of(trades)
    assert rows[4]["volume_ratio"] is None
    assert rows[5]["volume_ratio"] == 1


def test_returns_against_their_usual_size() -> None:
    prices = [100.0]
    for minute in range(20):
        prices.append(prices[-1] * math.exp(1e-4 * (-1) ** minute))
    prices.append(prices[-1] * math.exp(10e-4))
    row = rows_of([(60 * minute, price, 1) for minute, price in enumerate(prices)])[21]
    assert row["return_bps"] == pytest.approx(10)
    assert row["return_score"] == pytest.approx(10)
    assert row["trailing_return_bps"] == pytest.approx(bps(prices[21] / prices[0]))


def test_roll_finds_the_bounce() -> None:
    row = rows_of([(second, 10 + 0.02 * (second % 2), 1) for second in range(59)])[0]
    # 57 pairs of changes that alternate: their mean is 0.02 / 57 at the most, the products all -0.0004.
    assert row["roll_spread_bps"] == pytest.approx(2e4 * math.sqrt(0.0004 - (0.02 / 57) ** 2) / 10, rel=1e-6)
    assert rows_of([(second, 10 + 0.01 * second, 1) for second in range(59)])[0]["roll_spread_bps"] == 0
    assert rows_of([(second, 10 + 0.02 * (second % 2), 1) for second in range(21)])[0]["roll_spread_bps"] is None


def test_amihud_is_the_mean_return_per_million() -> None:
    returns = [3, -1, 2, -2, 7, -4]
    price, trades = 100.0, [(0, 100.0, 10_000)]
    for minute, step in enumerate(returns, 1):
        price *= math.exp(step / 1e4)
        trades.append((60 * minute, price, 2e6 / price))
    rows = rows_of(trades)
    assert rows[4]["amihud_illiquidity"] is None
    assert rows[5]["amihud_illiquidity"] == pytest.approx((3 + 1 + 2 + 2 + 7) / 2 / 5)
    assert rows[6]["amihud_illiquidity"] == pytest.approx(sum(map(abs, returns)) / 2 / 6)


def test_kyle_finds_the_slope() -> None:
    price, trades = 100.0, [(0, 100.0, 1)]
    for minute, step in enumerate([3, -1, 2, -2, 7, -4, 5, -6, 1, -3, 2, 4], 1):
        price *= math.exp(step / 1e4)
        trades.append((60 * minute, price, abs(step) / 2.5 * 1e6 / price))
    rows = rows_of(trades)
    assert rows[9]["kyle_lambda"] is None
    assert rows[12]["kyle_lambda"] == pytest.approx(2.5)


@pytest.mark.parametrize("fault", ["unsorted trades", "unsorted quotes", "another day"])
def test_unsorted_tapes_and_those_of_another_day_are_refused(fault) -> None:
    trades, quotes = tape_of([(0, 10, 1), (1, 20, 2)], [(0, 1, 2), (1, 1, 2)])
    match fault:
        case "unsorted trades":
            trades = trades.reverse()
        case "unsorted quotes":
            quotes = quotes.reverse()
        case _:
            quotes = quotes.with_columns(pl.col("time").dt.offset_by("1d"))
    with pytest.raises(ValueError, match="a feed should have refused them"):
        microstructure(trades, quotes, SESSION)
