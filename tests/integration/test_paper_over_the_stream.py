"""Alerts of a collector over the emulator's stream become paper orders, and these equal the backtest's over what was recorded."""

from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from orchestration.processes.trader import engine_settings, trader_of
from tapewatch.emulator.process import running_emulator
from tapewatch.market.instruments import NS_PER_MINUTE, Partition
from tapewatch.market.tables.live import ALERTS, LIVE_BARS, LIVE_MICROSTRUCTURE
from tapewatch.market.tables.paper import PAPER_ORDERS, PAPER_SIGNALS
from tapewatch.market.tables.signals import OUTCOMES, SIGNALS
from tapewatch.market.tables.tape import MICROSTRUCTURE, TIME
from tapewatch.settings import Settings
from tapewatch.store.database.database import Database
from tapewatch.trading.bets.day import trade_signals
from tapewatch.trading.engine import Tape
from tapewatch.trading.paper.feed import LiveAlerts
from tapewatch.trading.signals.build import proposals, signals
from tests.support.replays import Home, collect_all

pytestmark = pytest.mark.slow
DAY = Partition.parse("2024-03-05|stocks")
#: Followed from shortly before the first alert.
MINUTES = 60
_PLAIN = pl.selectors.categorical().cast(pl.String)


def test_alerts_of_the_stream_become_the_orders_of_the_backtest(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with running_emulator(speed="max", replay=str(DAY.date)) as emulator:
        collect_all(emulator, DAY.market, home, ("AAPL", "MSFT", "VOO"))
    settings = Settings(home=tmp_path, database_url=home.database, paper_every_bet=True, _env_file=None)
    with Database(home.database) as database:
        alerts = database.read(ALERTS)
        assert alerts["known_time"].null_count() == 0
        raised = LiveAlerts(database).known(DAY.market, DAY.session, DAY.session.regular_end)
        first = min(raised["known_time"].dt.epoch("ns")) // NS_PER_MINUTE * NS_PER_MINUTE
        begins = first - 5 * NS_PER_MINUTE
        trader = trader_of(settings, database, [DAY.market], begins=begins)
        end = begins + MINUTES * NS_PER_MINUTE
        assert trader.follow(end) == MINUTES
        live = database.read(PAPER_ORDERS)
        decided = database.read(PAPER_SIGNALS)
        known = pl.col("known_time").is_between(pl.lit(begins).cast(TIME), pl.lit(end).cast(TIME), closed="right")
        features = MICROSTRUCTURE.conform(database.read(LIVE_MICROSTRUCTURE))
        rows, rules = features.sort(pl.col("symbol").cast(pl.String), "event_time"), trader.rules
        proposed = proposals(raised, rows, rules=rules.signals)
        found = signals(*proposed, OUTCOMES.empty(), rules=rules.signals).filter(known)
        bars = database.read(LIVE_BARS, where={"clock": "1m"}).sort(pl.col("symbol").cast(pl.String), "time")
        tape, seen = Tape.of_bars(bars).part(begins, end), bars.filter(pl.col("known_time") <= pl.lit(end).cast(TIME))
        outcome, _ = trade_signals(found, tape, seen, DAY.session, engine_settings(settings), rules.bets)
    assert_frame_equal(
        decided.select(SIGNALS.schema.names()).with_columns(_PLAIN).sort(SIGNALS.key),
        found.with_columns(_PLAIN).sort(SIGNALS.key),
    )
    columns = ["order_id", "time", "side", "quantity", "limit_price", "state", "filled"]
    sent = outcome.orders.filter(pl.col("time") < pl.lit(end).cast(TIME))
    assert_frame_equal(
        live.filter(pl.col("time") < pl.lit(end).cast(TIME)).select(columns).sort("order_id"),
        sent.select(columns).sort("order_id"),
    )
    assert sent.height > 2
