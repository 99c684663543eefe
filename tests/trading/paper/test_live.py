"""The loop over live bars, and the commands."""

import datetime as dt
import json
import threading
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from pydantic import SecretStr
from typer.testing import CliRunner

from orchestration.cli.app import app
from orchestration.processes.streaming import stream_services
from tapewatch.market.instruments import NS_PER_MINUTE, Market, Partition
from tapewatch.market.tables.live import LIVE_BARS
from tapewatch.settings import Settings
from tapewatch.store.database.database import Database
from tapewatch.streaming.stop import Stop
from tapewatch.trading.engine import EngineSettings, Tape, run
from tapewatch.trading.paper.broker import PaperBroker
from tapewatch.trading.paper.feed import LiveBars
from tapewatch.trading.paper.ledger import PaperError, open_account, send
from tapewatch.trading.paper.live import Pace, trade_live
from tapewatch.trading.paper.parts import Slicer
from tapewatch.trading.paper.protections import Protections
from tapewatch.trading.strategies.slicing import SliceRules, sliced
from tests.support.paper import ACCOUNT, SETTINGS, recorded_day, state_of
from tests.support.trading import OPEN_NS, bars, order, orders

DAY = Partition(dt.date(2024, 6, 3), Market.STOCKS)
TAPE = bars(
    (10, 10.2, 9.9, 10.1, 500), (10.1, 10.3, 10.0, 10.2, 400), (9.5, 9.9, 9.4, 9.8, 300), (9.9, 10.5, 9.8, 10.4, 900)
)


def live(frame: pl.DataFrame) -> pl.DataFrame:
    return LIVE_BARS.conform(frame.with_columns(clock=pl.lit("1m"), revision=pl.lit(0)))


def test_the_loop_follows_the_bars_that_collectors_write(tmp_path: Path) -> None:
    with Database(f"sqlite:///{tmp_path / 'live.db'}") as database:
        database.upsert(LIVE_BARS, DAY, live(TAPE.head(2)))
        broker = PaperBroker(database, "main", EngineSettings(), Protections.none())
        send(database, "main", orders(order("a", 60, 1, 10), order("b", 130, 1, 5)))
        stop, minute = Stop(), 2

        def now() -> int:
            """Each look is a minute later, with its bar written before it."""
            nonlocal minute
            if minute > 3:
                stop.set()
            database.upsert(LIVE_BARS, DAY, live(TAPE.head(minute)))
            minute += 1
            return OPEN_NS + (minute - 1) * NS_PER_MINUTE + 10**9

        trade_live(broker, LiveBars(database, [Market.STOCKS]), stop, Pace(0.001, 0.5), now)
        assert broker.simulation.quantity("AAPL") == 15
        assert broker.cursor == OPEN_NS + 4 * NS_PER_MINUTE


def test_orders_in_parts_over_a_replay_equal_the_backtest_order_by_order(tmp_path: Path) -> None:
    frame, sent = recorded_day(4, 120)
    sent = sent.with_columns(
        quantity=pl.when(pl.col("kind") == "market").then(pl.col("quantity") * 20).otherwise("quantity")
    )
    huge = orders(order("huge", 6000, 1, 1e7, symbol="AAPL"))
    rules, end = SliceRules(minutes=5, participation=0.2), OPEN_NS + 125 * NS_PER_MINUTE
    backtest = run(sliced(sent, frame, rules, SETTINGS.lot_of), frame, SETTINGS)
    with Database(f"sqlite:///{tmp_path / 'live.db'}") as database:
        database.upsert(LIVE_BARS, DAY, live(frame))
        feed = LiveBars(database, [Market.STOCKS])
        open_account(database, ACCOUNT, SETTINGS, is_bars=True)
        send(database, ACCOUNT, pl.concat([sent, huge]))
        for until in range(OPEN_NS, end + 1, 25 * NS_PER_MINUTE):
            # Each is another process, which finds parts that were divided before it.
            slicer = Slicer(rules, feed.bars, SETTINGS)
            broker = PaperBroker(database, ACCOUNT, SETTINGS, Protections.none(), slicer=slicer)
            broker.process(feed.tape(OPEN_NS, end), until)
        found = state_of(database)
        with pytest.raises(PaperError, match="was sent before"):
            send(database, ACCOUNT, orders(order(sent.filter(pl.col("kind") == "market")["order_id"][0], 60, 1, 1)))
    (refused,) = found["paper_orders"].filter(pl.col("order_id") == "huge").to_dicts()
    assert refused["state"] == "refused"
    assert "480 are allowed" in found["paper_refusals"].filter(pl.col("order_id") == "huge")["detail"].item()
    assert backtest.fills.filter(pl.col("order_id").str.contains("/")).height > 50
    # What was decided after the tape's end a backtest refuses, and a live account waits for the next bar.
    is_met = pl.col("time").dt.epoch("ns") <= OPEN_NS + 120 * NS_PER_MINUTE
    columns = ["order_id", "time", "quantity", "state", "filled", "ended_time"]
    traded = found["paper_orders"].filter(pl.col("order_id") != "huge").rename({"ended_ns": "ended_time"})
    expected = backtest.orders.sort("order_id").with_columns(pl.col("ended_time").dt.epoch("ns"))
    assert_frame_equal(
        traded.filter(is_met).select(columns), expected.filter(is_met).select(columns), check_dtypes=False
    )
    columns = ["fill_id", "time", "quantity", "price", "notional_cents", "fee_cents"]
    assert_frame_equal(
        found["paper_fills"].select(columns).sort("fill_id"), backtest.fills.select(columns).sort("fill_id")
    )


