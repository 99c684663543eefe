"""A recorded day of alerts, bars and features in the database, followed by a trader: also in a process that a test can kill."""

import datetime as dt
from collections.abc import Callable

import numpy as np
import polars as pl

from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND, Market, Partition
from tapewatch.market.tables.live import ALERTS, LIVE_BARS, LIVE_MICROSTRUCTURE
from tapewatch.market.tables.signals import OUTCOMES
from tapewatch.market.tables.tape import TIME
from tapewatch.store.database.database import Database
from tapewatch.trading.bets.rules import BetRules
from tapewatch.trading.costs import Fees
from tapewatch.trading.engine import EngineSettings
from tapewatch.trading.paper.broker import PaperBroker
from tapewatch.trading.paper.feed import LiveAlerts
from tapewatch.trading.paper.protections import Protections
from tapewatch.trading.paper.trader import Trader, TraderRules
from tapewatch.trading.signals.build import proposals, signals
from tests.support.paper import ACCOUNT
from tests.support.trading_rows import DAY, minute_rows, session

MARKET_DAY = Partition(DAY, Market.STOCKS)
SETTINGS = EngineSettings(
    cash=1e6, leverage=4, fees=Fees(taker_bps=0.5, maker_bps=0.5), depth_share=0.2, half_spread_bps=1
)
#: Orders rest on their own side of the spread for minutes.
RULES = TraderRules(bets=BetRules(is_sized=False, aggression=0.0, patience_minutes=8))
#: No protection changes the orders of a day.
LIMITS = Protections(
    daily_loss=None, guard_losses=None, feed_stale_s=None, stale_s=None, symbol_exposure=None, market_exposure=None
)
SYMBOLS = ("AAPL", "MSFT", "TSLA")
BEGIN = session().regular_start
END = BEGIN + 75 * NS_PER_MINUTE
FIRST_ALERTS = 28


def day(seed: int, count: int = 70) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Bars, features and alerts of the first minutes of a session."""
    rng = np.random.default_rng(seed)
    closes = {name: 100 * np.exp(np.cumsum(rng.normal(0, 8e-4, count))) for name in SYMBOLS}
    frames = []
    for name, close in closes.items():
        opens = np.concatenate([[100.0], close[:-1]])
        noise = np.abs(rng.normal(0, 4e-4, (2, count)))
        frames.append(
            pl.DataFrame(
                {
                    "symbol": name,
                    "time": pl.Series(BEGIN + np.arange(count) * NS_PER_MINUTE).cast(TIME),
                    "open": opens,
                    "high": np.maximum(opens, close) * (1 + noise[0]),
                    "low": np.minimum(opens, close) * (1 - noise[1]),
                    "close": close,
                    "volume": rng.integers(1, 40, count) * 100.0,
                }
            )
        )
    bars = pl.concat(frames).with_columns(
        clock=pl.lit("1m"), known_time=pl.col("time").dt.offset_by("1m"), source=pl.lit("trades"), revision=pl.lit(0)
    )
    starts = BEGIN + rng.choice(np.arange(FIRST_ALERTS, count - 10), 24, replace=False) * NS_PER_MINUTE
    known = starts + rng.integers(1, 59, 24) * NS_PER_SECOND
    names = rng.choice(SYMBOLS, 24)
    alerts = pl.DataFrame(
        {
            "alert_id": [f"{name}:{start}" for name, start in zip(names, starts, strict=True)],
            "symbol": names,
            "rule": rng.choice(["scan", "price_move", "feed_outage"], 24, p=[0.6, 0.3, 0.1]),
            "severity": "info",
            "start_time": pl.Series(starts).cast(TIME),
            "known_time": pl.Series(known).cast(TIME),
            "detected_time": dt.datetime.now(dt.UTC),
            "value": 1.0,
            "baseline": 1.0,
            "peak": 1.0,
            "observations": 1,
            "message": "",
        }
    )
    features = minute_rows({name: close.tolist() for name, close in closes.items()})
    return LIVE_BARS.conform(bars), features, ALERTS.conform(alerts)


def recorded(database: Database, seed: int) -> None:
    """What the collectors would have written of the day."""
    bars, features, alerts = day(seed)
    database.upsert(LIVE_BARS, MARKET_DAY, bars)
    database.upsert(
        LIVE_MICROSTRUCTURE, MARKET_DAY, LIVE_MICROSTRUCTURE.conform(features.with_columns(revision=pl.lit(0)))
    )
    database.upsert(ALERTS, MARKET_DAY, alerts)


def trader_on(database: Database, limits: Protections = LIMITS) -> Trader:
    """The account's trader from the session's start on."""
    broker = PaperBroker(database, ACCOUNT, SETTINGS, limits)
    return Trader(database, broker, [Market.STOCKS], RULES, begins=BEGIN)


def batch_signals(database: Database, seed: int) -> pl.DataFrame:
    """The signals of the whole day at once, as the asset finds them."""
    alerts = LiveAlerts(database).known(Market.STOCKS, session(), session().day_end)
    return signals(*proposals(alerts, day(seed)[1]), OUTCOMES.empty())


def begun(database: Database, seed: int) -> None:
    """What the collectors would have written, followed up to the minute before the first alerts."""
    recorded(database, seed)
    trader_on(database).follow(BEGIN + FIRST_ALERTS * NS_PER_MINUTE)


def followed(database: Database, seed: int) -> None:
    """Follow the day undisturbed."""
    trader_on(database).follow(END)


def work(url: str, seed: int, say: Callable[[str], None]) -> None:
    """Continue the account to the end of its tape; says when it begins, after each minute, and when it is done."""
    with Database(url) as database:
        trader = trader_on(database)
        say("ready")
        while trader.cursor < END:
            trader.follow(trader.cursor + NS_PER_MINUTE)
            say("minute")
        say("done")
