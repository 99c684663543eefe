"""The symbols of a load."""

import datetime as dt
from pathlib import Path

from assets.tape.loading import symbols_to_load
from resources.tape_source import TapeSourceResource
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.stream import STREAM_TRADES
from tapewatch.store.lake.lake import Lake
from tapewatch.store.spool.spool import SpoolWriter
from tapewatch.streaming.ingest.ingest import ingest
from tests.support.streams import trades_at

STOCKS = Partition(dt.date(2024, 6, 4), Market.STOCKS)


def test_a_load_of_a_streamed_day_includes_the_streamed_symbols(tmp_path: Path) -> None:
    source, lake = TapeSourceResource(base_url="", symbols={"stocks": ["VOO", "AAPL"]}), Lake(tmp_path / "lake")
    assert symbols_to_load(source, lake, STOCKS) == ["VOO", "AAPL"]
    with SpoolWriter(tmp_path / "spool", Market.STOCKS, "collector") as writer:
        for symbol in ("NVDA", "VOO"):
            writer.add_rows(STREAM_TRADES, trades_at([STOCKS.session.regular_start], symbol=symbol))
    ingest(lake, tmp_path / "spool", STOCKS, None, dt.datetime.now(dt.UTC))
    assert symbols_to_load(source, lake, STOCKS) == ["AAPL", "NVDA", "VOO"]
    assert symbols_to_load(TapeSourceResource(base_url="", flat_files="/files"), lake, STOCKS) is None
