"""`market_microstructure` holds the same rows whether they came live, from the lake, or both."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tapewatch.bars.time_bars import minute_bars
from tapewatch.features.families.indicators import indicators
from tapewatch.features.market_minutes import SCORE_COLUMNS, market_minutes
from tapewatch.features.microstructure import microstructure
from tapewatch.market.instruments import NS_PER_MINUTE, Market, Partition
from tapewatch.market.tables.features import MARKET_MICROSTRUCTURE
from tapewatch.store.database.database import Database
from tapewatch.store.database.market_minutes import store_market_minutes
from tapewatch.streaming.live.day_tapes import DayTapes
from tests.support.live import chunks, streamed
from tests.support.tapes import random_tape, stock_session

SESSION = stock_session()
DAY = Partition(SESSION.date, Market.STOCKS)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    is_sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path / 'd.db'}" if is_sqlite else request.getfixturevalue("server").database()
    with Database(url) as opened:
        yield opened


def scored(rows: pl.DataFrame) -> pl.DataFrame:
    """A score of each regular minute, from its key alone."""
    regular = rows.filter("is_regular")
    return regular.select(
        "symbol", "event_time", anomaly_score=pl.col("session_minute") / 7.0, model=pl.lit("forest/3")
    ).select(SCORE_COLUMNS)


def of_the_lake() -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Trades and quotes of a day, and its rows by batch."""
    trades, quotes = random_tape(7, ("A", "B", "C"), trades=300, quotes=400, minutes=80, session=SESSION)
    rows = microstructure(trades, quotes, SESSION)
    bars = minute_bars(trades, SESSION).with_columns(known_time="time")
    return trades, quotes, market_minutes(rows, indicators(bars, SESSION), scored(rows))


def kept(database: Database) -> pl.DataFrame:
    rows = database.read(MARKET_MICROSTRUCTURE).sort("symbol", "event_time")
    return rows.select(MARKET_MICROSTRUCTURE.schema.names()).with_columns(pl.col("symbol", "model").cast(pl.String))


@pytest.mark.long
def test_rows_of_the_stream_equal_those_of_the_lake_and_either_changes_nothing_of_the_other(database: Database) -> None:
    trades, quotes, batch = of_the_lake()
    tapes = DayTapes(Market.STOCKS)
    order = np.random.default_rng(1).permutation(40)
    pieces = [chunk for chunk in chunks(*streamed(trades, quotes), 60) if chunk[0].height or chunk[1].height]
    waiting: list[pl.DataFrame] = []

    def write(emitted) -> None:
        for partition, rows in emitted:
            database.upsert(MARKET_MICROSTRUCTURE, partition, rows.market_minutes)
            database.remove(MARKET_MICROSTRUCTURE, partition, rows.withdrawn_rows)
            waiting.append(rows.microstructure)

    for at, (some_trades, some_quotes) in enumerate(pieces):
        now = max(frame["time"].to_physical().max() for frame in (some_trades, some_quotes) if frame.height)
        tapes.push(some_trades, some_quotes, now)
        # Half a minute late, so that some trades revise what is written; scores come when they come.
        write(tapes.advance(now))
        if order[at % 40] > 30 and waiting:
            for rows in waiting:
                database.upsert(MARKET_MICROSTRUCTURE, DAY, tapes.score(DAY, scored(rows)))
            waiting.clear()
    write(tapes.close(SESSION.day_end))
    for rows in waiting:
        database.upsert(MARKET_MICROSTRUCTURE, DAY, tapes.score(DAY, scored(rows)))
    live = kept(database)
    assert live.height == batch.height
    assert live["rsi_14"].drop_nulls().len() > 50
    assert live["anomaly_score"].drop_nulls().len() > 50
    for _ in range(2):
        assert store_market_minutes(database, DAY, batch) == 0
        assert kept(database).equals(live)


def test_a_day_written_again_keeps_no_row_that_is_no_more_and_every_later_one(database: Database) -> None:
    _, _, batch = of_the_lake()
    store_market_minutes(database, DAY, batch)
    until = SESSION.regular_start + 30 * NS_PER_MINUTE
    is_early = pl.col("event_time").to_physical() <= until
    again = batch.filter(is_early & (pl.col("symbol").cast(pl.String) != "B"))
    gone = batch.filter(is_early).height - again.height
    assert gone > 10
    assert store_market_minutes(database, DAY, again) == gone
    found = kept(database)
    assert found.height == batch.height - gone
    assert found["event_time"].max() == batch["event_time"].max()
    assert store_market_minutes(database, DAY, batch.clear()) == 0
    assert kept(database).equals(found)


def test_scores_of_a_day_that_is_not_held_are_left_to_the_lake() -> None:
    rows = scored(microstructure(*random_tape(1, trades=20, quotes=20, minutes=5, session=SESSION), SESSION))
    assert DayTapes(Market.STOCKS).score(DAY, rows).equals(MARKET_MICROSTRUCTURE.empty())
