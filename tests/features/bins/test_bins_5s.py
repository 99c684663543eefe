"""Bins of five seconds: worked by hand, against a plain recount, and without the future."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tapewatch.features.bins.batch import bins_5s
from tapewatch.features.bins.kernel import pass_bins
from tapewatch.features.bins.records import BIN, BIN_NS, fresh_states
from tapewatch.features.records import Span
from tapewatch.features.sums import flat_quotes
from tapewatch.market.arrays import flat_trades, session_bounds
from tapewatch.market.conditions import STOCK_UPDATE_RULES
from tapewatch.market.instruments import NS_PER_SECOND, Market
from tapewatch.market.tables.derived import BINS_5S
from tapewatch.market.tables.tape import TIME
from tests.support.recorded import TICK_DAYS, recorded_quotes, recorded_trades
from tests.support.synthetic_days import days, synthetic_day
from tests.support.tapes import stock_session, tape_of

SESSION = stock_session()


def row(bins: pl.DataFrame, second: float) -> dict[str, object]:
    """The bin that starts so many seconds after the open."""
    start = SESSION.regular_start + round(second * NS_PER_SECOND)
    return bins.filter(pl.col("event_time").dt.epoch("ns") == start).row(0, named=True)


def at(second: float) -> object:
    """A time so many seconds after the open, as Polars gives it out."""
    return pl.Series([SESSION.regular_start + round(second * NS_PER_SECOND)]).cast(TIME)[0]


def test_a_bin_worked_by_hand() -> None:
    trades, quotes = tape_of(
        [
            (5.25, 10.02, 100),  # at the offer
            (5.28, 10.02, 400),  # the same tenth of a second
            (6.0, 10.01, 900),  # between: no side
            (9.99, 10.00, 25),  # at the bid
            (9.995, 10.02, 100, "8"),  # closing print: an auction
        ],
        [
            (1.0, 10.00, 10.02),
            (7.5, 10.00, 10.02, 300.0, 100.0),
            (7.55, 10.00, 10.02, 200.0, 100.0),
            (8.5, 10.00, 10.04),
        ],
    )
    found = row(bins_5s(trades, quotes, SESSION), 5)
    narrow, wide = 1e4 * 0.02 / 10.01, 1e4 * 0.04 / 10.02
    assert found["trade_slots"] == 3
    assert found["quote_slots"] == 2
    assert found["size_quote_slots"] == 1
    assert found["size_quotes"] == 2
    assert found["side_sum"] == 1
    assert found["side_count"] == 3
    assert found["root_size"] == pytest.approx(10 + 20 + 30 + 5)
    assert found["signed_root_size"] == pytest.approx(10 + 20 - 5)
    # The full seconds 6 to 10 after the open: three before the spread widened, two after.
    assert found["spread_bps"] == pytest.approx((3 * narrow + 2 * wide) / 5)
    assert found["standing_spread_bps"] == pytest.approx(wide)
    assert found["price"] == pytest.approx(10.02)
    assert found["last_tick"] == at(9.99)
    assert found["known_time"] == at(10)


def test_a_quote_of_the_same_instant_does_not_sign_a_trade() -> None:
    trades, quotes = tape_of([(10.0, 10.02, 100)], [(1.0, 10.02, 10.04), (10.0, 10.00, 10.02)])
    assert row(bins_5s(trades, quotes, SESSION), 10)["side_sum"] == -1


def test_without_quotes_price_is_the_median_print_and_sides_follow_the_ticks() -> None:
    prints = [
        (second, price, 1.0) for second, price in ((0.1, 10), (0.6, 11), (1.1, 50), (1.6, 12), (2.1, 13), (2.6, 14))
    ]
    found = row(bins_5s(tape_of(prints)[0], None, SESSION), 0)
    assert found["price"] == 13
    assert found["side_sum"] == 1 + 1 - 1 + 1 + 1
    assert found["spread_bps"] is None


def test_silent_bins_have_no_row_and_the_first_always_has() -> None:
    trades, quotes = tape_of([(100, 10.0, 1)], [(-5, 9.99, 10.01)])
    bins = bins_5s(trades, quotes, SESSION)
    assert (bins["event_time"].dt.epoch("ns") - SESSION.regular_start).to_list() == [0, 100 * NS_PER_SECOND]
    assert row(bins, 0)["price"] == pytest.approx(10.0)
    assert row(bins, 0)["trade_slots"] == 0


def test_bad_tape_gives_nulls_never_infinity() -> None:
    trades, quotes = tape_of([(1, 10.0, 0.0)], [(0.5, 0.0, 10.0), (1.5, 10.02, 10.0), (2.5, 0.0, 0.0)])
    bins = bins_5s(trades, quotes, SESSION)
    assert not list(BINS_5S.problems(bins, Market.STOCKS))
    assert row(bins, 0)["spread_bps"] is None
    assert bins_5s(trades.clear(), None, SESSION).is_empty()


@pytest.mark.parametrize("market", [Market.STOCKS, Market.CRYPTO])
def test_cutting_the_future_changes_no_bin(market: Market) -> None:
    day = synthetic_day(market, days(market)[0])
    whole = bins_5s(day.trades, day.quotes, day.session)
    for share in (0.1, 0.37, 0.8):
        end = day.session.regular_start + int((day.session.regular_end - day.session.regular_start) * share)
        end -= end % BIN_NS
        before = pl.col("time") < pl.lit(end).cast(TIME)
        cut = bins_5s(day.trades.filter(before), day.quotes.filter(before), day.session)
        known = pl.col("known_time") <= pl.lit(end).cast(TIME)
        assert_frame_equal(cut.filter(known), whole.filter(known))


def test_passed_in_parts_equals_passed_at_once() -> None:
    day = synthetic_day(Market.STOCKS, days(Market.STOCKS)[0])
    _, trades = flat_trades(day.trades, day.session, STOCK_UPDATE_RULES)
    _, quotes = flat_quotes(day.quotes)
    hours, rng = session_bounds(day.session), np.random.default_rng(3)
    auction = np.zeros(trades.traits.size, dtype=np.bool_)
    ends = np.sort(rng.integers(hours.regular_start, hours.regular_end, 40)) // BIN_NS * BIN_NS

    def passed(stops: list[int]) -> np.ndarray:
        state, first_trade, first_quote, pieces = fresh_states(1)[0], 0, 0, []
        for stop in stops:
            last_trade = int(np.searchsorted(trades.time[: trades.offsets[1]], stop))
            last_quote = int(np.searchsorted(quotes.time[: quotes.offsets[1]], stop))
            out, span = np.zeros(5000, dtype=BIN), Span(first_trade, last_trade, first_quote, last_quote)
            pieces.append(out[: pass_bins(trades, auction, quotes, span, hours, 0.0, False, state, stop, out)])
            first_trade, first_quote = last_trade, last_quote
        return np.concatenate(pieces)

    at_once, in_parts = passed([hours.day_end]), passed([*ends.tolist(), hours.day_end])
    assert at_once.size > 3000
    assert at_once.tobytes() == in_parts.tobytes()


@pytest.mark.long
@pytest.mark.real_tape
def test_a_recorded_day_recounted_with_polars(market_data: Path) -> None:
    order = pl.col("symbol").cast(pl.String), "time", "sequence_number"
    trades, quotes = (read(market_data, TICK_DAYS[0]).sort(*order) for read in (recorded_trades, recorded_quotes))
    session = stock_session(TICK_DAYS[0])
    bins = bins_5s(trades, quotes, session)
    ns = pl.col("time").dt.epoch("ns")
    regular = ns.is_between(session.regular_start, session.regular_end, "left")
    codes = pl.col("conditions").cast(pl.String).str.split(",").list
    is_auction = pl.any_horizontal(codes.contains(code) for code in ("8", "15", "16", "25"))
    start = (ns - (ns - session.regular_start) % BIN_NS).cast(TIME)
    by = [pl.col("symbol").cast(pl.String), start.alias("event_time")]
    counted = (
        trades.filter(regular & ~is_auction)
        .group_by(by)
        .agg((ns // 10**8).n_unique().alias("trade_slots"), pl.col("size").sqrt().sum().alias("root_size"))
    )
    quoted = (
        quotes.with_columns(
            is_same=(pl.col("bid_price").diff().over("symbol") == 0) & (pl.col("ask_price").diff().over("symbol") == 0)
        )
        .filter(regular)
        .group_by(by)
        .agg(
            (ns // 10**8).n_unique().alias("quote_slots"),
            pl.col("is_same").sum().alias("size_quotes"),
            (ns // 10**8).filter(pl.col("is_same")).n_unique().alias("size_quote_slots"),
            mid=(pl.col("bid_price").last() + pl.col("ask_price").last()) / 2,
        )
    )
    both = (
        bins.with_columns(pl.col("symbol").cast(pl.String))
        .join(counted, on=["symbol", "event_time"], how="full", coalesce=True, suffix="_counted")
        .join(quoted, on=["symbol", "event_time"], how="left", suffix="_counted")
    )
    assert both.height == bins.height > 18_000
    for name in ("trade_slots", "quote_slots", "size_quotes", "size_quote_slots"):
        assert (both[name] == both[f"{name}_counted"].fill_null(0)).all(), name
    assert ((both["root_size"] - both["root_size_counted"].fill_null(0)).abs() < 1e-6).all()
    assert ((both["price"] - both["mid"]).abs().drop_nulls() < 1e-9).all()
