"""The recorded quotes against their recorded minute bars, and their known faults."""

import polars as pl
import pytest

from tapewatch.features.microstructure import microstructure
from tests.support.recorded import TICK_DAYS, recorded_quote_bars, recorded_quotes, recorded_trades
from tests.support.tapes import stock_session

pytestmark = pytest.mark.real_tape
NAME = pl.col("symbol").cast(pl.String)


@pytest.fixture(scope="module")
def days(market_data) -> list[tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]]:
    """For each tick day its quotes, its recorded quote bars in regular hours, and the microstructure made of it."""
    found = []
    for day in TICK_DAYS:
        session, quotes = stock_session(day), recorded_quotes(market_data, day)
        start = pl.col("time").to_physical()
        bars = recorded_quote_bars(market_data, day).filter(
            start.is_between(session.regular_start, session.regular_end, closed="left")
            & pl.col("symbol").is_in(quotes["symbol"].cast(pl.String).unique().to_list())
        )
        found.append((quotes, bars, microstructure(recorded_trades(market_data, day), quotes, session)))
    return found


@pytest.mark.long
def test_the_last_quote_of_each_regular_minute_is_the_recorded_one(days) -> None:
    names = ("bid_price", "ask_price", "bid_size", "ask_size")
    equal = 0
    for quotes, bars, _ in days:
        last = quotes.group_by(NAME, pl.col("time").dt.truncate("1m")).agg(pl.col(*names).last())
        joined = bars.join(last, on=["symbol", "time"], how="left", suffix="_tick")
        equal += joined.filter(
            (pl.col("bid_close") == pl.col("bid_price"))
            & (pl.col("ask_close") == pl.col("ask_price"))
            & (pl.col("bid_size") == pl.col("bid_size_tick"))
            & (pl.col("ask_size") == pl.col("ask_size_tick"))
        ).height
    assert sum(bars.height for _, bars, _ in days) == equal == 3510


def test_the_midpoint_of_each_regular_minute_is_that_of_the_recorded_quote_bar(days) -> None:
    """A bar that closes on a crossed quote has no valid midpoint; there the feature keeps the last valid one."""
    for _, bars, rows in days:
        joined = bars.join(
            rows.select(NAME, time="event_time", mid="mid_price"), on=["symbol", "time"], how="left"
        ).filter(pl.col("bid_close") <= pl.col("ask_close"))
        assert joined.height > 1160
        assert (joined["mid"] - (joined["bid_close"] + joined["ask_close"]) / 2).abs().max() < 1e-9


def test_crossed_quotes_are_those_known(days) -> None:
    known = [{"AIG": 95, "BAC": 0, "IBM": 43}, {"AIG": 188, "BAC": 0, "IBM": 40}, {"AIG": 54, "BAC": 0, "IBM": 57}]
    for (quotes, _, rows), expected in zip(days, known, strict=True):
        is_two_sided = (pl.col("bid_price") > 0) & (pl.col("ask_price") > 0)
        is_crossed = is_two_sided & (pl.col("bid_price") > pl.col("ask_price"))
        assert dict(quotes.group_by(NAME).agg(is_crossed.sum()).rows()) == expected
        # Share of crossed quotes times number of two-sided quotes gives the number of crossed quotes.
        counts = quotes.filter(is_two_sided).group_by("symbol", event_time=pl.col("time").dt.truncate("1m")).len()
        shares = rows.join(counts, on=["symbol", "event_time"]).group_by(NAME)
        back = dict(shares.agg((pl.col("crossed_share") * pl.col("len")).sum().round()).rows())
        assert back == expected


def test_every_quote_is_counted_and_spy_has_none(days) -> None:
    for quotes, _, rows in days:
        counted = dict(rows.group_by(NAME).agg(pl.col("quote_count").sum()).rows())
        assert counted.pop("SPY") == 0
        assert rows.filter(NAME == "SPY")["quote_count"].is_null().all()
        assert counted == dict(quotes.group_by(NAME).len().rows())
