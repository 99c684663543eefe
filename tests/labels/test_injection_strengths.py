"""Anomalies at chosen strengths: consistent tapes, the strengths measured again, every kind and realisation."""

import datetime as dt
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tapewatch.emulator.synthetic.market import Synthetic
from tapewatch.labels.injection.measures import MEASURES, PRICE, measured, natural, seconds_of
from tapewatch.labels.injection.realisations import REALISATIONS
from tapewatch.labels.injection.strengths import MEASURED_EVENTS_SCHEMA, MeasuredTape, Nature, inject_at_strengths
from tapewatch.labels.injection.ticks import Ticks
from tapewatch.labels.truth import truth_minutes
from tapewatch.market.instruments import NS_PER_SECOND, Market, Session, session_of
from tapewatch.market.tables.tape import QUOTES, TRADES
from tests.support.recorded import TICK_DAYS, recorded_quotes, recorded_trades
from tests.support.synthetic_days import SYMBOLS
from tests.support.tapes import stock_session

Day = tuple[pl.DataFrame, pl.DataFrame, Session]
DATES = (dt.date(2024, 3, 4), dt.date(2024, 3, 5))


@cache
def clean(market: Market) -> list[Day]:
    """Two days of three symbols of the built-in market without anomalies."""
    found = []
    for date in DATES:
        session = session_of(market, date)
        assert session is not None
        tapes = [Synthetic(5, has_anomalies=False).day(symbol, date) for symbol in SYMBOLS[market][:3]]
        found.append((pl.concat(tape.trades for tape in tapes), pl.concat(tape.quotes for tape in tapes), session))
    return found


@cache
def nature(market: Market) -> Nature:
    """What is natural on these days."""
    return Nature.of(clean(market))


@cache
def injected(market: Market, realisation: int) -> MeasuredTape:
    """The first day with ten kinds in one realisation each."""
    return inject_at_strengths(*clean(market)[0], nature(market), seed=3, realisations=[realisation])


def beyond_the_book(trades: pl.DataFrame, quotes: pl.DataFrame) -> pl.DataFrame:
    """Trades outside the two-sided quote in force strictly before them."""
    two_sided = quotes.filter((pl.col("bid_price") > 0) & (pl.col("ask_price") > 0))
    book = two_sided.select(pl.col("symbol").cast(pl.String), "time", "bid_price", "ask_price").sort("time")
    joined = (
        trades.with_columns(pl.col("symbol").cast(pl.String))
        .sort("time")
        .join_asof(book, on="time", by="symbol", allow_exact_matches=False)
    )
    low, high = pl.min_horizontal("bid_price", "ask_price"), pl.max_horizontal("bid_price", "ask_price")
    return joined.filter((pl.col("price") < low - 1e-9) | (pl.col("price") > high + 1e-9))


def again(tape: MeasuredTape, days: Nature, day: int, session: Session) -> pl.DataFrame:
    """The events with their measure taken from the finished tape, `ratio` to what was asked for."""
    rows = []
    for (symbol,), events in tape.events.group_by("symbol"):
        own = [
            frame.filter(pl.col("symbol") == symbol) if frame is not None else QUOTES.empty()
            for frame in (tape.trades, tape.quotes)
        ]
        grid = seconds_of(Ticks.between(*own, session.regular_start, session.regular_end, 0.01))
        for event in events.with_columns(pl.col("start_time", "end_time").dt.epoch("ns")).to_dicts():
            first, last = (
                (event[name] - session.regular_start) // NS_PER_SECOND for name in ("start_time", "end_time")
            )
            peers = None
            if event["kind"] == "correlation_break":
                peers = days.peer_prices(str(symbol), day)[:, first:last]
            value = measured(event["kind"], grid[:, first:last], peers)
            rows.append({**event, "ratio": value / event["natural"] / event["strength"]})
    return pl.DataFrame(rows)


