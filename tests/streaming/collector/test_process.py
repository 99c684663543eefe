"""A real collector process on a real emulator's stream: what it keeps, also when it is stopped or killed."""

import datetime as dt
import signal
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from tapewatch.emulator import DEFAULT_SEED
from tapewatch.emulator.process import RunningEmulator, running_emulator
from tapewatch.emulator.tape.market_tape import SyntheticTape
from tapewatch.market.instruments import Market
from tapewatch.market.tables.live import GAPS, LIVE_BARS, LIVE_MICROSTRUCTURE
from tapewatch.store.database.database import Database
from tapewatch.streaming.collector.keeper import position_file
from tests.support.collectors import CollectorProcess, collecting, eventually, sent
from tests.support.postgres import postgres_server

pytestmark = pytest.mark.slow
MARKET, SYMBOLS, DAY = Market.CRYPTO, "X:BTC-USD,X:ETH-USD", dt.date(2024, 3, 5)
FINAL = 78


@pytest.fixture
def emulator() -> Iterator[RunningEmulator]:
    """Days of crypto, slow enough to interfere: each takes most of a minute, and the tests need seconds."""
    with running_emulator(speed="2000eps", replay=f"{DAY}:{DAY + dt.timedelta(days=2)}") as running:
        yield running


def database_of(collector: CollectorProcess) -> Database:
    return Database(f"sqlite:///{collector.home / 'tapewatch.db'}")


def events_in_spool(collector: CollectorProcess) -> int:
    tables = ("stream_trades", "stream_quotes", "stream_bars", "order_book")
    return sum(collector.spooled(table).height for table in tables)


def minutes_of(trades: pl.DataFrame, symbol: str = "X:BTC-USD") -> list[dt.datetime]:
    """The minutes with trades of a symbol, in order."""
    return trades.filter(pl.col("symbol") == symbol)["time"].dt.truncate("1m").unique().sort().to_list()


def are_built(database: Database, minutes: list[dt.datetime]) -> bool:
    """Whether every one of these minutes has its bar and, the first apart, its features."""
    bars = database.read(LIVE_BARS, market=MARKET, symbol="X:BTC-USD", where={"clock": "1m"})
    rows = database.read(LIVE_MICROSTRUCTURE, market=MARKET, symbol="X:BTC-USD")
    return set(minutes) <= set(bars["time"].to_list()) and rows.height >= len(minutes) - 1


def test_what_was_received_is_spooled_built_and_counted(tmp_path: Path, emulator: RunningEmulator) -> None:
    with collecting(MARKET, tmp_path, emulator.base_url, SYMBOLS) as collector:
        status = collector.waits_for(8_000)
        assert status["state"] == "streaming"
        assert status["dropped_frames"] == status["malformed_frames"] == 0
        minutes = eventually(lambda: (found := minutes_of(collector.spooled("stream_trades"))[:-1])[7:] and found)
        with database_of(collector) as database:
            # Before it stops: at its end a collector waits only a few seconds for rows that are behind.
            eventually(lambda: are_built(database, minutes))
        collector.signal(signal.SIGTERM)
        assert collector.wait() == 0
        # Events in flight when the connection closed were never received.
        assert events_in_spool(collector) <= sent(emulator.base_url, MARKET)["sent"]

        trades = collector.spooled("stream_trades")
        until = trades["time"].max() - dt.timedelta(seconds=1)
        tape = SyntheticTape(DEFAULT_SEED)
        happened = pl.concat(tape.trades(symbol, DAY) for symbol in SYMBOLS.split(",")).filter(pl.col("time") < until)
        assert happened.height > 1_000
        assert set(happened["id"]) <= set(trades["id"])
        with database_of(collector) as database:
            bars = database.read(LIVE_BARS, market=MARKET, symbol="X:BTC-USD", where={"clock": "1m"})
            assert are_built(database, minutes)
            assert not database.read(GAPS).height
        of_minute = pl.col("symbol") == "X:BTC-USD", pl.col("time").dt.truncate("1m") == minutes[5]
        volume = trades.filter(*of_minute)["size"].sum()
        assert bars.filter(pl.col("time") == minutes[5])["volume"].item() == pytest.approx(volume)


def test_killed_it_continues_and_records_what_it_missed(tmp_path: Path, emulator: RunningEmulator) -> None:
    with collecting(MARKET, tmp_path, emulator.base_url, SYMBOLS) as collector:
        eventually(lambda: collector.status().get("spooled_rows", 0) > 5_000)
        # Until it has noted its position, a kill would make its first minutes a gap too.
        eventually(lambda: position_file(collector.home / "spool" / MARKET).read_text().isdecimal())
        collector.signal(signal.SIGKILL)
        collector.wait()
        before, quotes = collector.spooled("stream_trades"), collector.spooled("stream_quotes")
        collector.start()
        collector.waits_for(5_000)
        collector.signal(signal.SIGTERM)
        assert collector.wait() == 0
        after = collector.spooled("stream_trades")
        assert after.head(before.height).equals(before), "numbers grow through a restart"

        with database_of(collector) as database:
            (gap,) = database.read(GAPS).to_dicts()
        assert (gap["cause"], gap["status"]) == ("restart", "open")
        first = after[before.height :]["time"].min()
        assert gap["start_time"] < max(before["time"].max(), quotes["time"].max())
        assert gap["end_time"] > first
        assert gap["end_time"] < after["time"].max() + dt.timedelta(minutes=1)


def test_the_second_collector_of_a_market_refuses(tmp_path: Path, emulator: RunningEmulator) -> None:
    with collecting(MARKET, tmp_path, emulator.base_url, SYMBOLS) as first:
        first.waits_for(1)
        with collecting(MARKET, tmp_path, emulator.base_url, SYMBOLS) as second:
            assert second.wait() == FINAL
        assert first.process is not None
        assert f"process {first.process.pid} collects crypto" in second.log.read_text()
        eventually(lambda: first.status().get("state") == "streaming")


def test_an_unknown_key_ends_it_for_good(tmp_path: Path) -> None:
    with running_emulator(key="the-right-one", replay=str(DAY)) as emulator:
        collector = CollectorProcess(MARKET, tmp_path, emulator.base_url, SYMBOLS, key="the-wrong-one")
        collector.start()
        try:
            assert collector.wait() == FINAL
        finally:
            collector.end()
        said = collector.log.read_text()
        assert "set POLYGON_API_KEY" in said
        assert "the-wrong-one" not in said


def test_an_unreachable_database_delays_nothing(tmp_path: Path, emulator: RunningEmulator) -> None:
    with postgres_server() as server:
        url = server.database()
        home = tmp_path / "home"
        with collecting(MARKET, home, emulator.base_url, SYMBOLS, TAPEWATCH_DATABASE_URL=url) as collector:
            collector.waits_for(5_000)
            server.stop()
            away = eventually(lambda: (s := collector.status()).get("is_database_away") and s)
            later = collector.waits_for(away["events"] + 8_000)
            assert later["is_database_away"]
            assert later["dropped_frames"] == 0
            # Rows of the current attempt do not count as waiting.
            eventually(lambda: collector.status().get("database_waiting_rows"))
            minutes = minutes_of(collector.spooled("stream_trades"))[:-1]
            server.start()
            with Database(url) as database:
                eventually(lambda: are_built(database, minutes))
            eventually(lambda: not collector.status().get("is_database_away", True))
            collector.signal(signal.SIGTERM)
            assert collector.wait() == 0