@pytest.mark.long
def test_returns_are_those_of_common_minutes(tmp_path: Path) -> None:
    with Database(f"sqlite:///{tmp_path / 'live.db'}") as database:
        database.upsert(LIVE_BARS, DAY, live(TAPE))
        feed = LiveBars(database, [Market.STOCKS])
        returns = feed.returns(["AAPL"], OPEN_NS + 4 * NS_PER_MINUTE)
        assert returns["AAPL"].drop_nulls().to_list() == pytest.approx([0.00985, -0.04001, 0.05942], abs=1e-4)
        assert feed.returns(["MSFT"], OPEN_NS).is_empty()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TAPEWATCH_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def called(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == code, result.output
    return result.output


def test_an_account_from_the_command_line(home: Path) -> None:
    assert "there is no paper account 'main'" in called("paper", "status", code=1)
    database = Database(Settings().database)
    PaperBroker(database, "main", EngineSettings(), Protections.none())
    database.close()
    called("paper", "order", "AAPL", "100", "--limit", "9.5")
    assert "quantity is 0" in called("paper", "order", "AAPL", "0", code=2)
    called("paper", "halt", "--reason", "a drill")
    found = json.loads(called("paper", "status", "--format", "json"))[0]
    assert (found["state"], found["reason"], found["open_orders"], found["equity"]) == ("HALTED", "a drill", 1, 100_000)
    called("paper", "resume")
    assert "ACTIVE: by hand" in called("paper", "status")


@pytest.mark.long
def test_lists_of_an_account_for_people_and_programs(home: Path) -> None:
    with Database(Settings().database) as database:
        broker = PaperBroker(database, "main", EngineSettings(), Protections.none())
        send(
            database,
            "main",
            orders(order("a", 60, 1, 10), order("b", 61, 1, 1e7), order("c", 62, -1, 4, limit_price=99.0)),
        )
        broker.process(Tape.of_bars(TAPE), OPEN_NS + 4 * NS_PER_MINUTE)
    rows = {row["order_id"]: row for row in json.loads(called("paper", "orders", "--format", "json"))}
    assert {name: row["state"] for name, row in rows.items()} == {"a": "filled", "b": "refused", "c": "open"}
    assert rows["b"]["reason"].startswith("cash: ")
    assert (rows["a"]["time"], rows["a"]["reason"]) == ("2024-06-03T13:31:00Z", None)
    held = called("paper", "positions", "--format", "csv").splitlines()
    assert held[0].startswith("symbol,at_time,quantity,mark_price,value")
    assert held[1].split(",")[0] == "AAPL"
    assert len(json.loads(called("paper", "equity", "--format", "json"))) >= 2
    assert "0 signals" in called("paper", "signals", "-a", "main")
    assert "0 bets" in called("paper", "bets", "-a", "main")
    assert "1 position" in called("paper", "positions")
    assert "there is no paper account 'mine' (accounts: main)" in called("paper", "orders", "-a", "mine", code=1)


def test_running_without_a_stream_says_what_to_set(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYGON_API_KEY", "some-key")
    monkeypatch.setattr("orchestration.processes.logs.start_log", lambda *_: None)
    assert "no market to trade: set POLYGON_TIER_<MARKET>" in called("paper", "run", code=1)
    assert "'tulips' is not a market" in called("paper", "run", "--market", "tulips", code=2)


def test_the_trader_is_supervised_if_it_is_set(home: Path) -> None:
    key = SecretStr("advanced-key")
    settings = Settings(polygon_api_key=key, _env_file=None).with_markets(Market.CRYPTO, plan="advanced")
    names = [service.name for service in stream_services(settings, [Market.CRYPTO])]
    assert names == ["collector-crypto", "healer"]
    trading = settings.model_copy(update={"paper_trading": True})
    assert [service.name for service in stream_services(trading, [Market.CRYPTO])] == [*names, "paper-trader"]


def test_the_loop_ends_when_it_is_stopped(tmp_path: Path) -> None:
    with Database(f"sqlite:///{tmp_path / 'live.db'}") as database:
        broker = PaperBroker(database, "main", EngineSettings(), Protections.none())
        stop = Stop()
        thread = threading.Thread(target=trade_live, args=(broker, LiveBars(database, [Market.STOCKS]), stop))
        thread.start()
        stop.set()
        thread.join(180)
        assert not thread.is_alive()