@pytest.mark.parametrize("market", [Market.STOCKS, Market.CRYPTO])
@pytest.mark.parametrize("realisation", [0, 1, 2])
def test_the_tape_stays_a_tape_and_the_strengths_are_those_asked_for(market: Market, realisation: int) -> None:
    trades, quotes, session = clean(market)[0]
    tape = injected(market, realisation)
    assert tape.quotes is not None
    for table, before, after in ((TRADES, trades, tape.trades), (QUOTES, quotes, tape.quotes)):
        table.check(after)
        assert table.duplicates(after) == 0
        assert after.equals(after.sort(pl.col("symbol").cast(pl.String), *table.sort[1:]))
        assert outside(before, tape.events).equals(outside(after, tape.events)), "outside the stretches nothing changes"
    assert tape.trades.filter((pl.col("price") <= 0) | (pl.col("size") <= 0)).is_empty()
    if market is Market.STOCKS:
        assert all(is_whole(tape.trades["size"])), "whole shares"
        prices = tape.trades.join(trades, on=["symbol", "sequence_number", "exchange"], how="left", suffix="_was")
        # Half cents are those of prints that had them.
        moved = prices["price"] - prices["price_was"].fill_null(0)
        assert (is_whole(moved * 100) | is_whole(prices["price"] * 100)).all(), "whole cents"
        assert all(is_whole(tape.quotes[side] * 100).all() for side in ("bid_price", "ask_price"))
    names = ["symbol", "time", "price", "size"]
    was = beyond_the_book(trades, quotes)
    news = beyond_the_book(tape.trades, tape.quotes).join(was, on=["symbol", "sequence_number"], how="anti")
    assert news.is_empty(), news.select(names)
    assert tape.events.schema == MEASURED_EVENTS_SCHEMA
    assert truth_minutes(tape.events, session).height
    ratios = again(tape, nature(market), 0, session)
    assert ratios.filter((pl.col("ratio") - 1).abs() > 0.1).is_empty()
    assert set(tape.events["realisation"]) == {ways[realisation].name for ways in REALISATIONS.values()}


def is_whole(values: pl.Series) -> pl.Series:
    """Whether each is a whole number."""
    return (values - values.round()).abs() < 1e-6


def outside(frame: pl.DataFrame, truth: pl.DataFrame) -> pl.DataFrame:
    """Rows of a tape that lie in no injected stretch of their symbol."""
    keep = pl.lit(value=True)
    for symbol, start, end in truth.select("symbol", "start_time", "end_time").iter_rows():
        within = (pl.col("time") >= pl.lit(start)) & (pl.col("time") < pl.lit(end))
        keep &= ~((pl.col("symbol") == symbol) & within)
    return frame.filter(keep)


def test_measures_that_a_plain_count_confirms() -> None:
    tape = injected(Market.STOCKS, 0)
    assert tape.quotes is not None
    for event in tape.events.to_dicts():
        inside = (pl.col("symbol") == event["symbol"]) & pl.col("time").is_between(
            pl.lit(event["start_time"]), pl.lit(event["end_time"]), "left"
        )
        trades, quotes = tape.trades.filter(inside), tape.quotes.filter(inside)
        asked = event["strength"] * event["natural"]
        if event["kind"] == "volume_spike":
            assert trades["size"].sum() == pytest.approx(asked, rel=0.01)
        elif event["kind"] == "quote_stuffing":
            assert quotes.height == pytest.approx(asked, rel=0.01)
        elif event["kind"] == "feed_outage":
            last = event["end_time"] - dt.timedelta(seconds=3)
            assert trades.filter(pl.col("time") < last).is_empty()
            assert quotes.filter(pl.col("time") < last).is_empty()
            seconds = (event["end_time"] - event["start_time"]).total_seconds()
            assert 0.85 * asked <= seconds <= 1.1 * asked + 3
        elif event["kind"] == "price_jump":
            mids = np.log((quotes["bid_price"] + quotes["ask_price"]).to_numpy())
            assert 1e4 * np.abs(mids - mids[0]).max() > 0.6 * asked


@pytest.mark.long
def test_seeds_cover_every_strength_and_realisation_of_every_kind() -> None:
    found = pl.concat(
        inject_at_strengths(*clean(Market.STOCKS)[0], nature(Market.STOCKS), seed=seed, per_symbol=12).events
        for seed in range(4)
    )
    assert found.select("kind", "strength").n_unique() == 30
    assert found.select("kind", "realisation").n_unique() == 30
    first = found["start_time"].dt.epoch("ns").min()
    assert first >= clean(Market.STOCKS)[0][2].regular_start + 1800 * NS_PER_SECOND


