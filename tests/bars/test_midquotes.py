"""Bars of midquotes, for a market without trades."""

import datetime as dt
from pathlib import Path

import polars as pl
import pytest

from tapewatch.bars.midquotes import midquote_bars
from tapewatch.bars.time_bars import reconcile
from tapewatch.market.instruments import Market, session_of
from tapewatch.market.tables.tape import BARS, DELIVERED_BARS, QUOTES
from tests.support.recorded import day_file, recorded_quote_bars
from tests.support.tapes import tape_of

SESSION = session_of(Market.FOREX, dt.date(2024, 3, 6))
MADE = [(0, 1.0, 1.2), (10, 1.1, 1.3), (20, 0, 1.3), (59, 0.9, 1.1), (60, 1.4, 1.6)]


def test_a_minute_s_midquotes_make_its_bar() -> None:
    _, quotes = tape_of(quotes=MADE, session=SESSION, symbol="C:EUR-USD")
    bars = midquote_bars(quotes, SESSION)
    DELIVERED_BARS.check(DELIVERED_BARS.conform(bars))
    assert bars.select("open", "high", "low", "close", "volume").rows() == [
        (pytest.approx(1.1), pytest.approx(1.2), pytest.approx(1.0), pytest.approx(1.0), 3),
        (1.5, 1.5, 1.5, 1.5, 1),
    ], "a quote without a bid has no midpoint"
    assert midquote_bars(QUOTES.empty(), SESSION).is_empty()


def test_their_source_is_quotes() -> None:
    _, quotes = tape_of(quotes=MADE, session=SESSION, symbol="C:EUR-USD")
    rows = reconcile(midquote_bars(quotes, SESSION), DELIVERED_BARS.empty(), built_from="quotes")
    BARS.check(BARS.conform(rows.with_columns(revision=0)))
    assert rows["source"].cast(pl.String).to_list() == ["quotes"] * 2


@pytest.mark.real_tape
def test_recorded_quotes_give_the_recorded_quote_bars(market_data: Path) -> None:
    """Bid and ask bars of another source: the close's midpoint is the same, minute by minute."""
    day = dt.date(2014, 5, 6)
    raw = pl.read_csv(day_file(market_data, "global_forex/quotes_v1", day)).with_row_index("sequence_number", 1)
    time = pl.from_epoch("participant_timestamp", time_unit="ns").dt.replace_time_zone("UTC")
    quotes = QUOTES.conform(raw.with_columns(symbol="ticker", time=time))
    bars = midquote_bars(quotes, session_of(Market.FOREX, day)).with_columns(pl.col("symbol").cast(pl.String))
    both = bars.join(recorded_quote_bars(market_data, day, "forex"), on=["symbol", "time"], suffix="_theirs")
    assert both.height == bars.height > 1300
    middle = (pl.col("bid_close") + pl.col("ask_close")) / 2
    assert both.select((pl.col("close") - middle).abs().max()).item() < 1e-6
