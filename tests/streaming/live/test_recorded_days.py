"""The recorded days, played through the live tape: the rows in the end equal those of the batch."""

import datetime as dt
from pathlib import Path

import polars as pl
import pytest

from tapewatch.market.instruments import NS_PER_SECOND, Market, session_of
from tapewatch.market.tables.tape import QUOTES, TRADES
from tapewatch.streaming.live.tape import LiveTape
from tests.support.live import assert_as_batch, chunks, fed, streamed
from tests.support.recorded import TICK_DAYS, day_file, recorded_quotes, recorded_trades
from tests.support.tapes import stock_session

pytestmark = pytest.mark.real_tape


def play(root: Path, day: dt.date, size: int, *, lateness_ns: int = 0) -> LiveTape:
    trades, quotes, session = recorded_trades(root, day), recorded_quotes(root, day), stock_session(day)
    tape = LiveTape(session)
    assert_as_batch(fed(tape, chunks(*streamed(trades, quotes), size), lateness_ns), trades, quotes, session)
    assert (tape.duplicates, tape.corrections, tape.too_late, tape.outside_day) == (0, 0, 0, 0)
    return tape


@pytest.mark.slow
def test_a_day_of_stocks_in_large_pieces(market_data) -> None:
    play(market_data, TICK_DAYS[0], 50_000)


@pytest.mark.slow
@pytest.mark.parametrize("day", TICK_DAYS)
def test_a_day_of_stocks_in_small_pieces(market_data, day) -> None:
    tape = play(market_data, day, 2_000, lateness_ns=2 * NS_PER_SECOND)
    assert tape.held_ticks < 10_000


@pytest.mark.slow
def test_a_day_of_stocks_in_milliseconds_and_out_of_order(market_data) -> None:
    """As a stream delivers it: coarse times, and every third piece after the next."""
    day = TICK_DAYS[1]
    session, cut = stock_session(day), pl.col("time").dt.hour() < 14
    trades, quotes = (
        frame.filter(cut).with_columns(pl.col("time").dt.truncate("1ms"))
        for frame in (recorded_trades(market_data, day), recorded_quotes(market_data, day))
    )
    pieces = list(chunks(*streamed(trades, quotes), 10_000))
    for at in range(0, len(pieces) - 1, 3):
        pieces[at], pieces[at + 1] = pieces[at + 1], pieces[at]
    order = [pl.col("symbol").cast(pl.String), "time", "sequence_number"]
    assert_as_batch(
        fed(LiveTape(session, horizon_minutes=600), pieces), trades.sort(order), quotes.sort(order), session
    )


@pytest.mark.long
def test_a_day_of_forex(market_data) -> None:
    day = dt.date(2014, 5, 6)
    session = session_of(Market.FOREX, day)
    raw = pl.read_csv(day_file(market_data, "global_forex/quotes_v1", day))
    quotes = QUOTES.conform(
        raw.with_columns(
            symbol="ticker", time=pl.from_epoch("participant_timestamp", time_unit="ns").dt.replace_time_zone("UTC")
        )
        .sort("symbol", "time", maintain_order=True)
        .with_columns(sequence_number=pl.int_range(1, pl.len() + 1).over("symbol"))
    )
    _, arrived = streamed(TRADES.empty(), quotes)
    arrived = arrived.with_columns(sequence_number=pl.lit(None, pl.Int64))
    tape = LiveTape(session)
    none, _ = streamed(TRADES.empty(), quotes[:0])
    assert_as_batch(fed(tape, chunks(none, arrived, 5_000)), TRADES.empty(), quotes, session)
    assert tape.duplicates == 0