def test_the_same_seed_gives_the_same_tape() -> None:
    again_ = inject_at_strengths(*clean(Market.STOCKS)[0], nature(Market.STOCKS), seed=3, realisations=[0])
    assert again_.trades.equals(injected(Market.STOCKS, 0).trades)
    assert again_.events.equals(injected(Market.STOCKS, 0).events)


def test_kinds_that_a_tape_cannot_hold_are_left_out() -> None:
    trades, quotes, session = clean(Market.STOCKS)[0]
    one = pl.col("symbol") == SYMBOLS[Market.STOCKS][0]
    alone = Nature.of([(trades.filter(one), None, session)])
    unquoted = inject_at_strengths(trades.filter(one), None, session, alone, seed=1, per_symbol=10)
    assert unquoted.quotes is None
    kinds = set(unquoted.events["kind"].cast(pl.String))
    assert kinds.isdisjoint({"spread_blowout", "quote_stuffing", "correlation_break"})
    assert {"volume_spike", "price_jump", "one_sided_flow"} <= kinds
    untraded = Nature.of([(TRADES.empty(), quotes.filter(one), session)])
    of_quotes = inject_at_strengths(TRADES.empty(), quotes.filter(one), session, untraded, seed=1, per_symbol=10)
    assert of_quotes.trades.is_empty()
    kinds = set(of_quotes.events["kind"].cast(pl.String))
    assert kinds.isdisjoint({"volume_spike", "one_sided_flow", "correlation_break"})
    assert {"price_jump", "spread_blowout", "quote_stuffing"} <= kinds


def test_what_does_not_fit_is_said() -> None:
    day, days = clean(Market.STOCKS)[0], nature(Market.STOCKS)
    with pytest.raises(ValueError, match=r"unknown kind\(s\) spike: choose from volume_spike"):
        inject_at_strengths(*day, days, seed=1, kinds=["spike"])
    other = stock_session(dt.date(2024, 3, 8))
    with pytest.raises(ValueError, match="2024-03-08 is none of the days"):
        inject_at_strengths(day[0], day[1], other, days, seed=1)


def test_measures_by_hand() -> None:
    grid = np.zeros((6, 60))
    grid[PRICE, 10:20], grid[PRICE, 20:30], grid[PRICE, 30:] = -8.0, 4.0, 1.0
    assert measured("price_jump", grid) == 12.0
    assert measured("flash_crash", grid) == 8.0, "down by 8, up by 12"
    assert measured("pump_and_dump", grid) == 3.0, "up by 12, down by 3"
    assert measured("correlation_break", grid, np.stack([np.zeros(60), grid[PRICE], grid[PRICE] - 2.0])) == 0.0
    grid[MEASURES["one_sided_flow"].row, :5] = [3, -1, 1, -9, 0]
    assert measured("one_sided_flow", grid) == 6.0
    grid[MEASURES["volume_spike"].row] = 2.0
    day = np.tile(grid, 60)
    assert natural("volume_spike", [day], 1200, 60) == 120.0
    assert np.isnan(natural("volume_spike", [grid], 0, 60)), "one window says nothing"


@pytest.mark.slow
@pytest.mark.real_tape
def test_on_recorded_days(market_data: Path) -> None:
    order = pl.col("symbol").cast(pl.String), "time", "sequence_number"
    days = [
        (
            recorded_trades(market_data, date).sort(*order),
            recorded_quotes(market_data, date).sort(*order),
            stock_session(date),
        )
        for date in TICK_DAYS
    ]
    found = Nature.of(days)
    for at, day in enumerate(days):
        tape = inject_at_strengths(*day, found, seed=at, per_symbol=12)
        assert tape.events.height > 36
        ratios = again(tape, found, at, day[2])
        assert ratios.filter((pl.col("ratio") - 1).abs() > 0.1).is_empty()
        assert tape.quotes is not None
        news = beyond_the_book(tape.trades, tape.quotes).join(
            beyond_the_book(day[0], day[1]), on=["symbol", "sequence_number"], how="anti"
        )
        assert news.is_empty()
